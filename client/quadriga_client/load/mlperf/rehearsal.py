"""Load before a run, which warms the server up and tells what to expect of it. Runs in the load generator's process."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from quadriga_client.load.errors import LoadError
from quadriga_client.load.mlperf.system import SystemUnderTest
from quadriga_client.load.status_codes import counts_by_name

#: In the first half, everything warms up.
REHEARSAL_SECONDS: Final = 1.0
#: Of a scenario whose rate does not come of a rehearsal: enough for every side to have seen more than one at once.
FEW_CALLERS: Final = 4


class Rehearsal(NamedTuple):
    """What it told.

    Attributes:
        answers_per_second: Above 0, of requests that were answered with OK.
        failures: gRPC's code -> requests that ended with it, other than OK.
    """

    answers_per_second: float
    failures: dict[int, int]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of it."""
        return (f"requests failed before the run: {_counts(self.failures)}",) if self.failures else ()


def rehearse(
    system: SystemUnderTest,
    callers: int,
    seconds: float = REHEARSAL_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Rehearsal:
    """Has `callers` send one request after the other.

    Args:
        system: Idle, and afterwards idle again, with nothing counted.
        callers: How many.
        seconds: Of which the second half is counted, and the answers to what was sent in it.
        clock: Seconds.

    Raises:
        LoadError: The server went away, or does not answer a single request of the second half with OK.
    """
    start = clock()
    middle, end = start + seconds / 2, start + seconds
    before = 0

    def send_again(samples: list[int]) -> None:
        nonlocal before
        now = clock()
        if now < middle:
            before = system.answered
        if now < end:
            system.issue(samples, samples)

    system.complete = send_again
    system.issue(range(callers), range(callers))
    while not system.idle:
        system.step()
    answered, failures = system.answered - before, dict(system.failures)
    system.answered = 0
    system.failures.clear()
    if not answered:
        raise LoadError(f"no request before the run was answered with OK: {_counts(failures)}")
    # What was under way at the end is counted, and the time that it took.
    return Rehearsal(answered / (clock() - middle), failures)


def _counts(failures: dict[int, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts_by_name(failures).items())
