"""Calls gather before the event loop hears of them, while many are refused. Server process, the receiving thread.

Under overload each refusal would wake three threads, two of them Python's, for one call, which costs more than refusing
it. Network cards do the same with their interrupts when packets come faster than each can be told of.
"""

from typing import Final

from quadriga.units import SECOND_NS

#: From which rate of refusals on calls gather. Callers who are refused less often would gain nothing.
MOST_SINGLE_REFUSALS: Final = 1_000
#: What a call may wait; short beside the wait of a queue that is full.
GATHER_SECONDS: Final = 0.001
_LOOK_NS: Final = 50_000_000


class Gathering:
    """Tells from the number of refusals, as it grows, whether calls should gather."""

    def __init__(self) -> None:
        """Nothing was refused yet."""
        self._since_ns = 0
        self._refused = 0
        self._seconds = 0.0

    def seconds(self, now_ns: int, refused: int) -> float:
        """For how long to let calls gather: none, where few are refused.

        Args:
            now_ns: Of a monotonic clock, in nanoseconds.
            refused: All that were refused so far.
        """
        elapsed_ns = now_ns - self._since_ns
        if elapsed_ns >= _LOOK_NS:
            rate = (refused - self._refused) * SECOND_NS / elapsed_ns
            self._seconds = GATHER_SECONDS if rate > MOST_SINGLE_REFUSALS else 0.0
            self._since_ns, self._refused = now_ns, refused
        return self._seconds
