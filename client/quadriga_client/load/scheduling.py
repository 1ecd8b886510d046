"""How the kernel treats generator processes, and whether it starves them. Command's process; reads /proc, else pure.

A closed loop has no schedule that its generator could fall behind: a caller's next request is due when the generator
gets to the answer before. A generator that is at its limit, or gets no CPU, slows such a load down and leaves no trace
in its samples. The kernel knows: of each thread it counts the time on a CPU, and the time in which it could have run
and waited for one (/proc/PID/task/*/schedstat; Linux alone has it, and not with every configuration).

Two things give a generator away:
- It is busy: on a CPU, or waiting for one, nearly all the time. In an open loop that says nothing, as generators spin
  there until a request is due; what they are late then is in their lag.
- It waits: what its requests wait for with it is more than a share of their latency. A closed loop's generator sleeps
  until there is an answer, so each of its turns on a CPU has the wait before it, and so has the answer. In an open
  loop, where turns are long, the wait is shared out among the requests.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from quadriga_client.load.saturation import ADVICE, TIMER_MS

_PROC: Final = Path("/proc")
#: Of one core's time; from here on answers queue at the generator.
_BUSY_SHARE: Final = 0.9
_MS_NS: Final = 1e6


class Scheduled(NamedTuple):
    """What a process got of the CPUs since it began, all of its threads together.

    Attributes:
        on_cpu_ns: Running.
        waiting_ns: Ready to run, while others did.
        turns: How often it came to run.
    """

    on_cpu_ns: int
    waiting_ns: int
    turns: int


#: Of processes, by pid; those of which nothing is known are not in it.
Scheduling = Mapping[int, Scheduled]


class Look(NamedTuple):
    """What was known at a time, `time.monotonic_ns`."""

    at_ns: int
    scheduling: Scheduling


def scheduling_of(pids: Sequence[int], proc: Path = _PROC) -> dict[int, Scheduled]:
    """As of now; a process that has ended, or of which the system does not tell, is left out.

    Args:
        pids: Of the processes.
        proc: Where the system tells it.
    """
    found: dict[int, Scheduled] = {}
    for pid in pids:
        on_cpu_ns = waiting_ns = turns = 0
        for file in proc.glob(f"{pid}/task/*/schedstat"):
            try:
                own_on_cpu_ns, own_waiting_ns, own_turns = map(int, file.read_text().split())
            except (OSError, ValueError):  # the thread has ended
                continue
            on_cpu_ns, waiting_ns, turns = on_cpu_ns + own_on_cpu_ns, waiting_ns + own_waiting_ns, turns + own_turns
        if turns:  # a kernel that does not count says 0 of everything
            found[pid] = Scheduled(on_cpu_ns, waiting_ns, turns)
    return found


def starvation(
    before: Scheduling,
    after: Scheduling,
    wall_ns: int,
    *,
    latency_ms: float | None,
    lag_share: float,
    open_requests: int = 0,
) -> str | None:
    """What shows that a generator was the limit or was short of a CPU, as a sentence; None where nothing does.

    Args:
        before: As `scheduling_of` gave it.
        after: Likewise, that much later.
        wall_ns: Between the two.
        latency_ms: The mean of what was answered meanwhile; None where nothing was.
        lag_share: What the generator's part may be of it.
        open_requests: Of an open loop: how many ended meanwhile, of all processes; 0: it is a closed one.
    """
    pids = [pid for pid in after if pid in before]
    for pid in pids:
        on_cpu, waiting, turns = (late - early for late, early in zip(after[pid], before[pid], strict=True))
        if wall_ns <= 0 or min(on_cpu, waiting, turns) < 0:  # one of its threads has ended
            continue
        if not open_requests and on_cpu + waiting >= _BUSY_SHARE * wall_ns:
            return (
                f"generator saturated: process {pid} of it was running {on_cpu / wall_ns:.0%} of the time and waited "
                f"for a CPU {waiting / wall_ns:.0%} of it; {ADVICE}"
            )
        waited_ms = waiting / max(open_requests / len(pids) if open_requests else turns, 1) / _MS_NS
        if latency_ms is not None and waited_ms > max(TIMER_MS, lag_share * latency_ms):
            return (
                f"generator saturated: process {pid} of it waited for a CPU {waiting / wall_ns:.0%} of the time, which "
                f"is {waited_ms:.3g} ms of a mean latency of {latency_ms:.3g} ms; {ADVICE}"
            )
    return None


def starvation_in(
    looks: Sequence[Look], *, latency_ms: float | None, lag_share: float, open_requests: int = 0
) -> str | None:
    """`starvation` between the first look and the last, or, where that shows nothing, in a piece between two.

    A generator that got nothing for one window of many is not starved on average; its slowest requests are its own.
    """
    if len(looks) < 2:
        return None
    seconds = (looks[-1].at_ns - looks[0].at_ns) / 1e9
    for before, after in ((looks[0], looks[-1]), *pairwise(looks)):
        wall_ns = after.at_ns - before.at_ns
        share = wall_ns / 1e9 / seconds if seconds else 0.0
        found = starvation(
            before.scheduling,
            after.scheduling,
            wall_ns,
            latency_ms=latency_ms,
            lag_share=lag_share,
            open_requests=round(open_requests * share),
        )
        if found is not None:
            return found
    return None
