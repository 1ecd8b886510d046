"""When to look for requests whose deadline has passed. Server process, event loop's thread."""

import asyncio
from collections.abc import Callable
from typing import Final

from quadriga.units import SECOND_NS

#: How exactly deadlines are kept in the queue. Each look goes through the whole queue, and thousands of requests may
#: have as many deadlines.
EXPIRY_STEP_NS: Final = 1_000_000


class ExpiryTimer:
    """One timer, for the earliest deadline that it was told of."""

    def __init__(self, on_due: Callable[[], None]) -> None:
        self._on_due = on_due
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0

    def watch(self, expires_ns: int, now: int) -> None:
        """Makes sure that a deadline is noticed; nanoseconds of the monotonic clock."""
        due = max(expires_ns, now + EXPIRY_STEP_NS)
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later((due - now) / SECOND_NS, self._on_due)

    def cancel(self) -> None:
        """Forgets all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
