"""Whether the tests of scheduling can fail: each fault that is put into the real classes here has to be found.

Most show within some hundred steps; none may need more than the steps that are taken anyway.
"""

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from simulated_scheduling import SimulatedScheduling
from simulated_slab import SimulatedSlab
from state_machines import Walks

from quadriga import answers, batching, requests, retries
from quadriga.answer_order import OrderedAnswers
from quadriga.answers import Answers
from quadriga.batching import BatchQueue
from quadriga.counters import ModelCounters
from quadriga.expiry import ExpiryTimer
from quadriga.guilty_requests import GuiltyRequests
from quadriga.priority_queue import PriorityQueue
from quadriga.requests import Batch
from quadriga.retries import Retries
from quadriga.scheduler import Scheduler
from quadriga.workers.slab import AttachedSlab, Segment, Slab, Slot
from quadriga.workers.watchdog import Watchdog
from quadriga.workers.worker import Worker

STEPS: Final = 100_000
SEED: Final = 6

Patch = pytest.MonkeyPatch
Fault = Callable[[Patch], None]

_SCHEDULING: Final[list[Fault]] = []
_SLAB: Final[list[Fault]] = []


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def around(patch: Patch, owner: Any, name: str, new: Callable[..., Any]) -> None:
    """Replaces a method; `new` is given the old one before its arguments."""
    old = getattr(owner, name)
    patch.setattr(owner, name, lambda *values, **options: new(old, *values, **options))


def scheduling(fault: Fault) -> Fault:
    _SCHEDULING.append(fault)
    return fault


def slab(fault: Fault) -> Fault:
    _SLAB.append(fault)
    return fault


def nothing(*values: Any) -> None:
    """Instead of doing something."""


# ---- requests lost, run or answered twice


@scheduling
def a_request_is_dropped_when_its_worker_dies(patch: Patch) -> None:
    def remove(old: Any, self: Scheduler, worker: Any, loss: Any, held: Any) -> Any:
        for assigned in held:
            assigned.work.requests[1:] = []
        return old(self, worker, loss, held)

    around(patch, Scheduler, "remove_worker", remove)


@scheduling
def a_batch_is_dropped_when_its_worker_dies(patch: Patch) -> None:
    def remove(old: Any, self: Scheduler, worker: Any, loss: Any, held: Any) -> Any:
        return old(self, worker, loss, held[:1])

    around(patch, Scheduler, "remove_worker", remove)


@scheduling
def a_batch_is_run_twice(patch: Patch) -> None:
    def pop(old: Any, self: BatchQueue[Any], now: int) -> Any:
        batch, dead = old(self, now)
        if len(batch) == 2:
            self.push(batch[1])
        return batch, dead

    around(patch, BatchQueue, "pop", pop)


@scheduling
def an_answer_is_given_twice(patch: Patch) -> None:
    def answer(old: Any, *values: Any) -> None:
        old(*values)
        old(*values)

    around(patch, Answers, "_answer", answer)


@scheduling
def rows_are_swapped(patch: Patch) -> None:
    def split(old: Any, *values: Any) -> Any:
        return old(*values)[::-1]

    around(patch, answers, "split_outputs", split)


@scheduling
def a_held_answer_is_not_copied_out_of_its_slot(patch: Patch) -> None:
    def answer_batch(self: Any, batch: Batch, done: Any, view: Any, phases: Any) -> None:
        self._end(batch, lambda: Answers.answer_batch(self, batch, done, view, phases))

    patch.setattr(OrderedAnswers, "answer_batch", answer_batch)


@scheduling
def outputs_are_read_where_inputs_lie(patch: Patch) -> None:
    def on_done(old: Any, self: Scheduler, worker: Any, assigned: Any, done: Any) -> None:
        assigned.slot.outputs.view[:] = bytes(len(assigned.slot.outputs.view))
        old(self, worker, assigned, done)

    around(patch, Scheduler, "on_done", on_done)


# ---- slots


@scheduling
def a_slot_is_released_twice(patch: Patch) -> None:
    def release(old: Any, self: Slab, slot: Slot) -> None:
        old(self, slot)
        self._free.append(slot)

    around(patch, Slab, "release", release)


