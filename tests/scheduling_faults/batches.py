"""Faults of the queue: which requests are sent together, and in which order."""

from typing import Any

from quadriga.answer_order import OrderedAnswers
from quadriga.answers import Answers
from quadriga.batching import BatchQueue
from quadriga.priority_queue import PriorityQueue
from quadriga.requests import Batch
from scheduling_faults.table import Faults, Patch, around, nothing

FAULTS = Faults()


@FAULTS.add
def the_last_to_come_is_the_first_to_go(patch: Patch) -> None:
    def push(self: Any, entry: Any, level: int = 0) -> None:
        self._entries.appendleft(entry)
        self._measure_head()

    patch.setattr(BatchQueue, "push", push)


@FAULTS.add
def levels_are_ignored(patch: Patch) -> None:
    around(patch, PriorityQueue, "push", lambda old, self, entry, level: old(self, entry, 1))


@FAULTS.add
def nobody_is_overtaken(patch: Patch) -> None:
    patch.setattr(PriorityQueue, "_postpone", nothing)


@FAULTS.add
def answers_leave_as_they_come(patch: Patch) -> None:
    patch.setattr(OrderedAnswers, "_end", lambda self, batch, end: end())


@FAULTS.add
def parts_of_a_divided_batch_are_answered_as_they_come(patch: Patch) -> None:
    def divide(self: Any, batch: Batch) -> list[Batch]:
        parts = Answers.divide(self, batch)
        self._parts[batch.number] = len(parts)
        for place, part in enumerate(reversed(parts)):
            part.part = place
        return parts

    patch.setattr(OrderedAnswers, "divide", divide)


@FAULTS.add
def an_unsuitable_request_joins_a_batch(patch: Patch) -> None:
    def pop(old: Any, self: BatchQueue[Any], now: int) -> Any:
        batch, dead = old(self, now)
        for line in self._lines:
            if batch and line and line[0].key != batch[0].key:
                batch.append(line.popleft())
                break
        return batch, dead

    around(patch, BatchQueue, "pop", pop)


@FAULTS.add
def a_batch_has_a_row_too_many(patch: Patch) -> None:
    def make(old: Any, self: Any, max_rows: int, *values: Any) -> None:
        old(self, max_rows + 1, *values)

    around(patch, BatchQueue, "__init__", make)


@FAULTS.add
def preferred_sizes_are_no_limit(patch: Patch) -> None:
    patch.setattr(BatchQueue, "_preferred_limit", lambda self, now: self._max_rows)


@FAULTS.add
def a_request_stays_behind_that_would_fit(patch: Patch) -> None:
    def pop(old: Any, self: BatchQueue[Any], now: int) -> Any:
        batch, dead = old(self, now)
        if len(batch) > 3:
            self._lines[0].appendleft(batch.pop())
            self._measure_head()
        return batch, dead

    around(patch, BatchQueue, "pop", pop)
