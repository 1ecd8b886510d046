"""Answers in the order in which batches were formed, for models that preserve it. Server process, event loop's thread.

That is the order of arrival within a priority level. Whatever instance runs a batch and however often it is tried, what
ends it (answers or failures) is held back until all earlier batches have ended.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from quadriga.answers import Answers
from quadriga.counters import Phases
from quadriga.errors import RequestError
from quadriga.requests import Batch
from quadriga.workers.messages import BatchDone


class OrderedAnswers(Answers):
    """Ends the requests of one model version, batch by batch in order.

    A batch that is held back has been copied out of its slot: that is free for the batch that all wait for.
    """

    def __init__(self, *arguments: Any, on_released: Callable[[], None]) -> None:  # noqa: ANN401 - of `Answers`
        """Like `Answers`; `on_released` is told whenever fewer batches may be held back than before."""
        super().__init__(*arguments)
        self._on_released = on_released
        self._formed = 0
        self._next = (0, 0)
        self._ends: dict[tuple[int, int], Callable[[], None]] = {}
        self._parts: dict[int, int] = {}  # of batches that were divided

    @property
    def held(self) -> int:
        """See `Answers.held`."""
        return len(self._ends)

    def enter(self) -> int:
        """See `Answers.enter`."""
        self._formed += 1
        return self._formed - 1

    def answer_batch(self, batch: Batch, done: BatchDone, view: "memoryview[int]", phases: Phases) -> None:
        """See `Answers.answer_batch`."""
        if (batch.number, batch.part) != self._next:
            used = max((region.offset + region.size for region in done.outputs), default=0)
            view = memoryview(view[:used].tobytes())
        self._end(batch, partial(super().answer_batch, batch, done, view, phases))

    def fail_batch(self, batch: Batch, error: RequestError) -> None:
        """See `Answers.fail_batch`."""
        self._end(batch, partial(super().fail_batch, batch, error))

    def divide(self, batch: Batch) -> list[Batch]:
        """See `Answers.divide`; the parts end in their order, and with the last of them the batch has."""
        parts = super().divide(batch)
        self._parts[batch.number] = len(parts)
        return parts

    def drop_dead(self, batch: Batch, now: int) -> None:
        """See `Answers.drop_dead`; they end at once, and without others the batch has ended."""
        super().drop_dead(batch, now)
        if not batch.requests:
            self._end(batch, lambda: None)

    def _end(self, batch: Batch, end: Callable[[], None]) -> None:
        self._ends[batch.number, batch.part] = end
        while (due := self._ends.pop(self._next, None)) is not None:
            number, part = self._next
            if part + 1 < self._parts.get(number, 1):
                self._next = (number, part + 1)
            else:
                self._parts.pop(number, None)
                self._next = (number + 1, 0)
            due()
        self._on_released()
