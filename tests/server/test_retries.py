"""Batches whose worker was lost or whose backend raised: who is tried again, how, who is refused, and what it costs."""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from fake_time import in_a_loop, pass_time, turn
from hypothesis import given
from hypothesis import strategies as st
from scheduler_harness import Caller, FakeWorker, make, submit

from quadriga.errors import ModelNotReady, WorkerLost
from quadriga.guilty_requests import MEMORY_NS
from quadriga.retries import MAX_BLAMED
from quadriga.scheduler import Scheduler

POISON = 13.0


class Instance:
    """A worker that is replaced whenever it is lost, on a model that loses it over some values.

    Attributes:
        worker: The one that is there now.
        losses: For each lost one the values of what it ran, and whether that was blamed.
        runs: The values of each batch that was run to its end.
    """

    def __init__(self, scheduler: Scheduler, kills: Callable[[Sequence[float]], bool], reason: str = "died") -> None:
        self.worker = FakeWorker(scheduler)
        self.losses: list[tuple[list[float], bool]] = []
        self.runs: list[list[float]] = []
        self._scheduler = scheduler
        self._kills = kills
        self._reason = reason

    def values(self) -> list[float]:
        """Of the batch that runs."""
        parts = [request.data[0] or b"" for request in self.worker.held[0].work.requests]
        return [float(np.frombuffer(part, np.float32)[0]) for part in parts]

    def step(self) -> None:
        """Ends the batch that runs, in one way or the other."""
        values = self.values()
        if not self._kills(values):
            self.runs.append(values)
            self.worker.finish()
            return
        lost = self.worker
        blamed = lost.die("hung" if self._reason == "hung" else "died")
        self.losses.append((values, blamed))
        lost.close()
        self.worker = FakeWorker(self._scheduler)


async def run_to_the_end(*instances: Instance) -> None:
    await turn()
    while any(instance.worker.held for instance in instances):
        for instance in instances:
            if instance.worker.held:
                instance.step()
            await turn()


def answered(caller: Caller, value: float) -> bool:
    return caller.outputs == [((1, 2), np.full((1, 2), value, np.float32).tobytes())]


def refused(caller: Caller) -> bool:
    return isinstance(caller.error, WorkerLost) and caller.error.code == "INTERNAL"


@in_a_loop
async def test_a_batch_that_lost_its_worker_runs_again_whole_and_nothing_else_with_it_in_a_worker() -> None:
    scheduler = make()
    first = FakeWorker(scheduler)
    running, behind = submit(scheduler, value=1, rows=4), submit(scheduler, value=2, rows=4)
    for value in (3, 4):
        submit(scheduler, value=value, rows=4)
    await turn()
    assert first.die()
    second = FakeWorker(scheduler)
    await turn()
    assert (second.rows, scheduler.waiting) == ([4], 3)
    second.finish()
    assert (bool(running.outputs), behind.open) == (True, True)
    assert second.rows == [4, 4]
    second.finish()
    assert behind.outputs


@in_a_loop
async def test_a_request_that_loses_two_workers_is_refused_and_the_one_behind_it_is_not_blamed() -> None:
    scheduler = make()
    first = FakeWorker(scheduler)
    running, behind = submit(scheduler, rows=4), submit(scheduler, rows=4)
    await turn()
    assert first.die()
    second = FakeWorker(scheduler)
    await turn()
    assert second.die()
    assert refused(running)
    assert "was killed by the test" in str(running.error)
    third = FakeWorker(scheduler)
    await turn()
    third.finish()
    assert behind.outputs
    assert (scheduler.waiting, scheduler.in_flight) == (0, 0)


@in_a_loop
async def test_one_request_of_many_is_found_and_its_neighbours_are_answered() -> None:
    scheduler = make(max_batch_size=32)
    instance = Instance(scheduler, lambda values: POISON in values)
    callers = [submit(scheduler, value=value) for value in range(32)]
    await run_to_the_end(instance)
    assert refused(callers[13])
    assert all(answered(caller, value) for value, caller in enumerate(callers) if value != POISON)
    assert [(len(values), blamed) for values, blamed in instance.losses] == [(32, True), (32, True), (1, True)]


@in_a_loop
async def test_what_no_request_does_alone_refuses_nobody() -> None:
    scheduler = make(max_batch_size=8)
    instance = Instance(scheduler, lambda values: len(values) > 4)
    callers = [submit(scheduler, value=value) for value in range(8)]
    await run_to_the_end(instance)
    assert all(answered(caller, value) for value, caller in enumerate(callers))


