"""Faults of answers: requests that are lost, run or answered twice, and slots that are not given back."""

from typing import Any

from quadriga import answers
from quadriga.answer_order import OrderedAnswers
from quadriga.answers import Answers
from quadriga.batching import BatchQueue
from quadriga.requests import Batch
from quadriga.scheduler import Scheduler
from quadriga.workers.slab import Slab, Slot
from quadriga.workers.worker import Worker
from scheduling_faults.table import Faults, Patch, around, nothing

FAULTS = Faults()


# ---- requests lost, run or answered twice


@FAULTS.add
def a_request_is_dropped_when_its_worker_dies(patch: Patch) -> None:
    def remove(old: Any, self: Scheduler, worker: Any, loss: Any, held: Any) -> Any:
        for assigned in held:
            assigned.work.requests[1:] = []
        return old(self, worker, loss, held)

    around(patch, Scheduler, "remove_worker", remove)


@FAULTS.add
def a_batch_is_dropped_when_its_worker_dies(patch: Patch) -> None:
    def remove(old: Any, self: Scheduler, worker: Any, loss: Any, held: Any) -> Any:
        return old(self, worker, loss, held[:1])

    around(patch, Scheduler, "remove_worker", remove)


@FAULTS.add
def a_batch_is_run_twice(patch: Patch) -> None:
    def pop(old: Any, self: BatchQueue[Any], now: int) -> Any:
        batch, dead = old(self, now)
        if len(batch) == 2:
            self.push(batch[1])
        return batch, dead

    around(patch, BatchQueue, "pop", pop)


@FAULTS.add
def an_answer_is_given_twice(patch: Patch) -> None:
    def answer(old: Any, *values: Any) -> None:
        old(*values)
        old(*values)

    around(patch, Answers, "_answer", answer)


@FAULTS.add
def rows_are_swapped(patch: Patch) -> None:
    def split(old: Any, *values: Any) -> Any:
        return old(*values)[::-1]

    around(patch, answers, "split_outputs", split)


@FAULTS.add
def a_held_answer_is_not_copied_out_of_its_slot(patch: Patch) -> None:
    def answer_batch(self: Any, batch: Batch, done: Any, view: Any, phases: Any) -> None:
        self._end(batch, lambda: Answers.answer_batch(self, batch, done, view, phases))

    patch.setattr(OrderedAnswers, "answer_batch", answer_batch)


@FAULTS.add
def outputs_are_read_where_inputs_lie(patch: Patch) -> None:
    def on_done(old: Any, self: Scheduler, worker: Any, assigned: Any, done: Any) -> None:
        assigned.slot.outputs.view[:] = bytes(len(assigned.slot.outputs.view))
        old(self, worker, assigned, done)

    around(patch, Scheduler, "on_done", on_done)


# ---- slots


@FAULTS.add
def a_slot_is_released_twice(patch: Patch) -> None:
    def release(old: Any, self: Slab, slot: Slot) -> None:
        old(self, slot)
        self._free.append(slot)

    around(patch, Slab, "release", release)


@FAULTS.add
def a_slot_is_never_released_after_a_failure(patch: Patch) -> None:
    def on_failed(old: Any, self: Scheduler, worker: Any, assigned: Any, reason: str) -> None:
        worker._slab.lease()
        old(self, worker, assigned, reason)

    around(patch, Scheduler, "on_failed", on_failed)


@FAULTS.add
def a_slot_is_not_released_after_an_answer(patch: Patch) -> None:
    patch.setattr(Worker, "release", nothing)
