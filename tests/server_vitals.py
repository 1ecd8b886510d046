"""What a running server uses, by the kernel's own accounts in /proc."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from running_server import open_files

_TICKS = os.sysconf("SC_CLK_TCK")
_FORGET_THE_PEAK = "5"


class Vitals(NamedTuple):
    """Of one process.

    Attributes:
        rss_mb: Memory that it has in RAM.
        peak_mb: The most of it, since the process began or `forget_peak`.
        descriptors: That are open.
        cpu_seconds: Of all of its threads, since it began.
    """

    rss_mb: float
    peak_mb: float
    descriptors: int
    cpu_seconds: float


def vitals(pid: int) -> Vitals:
    """As of now."""
    status = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return Vitals(
        rss_mb=int(status["VmRSS"]) / 1024,
        peak_mb=int(status["VmHWM"]) / 1024,
        descriptors=len(open_files(pid)),
        cpu_seconds=(user + system) / _TICKS,
    )


def forget_peak(pid: int) -> None:
    """Begins a new peak with what the process has now."""
    Path(f"/proc/{pid}/clear_refs").write_text(_FORGET_THE_PEAK)