@scheduling
def a_slot_is_never_released_after_a_failure(patch: Patch) -> None:
    def on_failed(old: Any, self: Scheduler, worker: Any, assigned: Any, reason: str) -> None:
        worker._slab.lease()
        old(self, worker, assigned, reason)

    around(patch, Scheduler, "on_failed", on_failed)


@scheduling
def a_slot_is_not_released_after_an_answer(patch: Patch) -> None:
    patch.setattr(Worker, "release", nothing)


# ---- deadlines, delays and departures


@scheduling
def deadlines_are_not_watched(patch: Patch) -> None:
    patch.setattr(ExpiryTimer, "watch", nothing)


@scheduling
def deadlines_are_watched_only_until_the_first_of_them(patch: Patch) -> None:
    around(patch, BatchQueue, "next_expiry", lambda old, self: None)


@scheduling
def the_dead_are_run(patch: Patch) -> None:
    patch.setattr(batching, "is_dead", lambda entry, now: False)


@scheduling
def the_dead_are_run_again(patch: Patch) -> None:
    patch.setattr(requests, "is_dead", lambda entry, now: False)


@scheduling
def delays_never_end(patch: Patch) -> None:
    patch.setattr(Scheduler, "_wake_at", nothing)


@scheduling
def delays_are_not_waited_for(patch: Patch) -> None:
    around(patch, BatchQueue, "due", lambda old, self, now: None if old(self, now) is None else now)


@scheduling
def the_queues_own_timeout_is_ignored(patch: Patch) -> None:
    around(
        patch, Scheduler, "submit", lambda old, self, request, priority: _without_timeouts(old, self, request, priority)
    )


def _without_timeouts(old: Any, self: Any, request: Any, priority: int) -> None:
    self._admissions = [admission._replace(reject_after_ns=0) for admission in self._admissions]
    old(self, request, priority)


# ---- order and batches


@scheduling
def the_last_to_come_is_the_first_to_go(patch: Patch) -> None:
    def push(self: Any, entry: Any, level: int = 0) -> None:
        self._entries.appendleft(entry)
        self._measure_head()

    patch.setattr(BatchQueue, "push", push)


@scheduling
def levels_are_ignored(patch: Patch) -> None:
    around(patch, PriorityQueue, "push", lambda old, self, entry, level: old(self, entry, 1))


@scheduling
def nobody_is_overtaken(patch: Patch) -> None:
    patch.setattr(PriorityQueue, "_postpone", nothing)


@scheduling
def answers_leave_as_they_come(patch: Patch) -> None:
    patch.setattr(OrderedAnswers, "_end", lambda self, batch, end: end())


@scheduling
def parts_of_a_divided_batch_are_answered_as_they_come(patch: Patch) -> None:
    def divide(self: Any, batch: Batch) -> list[Batch]:
        parts = Answers.divide(self, batch)
        self._parts[batch.number] = len(parts)
        for place, part in enumerate(reversed(parts)):
            part.part = place
        return parts

    patch.setattr(OrderedAnswers, "divide", divide)


@scheduling
def an_unsuitable_request_joins_a_batch(patch: Patch) -> None:
    def pop(old: Any, self: BatchQueue[Any], now: int) -> Any:
        batch, dead = old(self, now)
        for line in self._lines:
            if batch and line and line[0].key != batch[0].key:
                batch.append(line.popleft())
                break
        return batch, dead

    around(patch, BatchQueue, "pop", pop)


@scheduling
def a_batch_has_a_row_too_many(patch: Patch) -> None:
    def make(old: Any, self: Any, max_rows: int, *values: Any) -> None:
        old(self, max_rows + 1, *values)

    around(patch, BatchQueue, "__init__", make)


@scheduling
def preferred_sizes_are_no_limit(patch: Patch) -> None:
    patch.setattr(BatchQueue, "_preferred_limit", lambda self, now: self._max_rows)


@scheduling
def a_request_stays_behind_that_would_fit(patch: Patch) -> None:
    def pop(old: Any, self: BatchQueue[Any], now: int) -> Any:
        batch, dead = old(self, now)
        if len(batch) > 3:
            self._lines[0].appendleft(batch.pop())
            self._measure_head()
        return batch, dead

    around(patch, BatchQueue, "pop", pop)


