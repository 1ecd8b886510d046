"""What others took of the cores while the study ran: by the kernel's accounts. Runs in the study's process."""

import resource
from typing import NamedTuple

import psutil

#: Counted in "user" and "nice" already.
_TWICE = {"guest", "guest_nice"}
_IDLE = {"idle", "iowait"}


class Seconds(NamedTuple):
    """CPU seconds up to now: of all cores, those in which they did something, and those of this process' own tree.

    The tree's are of this process and of those that have ended; interrupts, and what a hypervisor gave to others, are
    nobody's.
    """

    all: float
    busy: float
    own: float


def now() -> Seconds:
    """As of now."""
    times = {name: float(value) for name, value in psutil.cpu_times()._asdict().items() if name not in _TWICE}
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Seconds(
        all=sum(times.values()),
        busy=sum(value for name, value in times.items() if name not in _IDLE),
        own=sum(usage.ru_utime + usage.ru_stime for usage in usages),
    )


def share(before: Seconds, after: Seconds) -> float:
    """Of all cores' time in between, what was spent on others; all processes of one's own have ended."""
    passed = after.all - before.all
    others = (after.busy - before.busy) - (after.own - before.own)
    return max(0.0, others / passed) if passed > 0 else 0.0
