"""Notices work that takes too long, at the cost of one timer now and then. Server process, event loop's thread.

Work is begun many times a second and a timer costs as much as a small batch's bookkeeping, so there is none per piece
of work: one is set when work begins and none runs, and looks, when it is due, at what is being done by then. It looks
now and then before the limit, too, to see whether the machine stood still meanwhile.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from quadriga.units import SECOND_NS

#: A timer that is this late was held up together with all else: the server process itself stood still.
STOOD_STILL_NS: Final = 1_000_000_000
#: Between two looks at the most.
STEP_NS: Final = 5_000_000_000


class Watchdog:
    """Calls once when a piece of work has taken longer than its limit.

    Attributes:
        seconds: The limit; 0: none.
    """

    def __init__(self, seconds: float, on_hung: Callable[[], None]) -> None:
        self.seconds = seconds
        self._limit_ns = round(seconds * SECOND_NS)
        self._on_hung = on_hung
        self._loop = asyncio.get_running_loop()
        self._since_ns = 0  # 0: nothing is being done
        self._due_ns = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, now: int) -> None:
        """A piece of work has begun, in place of the one before; nanoseconds of the monotonic clock."""
        self._since_ns = now
        if self._timer is None and self._limit_ns:
            self._set(now)

    def rest(self) -> None:
        """Nothing is being done."""
        self._since_ns = 0

    def close(self) -> None:
        """Watches no more."""
        self._limit_ns = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, now: int) -> None:
        self._look_at(min(self._since_ns + self._limit_ns, now + STEP_NS), now)

    def _look_at(self, due: int, now: int) -> None:
        self._due_ns = due
        self._timer = self._loop.call_later((due - now) / SECOND_NS, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic_ns()
        if not self._since_ns:
            return
        late = now - self._due_ns
        if late > STOOD_STILL_NS:
            # A paused container pauses its workers: that time does not count, and an answer may lie there unread.
            self._since_ns = min(self._since_ns + late, now)
            self._look_at(max(self._since_ns + self._limit_ns, now + STOOD_STILL_NS), now)
        elif now - self._since_ns >= self._limit_ns:
            self._on_hung()
        else:
            self._set(now)
