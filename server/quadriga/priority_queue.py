"""The batching policy for requests of several priority levels, or that others may overtake. Pure. Server process.

What `batching` says holds here too, but for the order in which requests are taken:

- Those of a higher level first (1 is the highest), whatever has waited how long: a lower level may starve.
- Within a level in the order of arrival; but where the level has a time after which requests are postponed, those that
  have waited as long come behind those that have not, again in the order of arrival.

Requests of several levels may share a batch, taken in this order. The delay counts from whichever arrived first.
"""

from collections import deque
from collections.abc import Collection, Sequence
from typing import Final, Generic, NamedTuple

from quadriga.batching import BatchQueue, E
from quadriga.queue_policy import BatchPolicy
from quadriga.units import MICROSECOND_NS

#: The level of every request where a model has none.
ONLY_LEVEL: Final = 0


class _Level(NamedTuple, Generic[E]):
    """The requests of one level.

    Attributes:
        line: Those that nobody has overtaken.
        postponed: Those that have waited for `postpone_after_ns`, served after all of `line`.
        postpone_after_ns: 0: never.
    """

    line: deque[E]
    postponed: deque[E]
    postpone_after_ns: int


class PriorityQueue(BatchQueue[E]):
    """Requests of one model that wait for a batch, in a line per level."""

    def __init__(
        self, max_rows: int, max_delay_ns: int, preferred_rows: Collection[int], postpone_after_ns: Sequence[int]
    ) -> None:
        """Makes an empty queue.

        Args:
            max_rows: See `BatchQueue`; likewise the next two.
            max_delay_ns: Longest wait for others to join.
            preferred_rows: Sizes of batches that are not to wait.
            postpone_after_ns: Of each level from 1 on, when its requests are postponed; 0: never. A model without
                levels gives that of its `ONLY_LEVEL`.
        """
        super().__init__(max_rows, max_delay_ns, preferred_rows)
        self._levels: list[_Level[E]] = [_Level(deque(), deque(), after) for after in postpone_after_ns]
        self._lines = [line for level in self._levels for line in (level.line, level.postponed)]
        self._measured = True

    def __len__(self) -> int:
        return sum(map(len, self._lines))

    def waiting(self, level: int) -> int:
        """How many requests wait in a level, postponed or not."""
        found = self._level(level)
        return len(found.line) + len(found.postponed)

    def push(self, entry: E, level: int = ONLY_LEVEL) -> None:
        """Queues a request behind all others of its level that are not postponed."""
        self._level(level).line.append(entry)
        self._measured = False  # it may stand before any other

    def due(self, now: int) -> int | None:
        """See `BatchQueue.due`; or when it is to be asked again, since requests are overtaken then.

        Those that come to the front may make up a preferred size.
        """
        self._postpone(now)
        if not any(self._lines):
            return None
        if self._max_delay_ns == 0:
            return now
        if not self._measured:
            self._measure_head()
        if self._head_ready:
            return now
        due = min(line[0].arrived_ns for line in self._lines if line) + self._max_delay_ns
        if self._preferred:
            for line, _, after in self._levels:
                if after and line:
                    due = min(due, line[0].arrived_ns + after)
        return due

    def pop(self, now: int) -> tuple[list[E], list[E]]:
        """See `BatchQueue.pop`."""
        self._postpone(now)
        return super().pop(now)

    def _lines_of(self, level: int) -> Sequence[deque[E]]:
        found = self._level(level)
        return found.line, found.postponed

    def _level(self, level: int) -> _Level[E]:
        return self._levels[max(level - 1, 0)]

    def _postpone(self, now: int) -> None:
        """Moves the requests that have waited too long behind the others; as they arrived in order, the first ones."""
        for line, postponed, after in self._levels:
            while after and line and now >= line[0].arrived_ns + after:
                postponed.append(line.popleft())
                self._measured = False

    def _measure_head(self) -> None:
        super()._measure_head()
        self._measured = True


def make_queue(policy: BatchPolicy) -> BatchQueue[E]:
    """The queue that a policy asks for: one line where that is enough, since it is faster."""
    delay_ns = policy.max_queue_delay_us * MICROSECOND_NS
    if policy.one_line:
        return BatchQueue(policy.max_batch_size, delay_ns, policy.preferred_batch_sizes)
    levels = range(1, policy.priority_levels + 1) or (ONLY_LEVEL,)
    postpone_after_ns = [policy.queue_of(level).postpone_after_us * MICROSECOND_NS for level in levels]
    return PriorityQueue(policy.max_batch_size, delay_ns, policy.preferred_batch_sizes, postpone_after_ns)
