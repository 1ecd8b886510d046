"""The batching policy: which requests share a batch, and when it is due. Pure: no clock, no I/O. Server process.

Time is passed in, as nanoseconds of any monotonic clock, so that the policy can be tested to the nanosecond.

Rules:
- Requests are taken in the order of their arrival, and never split. Rows are counted, not requests.
- A batch is the longest run from the head of the queue whose requests have equal keys (the shapes of their rows) and
  whose rows fit the largest batch.
- It is due at once when it cannot grow (it is full, or the next request does not fit or differs) or no delay is
  configured; otherwise when the delay has passed since its FIRST request arrived.
- With preferred sizes and a delay it is also due at once when its first requests make up one of them, or their rows
  exceed the largest. Until the delay has passed it then ends at the largest preferred size that they make up.
- A request whose caller has gone or whose deadline has passed takes no part: nobody's work is run for nobody.
"""

from collections import deque
from collections.abc import Collection, Hashable, Sequence
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
    """Requests of one model that wait for a batch, in one line; `priority_queue` has the queue of several."""

    def __init__(self, max_rows: int, max_delay_ns: int, preferred_rows: Collection[int] = ()) -> None:
        """Makes an empty queue.

        Args:
            max_rows: Of a batch; 0: a model that does not batch, one request per batch.
            max_delay_ns: Longest wait for others to join.
            preferred_rows: Sizes of batches that are not to wait; empty: `max_rows` alone.
        """
        self._max_rows = max_rows
        self._max_delay_ns = max_delay_ns
        self._preferred = frozenset(preferred_rows) if max_delay_ns else frozenset()
        self._enough_rows = max(self._preferred, default=max_rows)
        self._entries: deque[E] = deque()
        self._lines: Sequence[deque[E]] = (self._entries,)  # in the order in which they are served
        self._head: E | None = None  # the first request of the batch at the head
        self._head_rows = 0
        self._head_ready = False  # whether the batch at the head is not to wait for others

    def __len__(self) -> int:
        return len(self._entries)

    def waiting(self, level: int) -> int:
        """How many requests wait in a priority level; here all are in one."""
        return len(self._entries)

    def push(self, entry: E, level: int = 0) -> None:
        """Queues a request behind all others of its priority level; here all are in one."""
        self._entries.append(entry)
        if not self._head_ready:
            self._extend_head(entry)

    def due(self, now: int) -> int | None:
        """When the batch at the head is to be run: `now` or earlier means at once, None that nothing waits."""
        if not self._entries:
            return None
        if self._head_ready or self._max_delay_ns == 0:
            return now
        return self._entries[0].arrived_ns + self._max_delay_ns

    def pop(self, now: int) -> tuple[list[E], list[E]]:
        """Takes the batch at the head, due or not.

        Returns:
            The batch, empty when nothing alive waits, and the dead requests that were met on the way.
        """
        limit = self._preferred_limit(now) if self._preferred else self._max_rows
        batch: list[E] = []
        dead: list[E] = []
        rows = 0
        for line in self._lines:
            while line:
                entry = line[0]
                if is_dead(entry, now):
                    dead.append(line.popleft())
                    continue
                if batch and (rows + entry.rows > limit or entry.key != batch[0].key):
                    break
                batch.append(line.popleft())
                rows += entry.rows
            if line:
                break
        self._measure_head()
        return batch, dead

    def take_dead(self, now: int, level: int | None = None) -> list[E]:
        """Takes the dead requests out, wherever they stand; of one priority level alone where it is given."""
        dead: list[E] = []
        for line in self._lines if level is None else self._lines_of(level):
            alive: list[E] = []
            for entry in line:
                (dead if is_dead(entry, now) else alive).append(entry)
            if len(alive) < len(line):
                line.clear()
                line.extend(alive)
        if dead:
            self._measure_head()
        return dead

    def take_all(self) -> list[E]:
        """Empties the queue."""
        entries = [entry for line in self._lines for entry in line]
        for line in self._lines:
            line.clear()
        self._measure_head()
        return entries

    def next_expiry(self) -> int | None:
        """When the first of the waiting requests expires; None when none does."""
        return min((entry.expires_ns for line in self._lines for entry in line if entry.expires_ns), default=None)

    def _preferred_limit(self, now: int) -> int:
        """The rows at which the batch at the head is to end."""
        best, rows, oldest_ns, head = 0, 0, now, None
        for entry in (entry for line in self._lines for entry in line if not is_dead(entry, now)):
            if head is None:
                head = entry
            if rows + entry.rows > self._max_rows or entry.key != head.key:
                break
            rows += entry.rows
            oldest_ns = min(oldest_ns, entry.arrived_ns)
            if rows in self._preferred:
                best = rows
        waited = now >= oldest_ns + self._max_delay_ns
        return best if best and not waited else self._max_rows

    def _extend_head(self, entry: E) -> None:
        """Counts one more entry to the batch at the head; that is ready where the entry does not fit or was missing."""
        head = self._head
        if head is None:
            self._head = entry
        elif self._head_rows + entry.rows > self._max_rows or entry.key != head.key:
            self._head_ready = True
            return
        self._head_rows = rows = self._head_rows + entry.rows
        self._head_ready = rows >= self._enough_rows or rows in self._preferred

    def _lines_of(self, level: int) -> Sequence[deque[E]]:
        return self._lines

    def _measure_head(self) -> None:
        self._head = None
        self._head_rows = 0
        self._head_ready = False
        for line in self._lines:
            for entry in line:
                self._extend_head(entry)
                if self._head_ready:
                    return  # as far as anybody needs to know


def is_dead(entry: Entry, now: int) -> bool:
    """Whether running the request would help nobody."""
    return entry.abandoned or (entry.expires_ns != 0 and now >= entry.expires_ns)
