"""Faults of limits, of work that is not given out, and of accounts."""

from typing import Any

from quadriga.batching import BatchQueue
from quadriga.counters import ModelCounters
from quadriga.priority_queue import PriorityQueue
from quadriga.scheduler import _LOOKED_AT_PER_REFUSAL, Scheduler
from quadriga.workers.worker import Worker
from scheduling_faults.table import Faults, Patch, around, nothing

FAULTS = Faults()


@FAULTS.add
def one_more_may_wait(patch: Patch) -> None:
    for queue in (BatchQueue, PriorityQueue):
        around(patch, queue, "waiting", lambda old, self, level: old(self, level) - 1)


@FAULTS.add
def the_dead_make_no_room(patch: Patch) -> None:
    around(patch, Scheduler, "_make_room", lambda old, self, level, limit: _full(old, self, level, limit))


def _full(old: Any, self: Any, level: int, limit: int) -> None:
    with Patch.context() as patch:
        patch.setattr(BatchQueue, "take_dead", lambda self, now, level=None: [])
        old(self, level, limit)


@FAULTS.add
def what_one_level_was_refused_spares_others_the_look(patch: Patch) -> None:
    any_level = -1

    def make_room(old: Any, self: Any, level: int, limit: int) -> None:
        spared = self._refusals_without_look
        if spared[any_level]:
            spared[any_level] -= 1
            spared[level] = 1
        else:
            spared[any_level] = len(self._queue) // _LOOKED_AT_PER_REFUSAL
        old(self, level, limit)

    around(patch, Scheduler, "_make_room", make_room)


@FAULTS.add
def a_new_worker_gets_nothing(patch: Patch) -> None:
    patch.setattr(Scheduler, "add_worker", lambda self, worker: self._workers.append(worker))


@FAULTS.add
def any_worker_gets_two_batches(patch: Patch) -> None:
    def free_worker(self: Any) -> Any:
        return next((worker for worker in self._workers if worker.free_slots), None)

    patch.setattr(Scheduler, "_free_worker", free_worker)


@FAULTS.add
def the_batch_that_waits_is_blamed_too(patch: Patch) -> None:
    def remove(old: Any, self: Scheduler, worker: Any, loss: Any, held: Any) -> Any:
        return old(self, worker, loss, held[::-1])

    around(patch, Scheduler, "remove_worker", remove)


@FAULTS.add
def answers_are_not_counted(patch: Patch) -> None:
    patch.setattr(ModelCounters, "count_answer", nothing)


@FAULTS.add
def failures_are_not_counted(patch: Patch) -> None:
    patch.setattr(ModelCounters, "count_failure", nothing)


@FAULTS.add
def a_drain_does_not_end(patch: Patch) -> None:
    patch.setattr(Scheduler, "_check_idle", nothing)


@FAULTS.add
def a_drain_does_not_wait_for_what_runs(patch: Patch) -> None:
    patch.setattr(Scheduler, "in_flight", 0)


@FAULTS.add
def closing_forgets_what_workers_held(patch: Patch) -> None:
    patch.setattr(Worker, "abandon", lambda self: [])


@FAULTS.add
def a_refusing_model_takes_requests(patch: Patch) -> None:
    patch.setattr(Scheduler, "refuse", nothing)