@in_a_loop
async def test_a_batch_that_hung_is_not_run_again_as_it_was() -> None:
    scheduler = make()
    instance = Instance(scheduler, lambda values: POISON in values, "hung")
    callers = [submit(scheduler, value=value) for value in (1, POISON, 2)]
    await run_to_the_end(instance)
    assert [len(values) for values, _ in instance.losses] == [3, 1]
    assert [refused(caller) for caller in callers] == [False, True, False]


@in_a_loop
async def test_the_same_bytes_cost_two_workers_though_their_callers_never_wait() -> None:
    scheduler = make()
    instance = Instance(scheduler, lambda values: POISON in values, "hung")
    for _ in range(2):
        caller = submit(scheduler, value=POISON)
        await turn()
        caller.cancelled = True
        await run_to_the_end(instance)
    with pytest.raises(WorkerLost):
        submit(scheduler, value=POISON)
    assert len(instance.losses) == 2


def cost(batch: list[bool], reason: str) -> int:
    """How many workers it takes to find the guilty ones of a batch."""
    if not any(batch):
        return 0
    return 2 if len(batch) == 1 else sum(batch) + (1 if reason == "hung" else 2)


@given(
    poison=st.lists(st.booleans(), min_size=1, max_size=24),
    reason=st.sampled_from(["died", "hung"]),
    instances=st.integers(1, 3),
    largest=st.integers(1, 8),
    ordered=st.booleans(),
)
def test_exactly_the_guilty_are_refused_and_each_costs_few_workers(
    poison: list[bool], reason: str, instances: int, largest: int, ordered: bool
) -> None:
    @in_a_loop
    async def body() -> None:
        scheduler = make(max_batch_size=largest, preserve_ordering=ordered)
        guilty = {float(value) for value, is_poison in enumerate(poison) if is_poison}
        workers = [Instance(scheduler, lambda values: bool(guilty & set(values)), reason) for _ in range(instances)]
        callers = [submit(scheduler, value=value) for value in range(len(poison))]
        await run_to_the_end(*workers)
        for value, (caller, is_poison) in enumerate(zip(callers, poison, strict=True)):
            assert refused(caller) if is_poison else answered(caller, value)
        batches = [poison[start : start + largest] for start in range(0, len(poison), largest)]
        assert sum(len(worker.losses) for worker in workers) == sum(cost(batch, reason) for batch in batches)
        ended = scheduler.counters.answered + scheduler.counters.failed.total()
        assert (ended, scheduler.waiting, scheduler.in_flight) == (len(poison), 0, 0)
        for worker in workers:
            worker.worker.close()

    body()


@given(poison=st.lists(st.booleans(), min_size=1, max_size=12), ordered=st.booleans())
def test_what_the_backend_raises_on_fails_alone(poison: list[bool], ordered: bool) -> None:
    @in_a_loop
    async def body() -> None:
        scheduler = make(max_batch_size=5, preserve_ordering=ordered)
        worker = FakeWorker(scheduler)
        guilty = {float(value) for value, is_poison in enumerate(poison) if is_poison}
        callers = [submit(scheduler, value=value) for value in range(len(poison))]
        await turn()
        runs = 0
        while worker.held:
            runs += 1
            requests = worker.held[0].work.requests
            if guilty & {float(np.frombuffer(request.data[0] or b"", np.float32)[0]) for request in requests}:
                worker.fail("ValueError: no")
            else:
                worker.finish()
            await turn()
        for value, (caller, is_poison) in enumerate(zip(callers, poison, strict=True)):
            assert caller.error is not None if is_poison else answered(caller, value)
            assert not is_poison or "ValueError: no" in str(caller.error)
        assert runs <= len(poison) + math.ceil(len(poison) / 5)
        assert (scheduler.waiting, scheduler.in_flight) == (0, 0)
        worker.close()

    body()


@in_a_loop
async def test_parts_of_a_batch_are_answered_in_their_order_and_before_later_batches() -> None:
    scheduler = make(max_batch_size=3, preserve_ordering=True)
    one, other = FakeWorker(scheduler), FakeWorker(scheduler)
    callers = [submit(scheduler, value=value) for value in range(6)]
    await turn()
    other.finish()
    one.fail("ValueError: no")  # and its three requests go on, two here and one there
    await turn()
    assert (one.rows, other.rows) == ([1], [1])
    other.finish()
    await turn()
    other.finish()
    assert all(caller.open for caller in callers)
    one.finish()
    assert all(answered(caller, value) for value, caller in enumerate(callers))


