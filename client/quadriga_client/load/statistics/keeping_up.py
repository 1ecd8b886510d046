"""Whether a server keeps up with the rate of an open loop, or its backlog grows. Pure.

Where requests come faster than they are answered, a queue grows as long as the load lasts, and so do the latencies:
they say how long one measured, and nothing else. The backlog is what is due and not answered; what it grows by in a
time is what became due in it less what was answered in it. Any code is an answer, but for requests that were given up:
with them, a queue ends at the timeout and would look like one that does not grow.

What chance does to a backlog of n requests is of the order of the root of n, as for Poisson arrivals. And a single
pause, after which the server makes good, is no overload: so the window that made the backlog grow most does not count,
as long as there are others.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

_SIGMAS: Final = 2.0


class Account(NamedTuple):
    """Of a window.

    Attributes:
        due: Requests that became due in it.
        answered: Those that were answered in it, whenever they were due.
    """

    due: int
    answered: int


def keeps_up(windows: Sequence[Account]) -> bool:
    """Whether the backlog does not grow by more than chance allows; windows are in a row, at least one."""
    growths = sorted(window.due - window.answered for window in windows)
    counted = growths[:-1] or growths
    return sum(counted) <= _SIGMAS * math.sqrt(sum(window.due for window in windows))
