"""The scheduler: what it admits, joins, sends where and when, answers and gives up."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fake_time import in_a_loop, pass_time, turn
from scheduler_harness import Caller, FakeWorker, make, submit

from quadriga.errors import InvalidInput, ModelNotReady
from quadriga.queue_policy import QueuePolicy
from quadriga.requests import Batch, Course, Output, Request


@in_a_loop
async def test_requests_of_one_turn_share_a_batch_and_get_their_own_rows() -> None:
    scheduler = make()
    worker = FakeWorker(scheduler)
    callers = [submit(scheduler, value=index, rows=rows) for index, rows in enumerate((1, 2, 1))]
    await turn()
    assert worker.rows == [4]
    worker.finish()
    for index, (caller, rows) in enumerate(zip(callers, (1, 2, 1), strict=True)):
        assert caller.outputs == [((rows, 2), np.full((rows, 2), index, np.float32).tobytes())]
    counters = scheduler.counters
    assert (counters.answered, counters.rows, counters.batch_size.sum) == (3, 4, 4)


@in_a_loop
async def test_no_more_batches_than_slots_and_the_rest_gathers_meanwhile() -> None:
    scheduler = make()
    worker = FakeWorker(scheduler)
    for _ in range(2):
        submit(scheduler, rows=4)
    waiting = [submit(scheduler) for _ in range(3)]
    await turn()
    assert worker.rows == [4, 4]
    assert scheduler.waiting == 3
    worker.finish()
    assert worker.rows == [4, 3]
    worker.finish()
    worker.finish()
    assert all(caller.outputs for caller in waiting)


@in_a_loop
async def test_a_delay_lets_requests_gather() -> None:
    scheduler = make(max_queue_delay_us=50_000_000)
    worker = FakeWorker(scheduler)
    submit(scheduler, rows=3)
    await turn()
    assert worker.rows == []
    submit(scheduler, rows=1)
    await turn()
    assert worker.rows == [4]
    scheduler.close(lambda: ModelNotReady("over"))


@in_a_loop
async def test_a_delay_ends() -> None:
    scheduler = make(max_queue_delay_us=1_000)
    worker = FakeWorker(scheduler)
    submit(scheduler)
    await pass_time(999_999)
    assert worker.rows == []
    await pass_time(1)
    assert worker.rows == [1]


@in_a_loop
async def test_a_delay_counts_from_the_first_request() -> None:
    scheduler = make(max_queue_delay_us=1_000)
    worker = FakeWorker(scheduler)
    submit(scheduler)
    await pass_time(600_000)
    submit(scheduler)
    await pass_time(400_000)
    assert worker.rows == [2]


@in_a_loop
async def test_the_queues_own_timeout_refuses_what_waited_for_it_and_the_earliest_deadline_counts() -> None:
    scheduler = make(queue=QueuePolicy(default_timeout_us=3_000))
    now = time.monotonic_ns()
    default, sooner, later = (submit(scheduler, expires_ns=expires) for expires in (0, now + 1_000_000, now + 10**9))
    await pass_time(1_000_000)
    assert (default.open, sooner.open, later.open) == (True, False, True)
    await pass_time(2_000_000)
    assert not default.open
    assert not later.open
    assert scheduler.counters.failed == {("DEADLINE_EXCEEDED", "deadline"): 3}


@in_a_loop
async def test_with_the_action_delay_the_timeout_refuses_nobody_but_deadlines_do() -> None:
    scheduler = make(max_batch_size=1, queue=QueuePolicy(timeout_action="delay", default_timeout_us=3_000))
    late, hurried = submit(scheduler, value=1), submit(scheduler, expires_ns=time.monotonic_ns() + 4_000_000)
    await pass_time(3_000_000)
    fresh = submit(scheduler, value=2)
    await pass_time(1_000_000)
    assert (late.open, fresh.open) == (True, True)
    assert hurried.error is not None
    assert hurried.error.code == "DEADLINE_EXCEEDED"
    worker = FakeWorker(scheduler)
    await turn()
    worker.finish()
    assert (late.open, fresh.open) == (True, False)
    worker.finish()
    assert late.outputs


@in_a_loop
async def test_a_batch_of_a_preferred_size_is_sent_before_its_delay_has_passed() -> None:
    scheduler = make(max_queue_delay_us=1_000, preferred_batch_sizes=(2,))
    worker = FakeWorker(scheduler)
    callers = [submit(scheduler) for _ in range(3)]
    await turn()
    assert (worker.rows, scheduler.waiting) == ([2], 1)
    await pass_time(1_000_000)
    assert worker.rows == [2, 1]
    worker.finish()
    worker.finish()
    assert all(caller.outputs for caller in callers)


@in_a_loop
async def test_a_batch_that_comes_to_a_preferred_size_since_another_request_expired_is_sent_at_once() -> None:
    scheduler = make(max_queue_delay_us=10_000, preferred_batch_sizes=(2, 4))
    worker = FakeWorker(scheduler)
    submit(scheduler, expires_ns=time.monotonic_ns() + 2_000_000)
    submit(scheduler, rows=2)
    await turn()
    assert worker.rows == []
    await pass_time(2_000_000)
    await turn()
    assert worker.rows == [2]


@in_a_loop
async def test_a_deadline_is_kept_without_any_worker() -> None:
    scheduler = make()
    now = time.monotonic_ns()
    later, first = submit(scheduler, expires_ns=now + 4_000_000), submit(scheduler, expires_ns=now + 2_000_000)
    await pass_time(1_999_999)
    assert first.open
    await pass_time(1)
    assert first.error is not None
    assert first.error.code == "DEADLINE_EXCEEDED"
    assert later.open
    await pass_time(2_000_000)
    assert not later.open
    assert scheduler.counters.failed == {("DEADLINE_EXCEEDED", "deadline"): 2}
    assert scheduler.counters.failed_ns == 6_000_000


@in_a_loop
async def test_deadlines_are_kept_of_requests_that_wait_to_be_run_one_by_one() -> None:
    scheduler = make()
    worker = FakeWorker(scheduler)
    submit(scheduler, expires_ns=time.monotonic_ns() + 1_000_000)
    callers = [submit(scheduler, expires_ns=time.monotonic_ns() + 5_000_000) for _ in range(3)]
    await turn()
    assert worker.rows == [4]
    await pass_time(1_000_000)
    worker.fail("ValueError: no")
    await pass_time(4_000_000)
    assert [caller.open for caller in callers] == [True, True, False]
    scheduler.close(lambda: ModelNotReady("over"))


@in_a_loop
async def test_times_are_counted_by_phase() -> None:
    scheduler = make()
    submit(scheduler)
    await pass_time(5_000)
    worker = FakeWorker(scheduler)
    await pass_time(30_000)
    worker.finish(infer_ns=20_000)
    counters = scheduler.counters
    assert counters.queue.sum == 5_000 + 10_000
    assert counters.compute.sum == 20_000
    assert counters.total.sum == 35_000


@in_a_loop
async def test_deadlines_and_departures_are_met_while_a_lost_batch_waits_for_another_worker() -> None:
    scheduler = make()
    worker = FakeWorker(scheduler)
    late = submit(scheduler, expires_ns=time.monotonic_ns() + 1_000_000)
    gone, patient = submit(scheduler), submit(scheduler, value=7)
    await turn()
    gone.cancelled = True
    worker.die()
    assert (gone.error is not None, late.open) == (True, True)
    await pass_time(1_000_000)
    assert late.error is not None
    assert scheduler.counters.failed == {("CANCELLED", "cancelled"): 1, ("DEADLINE_EXCEEDED", "deadline"): 1}
    assert scheduler.waiting == 1
    replacement = FakeWorker(scheduler)
    await turn()
    assert replacement.rows == [1]
    replacement.finish()
    assert patient.outputs == [((1, 2), np.full((1, 2), 7, np.float32).tobytes())]


@in_a_loop
async def test_a_caller_that_leaves_while_its_batch_runs_is_counted_as_cancelled() -> None:
    scheduler = make()
    worker = FakeWorker(scheduler)
    gone, neighbour = submit(scheduler), submit(scheduler)
    await turn()
    gone.cancelled = True
    worker.finish()
    assert gone.outputs is None
    assert neighbour.outputs
    assert scheduler.counters.failed == {("CANCELLED", "cancelled"): 1}
    assert (scheduler.counters.answered, scheduler.counters.batch_size.sum) == (1, 2)


@in_a_loop
async def test_a_batch_that_fails_fails_its_requests() -> None:
    scheduler = make()
    worker = FakeWorker(scheduler)
    caller = submit(scheduler)
    await turn()
    worker.fail("ValueError: no")
    assert caller.error is not None
    assert (caller.error.code, "ValueError: no" in str(caller.error)) == ("INTERNAL", True)
    assert worker.free_slots == 2


@pytest.mark.parametrize("outputs", [[], [np.zeros((3, 2), np.float32)], [np.float32(1).reshape(())]])
def test_outputs_that_break_the_contract_fail_the_batch(outputs: list[np.ndarray[Any, Any]]) -> None:
    @in_a_loop
    async def body() -> None:
        scheduler = make()
        worker = FakeWorker(scheduler)
        caller = submit(scheduler)
        await turn()
        worker.finish(outputs)
        assert caller.error is not None
        assert caller.error.code == "INTERNAL"
        assert worker.free_slots == 2

    body()


@in_a_loop
async def test_a_response_that_cannot_be_encoded_fails_alone() -> None:
    class Unencodable(Caller):
        def answer(self, outputs: Sequence[Output], course: Course) -> None:
            raise ValueError("too large")

    scheduler = make()
    worker = FakeWorker(scheduler)
    broken, neighbour = Unencodable(), Caller()
    for caller in (broken, neighbour):
        data = np.zeros((1, 2), np.float32).tobytes()
        scheduler.submit(Request(caller, (data,), ((1, 2),), ((2,),), 1, time.monotonic_ns(), 0))
    await turn()
    worker.finish()
    assert broken.error is not None
    assert broken.error.code == "INTERNAL"
    assert neighbour.outputs
    assert (worker.free_slots, scheduler.counters.answered, scheduler.counters.failed.total()) == (2, 1, 1)


@in_a_loop
async def test_a_response_that_cannot_be_what_was_asked_for_fails_with_the_reason() -> None:
    class Unsuitable(Caller):
        def answer(self, outputs: Sequence[Output], course: Course) -> None:
            raise InvalidInput("no such classes")

    scheduler = make()
    worker = FakeWorker(scheduler)
    caller = Unsuitable()
    data = np.zeros((1, 2), np.float32).tobytes()
    scheduler.submit(Request(caller, (data,), ((1, 2),), ((2,),), 1, time.monotonic_ns(), 0))
    await turn()
    worker.finish()
    assert str(caller.error) == "no such classes"
    assert scheduler.counters.failed == {("INVALID_ARGUMENT", "invalid_input"): 1}


@in_a_loop
async def test_a_batch_that_finds_no_memory_fails_and_frees_its_slot() -> None:
    class Exhausted(FakeWorker):
        def run(self, work: Batch, parts: Sequence[Sequence[bytes]], shapes: Sequence[tuple[int, ...]]) -> None:
            raise OSError("no space left")

    scheduler = make()
    Exhausted(scheduler)
    caller = submit(scheduler)
    await turn()
    assert caller.error is not None
    assert "no space left" in str(caller.error)


@in_a_loop
async def test_batches_go_to_the_worker_with_most_room() -> None:
    scheduler = make()
    one, two = FakeWorker(scheduler), FakeWorker(scheduler)
    for _ in range(2):
        submit(scheduler, rows=4)
    await turn()
    assert [len(one.held), len(two.held)] == [1, 1]


@in_a_loop
async def test_of_several_workers_the_first_that_is_done_takes_what_waits() -> None:
    scheduler = make()
    slow, fast = FakeWorker(scheduler), FakeWorker(scheduler)
    first = [submit(scheduler, rows=4) for _ in range(2)]
    waiting = [submit(scheduler) for _ in range(3)]
    await turn()
    assert (slow.rows, fast.rows, scheduler.waiting) == ([4], [4], 3)
    fast.finish()
    assert (slow.rows, fast.rows, scheduler.waiting) == ([4], [3], 0)
    fast.finish()
    assert first[0].open
    assert not any(caller.open for caller in (first[1], *waiting))


@in_a_loop
async def test_several_workers_get_a_second_batch_when_there_is_work_enough_for_each() -> None:
    scheduler = make()
    one, two = FakeWorker(scheduler), FakeWorker(scheduler)
    for _ in range(16):
        submit(scheduler)
    await turn()
    assert (one.rows, two.rows, scheduler.waiting) == ([4, 4], [4], 4)
    scheduler.close(lambda: ModelNotReady("over"))


@in_a_loop
async def test_refusing_and_closing_leave_nobody_waiting() -> None:
    scheduler = make()
    waiting = submit(scheduler)
    scheduler.refuse(lambda: ModelNotReady("unloading"))
    with pytest.raises(ModelNotReady, match="unloading"):
        submit(scheduler)
    scheduler.close(lambda: ModelNotReady("gone"))
    assert str(waiting.error) == "gone"
    scheduler.admit()
    again = submit(scheduler)
    assert again.open


@in_a_loop
async def test_drained_waits_for_the_last_answer() -> None:
    scheduler = make()
    worker = FakeWorker(scheduler)
    submit(scheduler)
    await turn()
    drained = asyncio.create_task(scheduler.drained())
    await turn()
    assert not drained.done()
    worker.finish()
    await turn()
    assert drained.done()


def test_deadlines_that_have_passed_already_are_kept_under_uvloop() -> None:
    async def scenario() -> list[str]:
        scheduler = make()
        now = time.monotonic_ns()
        callers = [submit(scheduler, expires_ns=expires) for expires in (now - 1, now, now + 1)]
        while any(caller.open for caller in callers):
            await asyncio.sleep(0.001)
        return [type(caller.error).__name__ for caller in callers]

    # Its timers are of two kinds, by how soon they are due.
    with asyncio.Runner(loop_factory=pytest.importorskip("uvloop").new_event_loop) as runner:
        assert runner.run(asyncio.wait_for(scenario(), 10)) == ["DeadlineExceeded"] * 3
