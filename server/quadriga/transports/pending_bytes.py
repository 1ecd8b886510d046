"""How many bytes of messages are in hand, over all calls and streams, and when that is too much. Server process.

Each transport counts what it has received and not answered, and each stream its answers that are not sent, too. What
a caller sent who has gone counts until the work on it ends or is dropped: a queue holds it all the same. All of it
happens on the event loop's thread.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from quadriga.errors import Overloaded

#: Of the memory that the server may use, where the configuration names no number. Requests are copied once into a
#: slab, and answers come out of it.
DEFAULT_SHARE: Final = 4
_CGROUP_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class PendingBytes:
    """Bytes in hand, and their limit.

    Attributes:
        now: How many there are.
        abandoned: How many of them are of callers who have gone.
        most: Beyond which no more are taken.
    """

    def __init__(self, most: int, refused: Counter[tuple[str, str]], drop_dead: Callable[[], None]) -> None:
        """Starts with nothing in hand.

        Args:
            most: The limit.
            refused: Where refusals are counted, by gRPC code and reason.
            drop_dead: Ends the work that waits for nobody any more, which gives its bytes back.
        """
        self.now = 0
        self.abandoned = 0
        self.most = most
        self._refused = refused
        self._drop_dead = drop_dead
        self._running = 0  # of the abandoned: what was not dropped the last time, since it runs

    def abandon(self, size: int) -> None:
        """The caller of a message has gone."""
        self.abandoned += size

    def drop(self, size: int) -> None:
        """The work on a message ends whose caller has gone."""
        self.now -= size
        self.abandoned -= size
        self._running = min(self._running, self.abandoned)

    def refusal(self, size: int) -> Overloaded | None:
        """Why a message of that size cannot be taken now, counted; None: it can. One alone always can."""
        if self._fits(size):
            return None
        if self.abandoned > self._running:
            self._drop_dead()
            self._running = self.abandoned
            if self._fits(size):
                return None
        error = Overloaded(
            f"the server has {self.now} bytes of requests in hand, and {size} more pass its limit of {self.most}; send "
            "fewer at a time, or raise max_pending_bytes"
        )
        self._refused[error.code, error.reason] += 1
        return error

    def _fits(self, size: int) -> bool:
        return self.now + size <= self.most or not self.now


def default_most_bytes() -> int:
    """A quarter of the machine's memory, or of the container's, whichever is smaller."""
    limits = [psutil.virtual_memory().total]
    for file in _CGROUP_LIMITS:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # there is no such group, or it says "max"
            continue
    return min(limits) // DEFAULT_SHARE