# ---- what costs workers


@scheduling
def a_request_is_refused_at_once_that_was_there_when_a_worker_was_lost(patch: Patch) -> None:
    patch.setattr(retries, "MAX_LOSSES", 1)


@scheduling
def a_request_costs_one_worker_more(patch: Patch) -> None:
    patch.setattr(retries, "MAX_LOSSES", 3)


@scheduling
def a_whole_batch_is_guilty(patch: Patch) -> None:
    def judge(batch: Batch, *, hung: bool) -> retries.Verdict:
        batch.losses += 1
        return retries.Verdict.GUILTY if batch.losses > 1 else retries.Verdict.AGAIN

    patch.setattr(retries, "judge", judge)


@scheduling
def a_batch_fails_as_a_whole_when_the_backend_raises(patch: Patch) -> None:
    patch.setattr(Retries, "raised", lambda self, batch, error, now: self._answers.fail_batch(batch, error))


@scheduling
def a_part_of_a_divided_batch_is_lost(patch: Patch) -> None:
    around(patch, Batch, "divided", lambda old, self: old(self)[:-1])


@scheduling
def parts_are_no_suspects(patch: Patch) -> None:
    def divided(old: Any, self: Batch) -> list[Batch]:
        parts: list[Batch] = old(self)
        for part in parts:
            part.losses = 0
        return parts

    around(patch, Batch, "divided", divided)


@scheduling
def suspects_do_not_go_first(patch: Patch) -> None:
    patch.setattr(Retries, "_put", lambda self, batch: self._innocent.append(batch))


@scheduling
def suspects_wait_behind_others(patch: Patch) -> None:
    patch.setattr(Retries, "suspect_next", False)


@scheduling
def others_wait_behind_suspects(patch: Patch) -> None:
    class Forgetful(set[Any]):
        def add(self, worker: Any) -> None:
            """Does not."""

    def make(old: Any, self: Any, *values: Any) -> None:
        old(self, *values)
        self._quarantined = Forgetful()

    around(patch, Scheduler, "__init__", make)


@scheduling
def a_suspect_is_never_done_with(patch: Patch) -> None:
    class Unforgiving(set[Any]):
        def discard(self, worker: Any) -> None:
            """Does not."""

    def make(old: Any, self: Any, *values: Any) -> None:
        old(self, *values)
        self._quarantined = Unforgiving()

    around(patch, Scheduler, "__init__", make)


@scheduling
def what_is_known_is_tried_again(patch: Patch) -> None:
    patch.setattr(GuiltyRequests, "knows", lambda self, request, now: False)


@scheduling
def one_offence_is_enough(patch: Patch) -> None:
    patch.setattr("quadriga.guilty_requests.OFFENCES", 1)


@scheduling
def deadlines_of_what_is_tried_again_are_not_kept(patch: Patch) -> None:
    patch.setattr(Retries, "next_expiry", lambda self: None)


@scheduling
def nobody_notices_that_a_worker_hangs(patch: Patch) -> None:
    patch.setattr(Watchdog, "begin", nothing)


@scheduling
def the_watchdog_barks_too_early(patch: Patch) -> None:
    around(patch, Watchdog, "__init__", lambda old, self, seconds, on_hung: old(self, seconds / 2, on_hung))


@scheduling
def what_a_dying_worker_said_is_not_heard(patch: Patch) -> None:
    patch.setattr(Worker, "_hear_out", nothing)


# ---- limits, work and accounts


@scheduling
def one_more_may_wait(patch: Patch) -> None:
    for queue in (BatchQueue, PriorityQueue):
        around(patch, queue, "waiting", lambda old, self, level: old(self, level) - 1)


@scheduling
def the_dead_make_no_room(patch: Patch) -> None:
    around(patch, Scheduler, "_make_room", lambda old, self, level, limit: _full(old, self, level, limit))


def _full(old: Any, self: Any, level: int, limit: int) -> None:
    with Patch.context() as patch:
        patch.setattr(BatchQueue, "take_dead", lambda self, now: [])
        old(self, level, limit)


@scheduling
def a_new_worker_gets_nothing(patch: Patch) -> None:
    patch.setattr(Scheduler, "add_worker", lambda self, worker: self._workers.append(worker))


