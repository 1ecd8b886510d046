"""The batching policy: which requests share a batch, and when it is due. Pure: no clock, no I/O. Server process.

Time is passed in, as nanoseconds of any monotonic clock, so that the policy can be tested to the nanosecond.

Rules:
- Requests are taken in the order of their arrival, and never split. Rows are counted, not requests.
- A batch is the longest run from the head of the queue whose requests have equal keys (the shapes of their rows) and
  whose rows fit the largest batch.
- It is due at once when it cannot grow (it is full, or the next request does not fit or differs) or no delay is
  configured; otherwise when the delay has passed since its FIRST request arrived.
- A request whose caller has gone or whose deadline has passed takes no part: nobody's work is run for nobody.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Entry(Protocol):
    """What the policy needs to know of a request.

    Attributes:
        rows: How many it brings.
        key: Requests share a batch only where their keys are equal.
        arrived_ns: When it was queued.
        expires_ns: When it is of no use any more; 0: never.
        abandoned: Its caller has gone.
    """

    @property
    def rows(self) -> int: ...  # noqa: D102

    @property
    def key(self) -> Hashable: ...  # noqa: D102

    @property
    def arrived_ns(self) -> int: ...  # noqa: D102

    @property
    def expires_ns(self) -> int: ...  # noqa: D102

    @property
    def abandoned(self) -> bool: ...  # noqa: D102


E = TypeVar("E", bound=Entry)


class BatchQueue(Generic[E]):
    """Requests of one model that wait for a batch."""

    def __init__(self, max_rows: int, max_delay_ns: int) -> None:
        """Makes an empty queue; `max_rows` of 0 means a model that does not batch: one request per batch."""
        self._max_rows = max_rows
        self._max_delay_ns = max_delay_ns
        self._entries: deque[E] = deque()
        self._head_rows = 0  # rows of the batch at the head
        self._head_closed = False  # whether it cannot grow any more

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, entry: E) -> None:
        """Queues a request behind all others."""
        self._entries.append(entry)
        if not self._head_closed:
            self._extend_head(entry)

    def due(self, now: int) -> int | None:
        """When the batch at the head is to be run: `now` or earlier means at once, None that nothing waits."""
        if not self._entries:
            return None
        if self._head_closed or self._max_delay_ns == 0:
            return now
        return self._entries[0].arrived_ns + self._max_delay_ns

    def pop(self, now: int) -> tuple[list[E], list[E]]:
        """Takes the batch at the head, due or not.

        Returns:
            The batch, empty when nothing alive waits, and the dead requests that were met on the way.
        """
        batch: list[E] = []
        dead: list[E] = []
        rows = 0
        while self._entries:
            entry = self._entries[0]
            if is_dead(entry, now):
                dead.append(self._entries.popleft())
                continue
            if batch and not self._fits(entry, batch[0], rows):
                break
            batch.append(self._entries.popleft())
            rows += entry.rows
        self._measure_head()
        return batch, dead

    def take_dead(self, now: int) -> list[E]:
        """Takes the dead requests out, wherever they stand."""
        dead = [entry for entry in self._entries if is_dead(entry, now)]
        if dead:
            self._entries = deque(entry for entry in self._entries if not is_dead(entry, now))
            self._measure_head()
        return dead

    def take_all(self) -> list[E]:
        """Empties the queue."""
        entries = list(self._entries)
        self._entries.clear()
        self._measure_head()
        return entries

    def next_expiry(self) -> int | None:
        """When the first of the waiting requests expires; None when none does."""
        return min((entry.expires_ns for entry in self._entries if entry.expires_ns), default=None)

    def _fits(self, entry: E, head: E, rows: int) -> bool:
        return rows + entry.rows <= self._max_rows and entry.key == head.key

    def _extend_head(self, entry: E) -> None:
        """Counts one more entry to the batch at the head, or closes that batch before it."""
        if self._head_rows and not self._fits(entry, self._entries[0], self._head_rows):
            self._head_closed = True
            return
        self._head_rows += entry.rows
        self._head_closed = self._head_rows >= self._max_rows

    def _measure_head(self) -> None:
        self._head_rows = 0
        self._head_closed = False
        for entry in self._entries:
            if self._head_closed:
                break
            self._extend_head(entry)


def is_dead(entry: Entry, now: int) -> bool:
    """Whether running the request would help nobody."""
    return entry.abandoned or (entry.expires_ns != 0 and now >= entry.expires_ns)