@in_a_loop
async def test_deadlines_and_departures_are_met_between_the_parts() -> None:
    scheduler = make()
    first = FakeWorker(scheduler)
    late = submit(scheduler, expires_ns=time.monotonic_ns() + 5_000_000)
    gone, patient, last = submit(scheduler), submit(scheduler, value=7), submit(scheduler, value=8)
    await turn()
    first.die("hung")
    gone.cancelled = True
    await pass_time(5_000_000)
    assert late.error is not None
    assert late.error.code == "DEADLINE_EXCEEDED"
    assert gone.error is not None
    assert gone.error.code == "CANCELLED"
    assert scheduler.waiting == 2
    second = FakeWorker(scheduler)
    await turn()
    second.finish()
    second.finish()
    assert answered(patient, 7)
    assert answered(last, 8)


@in_a_loop
async def test_a_drain_waits_for_the_parts_and_closing_leaves_none_of_them() -> None:
    scheduler = make()
    instance = Instance(scheduler, lambda values: True, "hung")
    callers = [submit(scheduler, value=value) for value in range(4)]
    await turn()
    instance.step()
    await turn()
    assert (scheduler.waiting, scheduler.in_flight) == (3, 1)
    scheduler.close(lambda: ModelNotReady("over"))
    assert [caller.error and caller.error.code for caller in callers] == ["UNAVAILABLE"] * 4
    await scheduler.drained()


@in_a_loop
async def test_suspects_come_before_what_is_new_and_other_workers_take_that_meanwhile() -> None:
    scheduler = make(max_batch_size=1)
    first, other = FakeWorker(scheduler), FakeWorker(scheduler)
    suspect = submit(scheduler, value=1)
    await turn()
    first.die()
    await turn()
    assert other.rows == [1]
    new = [submit(scheduler, value=value) for value in range(4)]
    replacement = FakeWorker(scheduler)
    await turn()
    assert (other.rows, len(replacement.held)) == ([1], 2)  # the suspect's worker gets no second batch
    replacement.finish()
    other.finish()
    assert suspect.outputs
    assert other.held
    assert not new[-1].outputs


@in_a_loop
async def test_losses_without_an_answer_in_between_are_put_down_to_the_model_after_some() -> None:
    scheduler = make(max_batch_size=32)
    instance = Instance(scheduler, lambda values: True)
    for value in range(32):
        submit(scheduler, value=value)
    await run_to_the_end(instance)
    assert [blamed for _, blamed in instance.losses] == [True] * MAX_BLAMED + [False] * (2 + 32 - MAX_BLAMED)


@in_a_loop
async def test_workers_that_are_lost_over_batches_that_do_no_harm_again_are_not_excused() -> None:
    scheduler = make(max_batch_size=1)
    losses = iter([True, False] * 3 + [True] * 3)
    instance = Instance(scheduler, lambda values: next(losses))
    for value in range(3):
        submit(scheduler, value=value)
        await run_to_the_end(instance)
    assert [blamed for _, blamed in instance.losses] == [True, False, False]
    submit(scheduler, value=3)
    await run_to_the_end(instance)
    assert [blamed for _, blamed in instance.losses[3:]] == [False, True]  # the second time it is certain
    submit(scheduler, value=4)
    await turn()
    instance.step()
    assert instance.losses[-1][1]


@in_a_loop
async def test_a_request_that_was_refused_twice_is_refused_at_once_for_a_while() -> None:
    scheduler = make()
    instance = Instance(scheduler, lambda values: POISON in values)
    for _ in range(2):
        again = submit(scheduler, value=POISON)
        await run_to_the_end(instance)
        assert refused(again)
    with pytest.raises(WorkerLost, match="same request before"):
        submit(scheduler, value=POISON)
    other = submit(scheduler, value=1)
    await run_to_the_end(instance)
    assert answered(other, 1)
    assert len(instance.losses) == 4
    await pass_time(MEMORY_NS)
    forgotten = submit(scheduler, value=POISON)
    await run_to_the_end(instance)
    assert refused(forgotten)
    assert len(instance.losses) == 6


@in_a_loop
async def test_copies_in_one_batch_cost_no_more_workers_than_it_takes_to_know_them() -> None:
    scheduler = make(max_batch_size=8)
    instance = Instance(scheduler, lambda values: POISON in values)
    callers = [submit(scheduler, value=POISON if copy % 2 else copy) for copy in range(8)]
    await run_to_the_end(instance)
    assert [refused(caller) for caller in callers] == [False, True] * 4
    assert len(instance.losses) == 4