@scheduling
def any_worker_gets_two_batches(patch: Patch) -> None:
    def free_worker(self: Any) -> Any:
        return next((worker for worker in self._workers if worker.free_slots), None)

    patch.setattr(Scheduler, "_free_worker", free_worker)


@scheduling
def the_batch_that_waits_is_blamed_too(patch: Patch) -> None:
    def remove(old: Any, self: Scheduler, worker: Any, loss: Any, held: Any) -> Any:
        return old(self, worker, loss, held[::-1])

    around(patch, Scheduler, "remove_worker", remove)


@scheduling
def answers_are_not_counted(patch: Patch) -> None:
    patch.setattr(ModelCounters, "count_answer", nothing)


@scheduling
def failures_are_not_counted(patch: Patch) -> None:
    patch.setattr(ModelCounters, "count_failure", nothing)


@scheduling
def a_drain_does_not_end(patch: Patch) -> None:
    patch.setattr(Scheduler, "_check_idle", nothing)


@scheduling
def a_drain_does_not_wait_for_what_runs(patch: Patch) -> None:
    patch.setattr(Scheduler, "in_flight", 0)


@scheduling
def closing_forgets_what_workers_held(patch: Patch) -> None:
    patch.setattr(Worker, "abandon", lambda self: [])


@scheduling
def a_refusing_model_takes_requests(patch: Patch) -> None:
    patch.setattr(Scheduler, "refuse", nothing)


# ---- the slab alone


@slab
def a_free_slot_can_be_released(patch: Patch) -> None:
    def release(self: Any, slot: Slot) -> None:
        slot.state = type(slot.state).FREE
        self._free.append(slot)

    patch.setattr(Slab, "release", release)


@slab
def a_leased_slot_stays_free(patch: Patch) -> None:
    patch.setattr(Slab, "lease", lambda self: self._free[-1])


@slab
def inputs_overlap(patch: Patch) -> None:
    patch.setattr("quadriga.workers.slab.aligned", lambda size: size // 64 * 64)


@slab
def a_grown_segment_is_not_followed(patch: Patch) -> None:
    patch.setattr(Segment, "follow", nothing)


@slab
def a_segment_shrinks(patch: Patch) -> None:
    def grow(self: Any, size: int) -> None:
        if size > self.size:
            os.ftruncate(self.descriptor, max(size, 2 * self.size))
            self._map()

    patch.setattr(Segment, "grow", grow)


@slab
def a_segment_that_cannot_grow_is_lost(patch: Patch) -> None:
    def map_anew(old: Any, self: Segment) -> None:
        self.view = memoryview(b"")
        old(self)

    around(patch, Segment, "_map", map_anew)


@slab
def the_old_mapping_stays_pinned(patch: Patch) -> None:
    patch.setattr(Segment, "_unpin_mapping", nothing)


@slab
def a_descriptor_is_left_open(patch: Patch) -> None:
    patch.setattr(Slab, "close", lambda self: [slot.inputs.close() for slot in self.slots])


@slab
def workers_can_write_to_inputs(patch: Patch) -> None:
    def inputs(old: Any, self: AttachedSlab, *values: Any) -> Any:
        return [array if array is None else array.copy() for array in old(self, *values)]

    around(patch, AttachedSlab, "inputs", inputs)


@pytest.mark.parametrize("fault", _SCHEDULING, ids=lambda fault: fault.__name__)
def test_a_fault_of_scheduling_is_found(fault: Fault, monkeypatch: Patch) -> None:
    expect_found(fault, SimulatedScheduling, monkeypatch)


@pytest.mark.parametrize("fault", _SLAB, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_slab_is_found(fault: Fault, monkeypatch: Patch) -> None:
    expect_found(fault, SimulatedSlab, monkeypatch)


def expect_found(fault: Fault, world: Any, monkeypatch: Patch) -> None:
    walks = Walks(world, SEED, shortens=False)
    with monkeypatch.context() as patch:
        fault(patch)
        with pytest.raises(Exception) as found:  # noqa: PT011 - whatever tells of it
            walks.take(STEPS)
    assert "episode" in found.value.__notes__[0]
    print(f"{fault.__name__}: found after {walks.steps} steps: {str(found.value)[:150]!r}")
