"""The order of answers where a model preserves it: whatever ends first waits for its turn, and nothing gets stuck."""

import asyncio
import time

import numpy as np
from fake_time import in_a_loop, pass_time, turn
from hypothesis import given
from hypothesis import strategies as st
from scheduler_harness import Caller, FakeWorker, make, submit

from quadriga.errors import ModelNotReady
from quadriga.scheduler import Scheduler


def make_ordered(**settings: object) -> Scheduler:
    return make(**{"max_batch_size": 1, "preserve_ordering": True, **settings})


def submit_all(scheduler: Scheduler, count: int) -> list[Caller]:
    return [submit(scheduler, value=number) for number in range(count)]


def ended(callers: list[Caller]) -> list[bool]:
    return [not caller.open for caller in callers]


@in_a_loop
async def test_a_batch_that_is_done_first_is_answered_after_the_earlier_one_with_its_own_rows() -> None:
    scheduler = make_ordered()
    slow, fast = FakeWorker(scheduler), FakeWorker(scheduler)
    callers = submit_all(scheduler, 3)
    await turn()
    fast.finish()
    fast.finish()  # into the slot of the batch before, whose answer still waits
    assert ended(callers) == [False, False, False]
    assert (fast.free_slots, scheduler.counters.answered) == (2, 0)
    slow.finish()
    for number, caller in enumerate(callers):
        assert caller.outputs == [((1, 2), np.full((1, 2), number, np.float32).tobytes())]
    assert scheduler.counters.answered == 3


@in_a_loop
async def test_without_it_answers_leave_as_they_come() -> None:
    scheduler = make_ordered(preserve_ordering=False)
    slow, fast = FakeWorker(scheduler), FakeWorker(scheduler)
    callers = submit_all(scheduler, 2)
    await turn()
    fast.finish()
    assert ended(callers) == [False, True]
    slow.finish()


@in_a_loop
async def test_failures_wait_for_their_turn_and_give_others_theirs() -> None:
    scheduler = make_ordered()
    first, second, third = (FakeWorker(scheduler) for _ in range(3))
    callers = submit_all(scheduler, 3)
    await turn()
    third.finish()
    second.fail("ValueError: no")
    assert ended(callers) == [False, False, False]
    first.fail("ValueError: nor here")
    assert ended(callers) == [True, True, True]
    assert [caller.error is None for caller in callers] == [False, False, True]


@in_a_loop
async def test_a_batch_whose_worker_died_runs_again_before_later_ones_are_answered() -> None:
    scheduler = make_ordered()
    dying, other = FakeWorker(scheduler), FakeWorker(scheduler)
    callers = submit_all(scheduler, 2)
    await turn()
    other.finish()
    dying.die()
    await turn()
    assert ended(callers) == [False, False]
    other.finish()
    assert [caller.error for caller in callers] == [None, None]
    assert ended(callers) == [True, True]


@in_a_loop
async def test_a_batch_that_killed_too_many_workers_gives_the_others_their_turn() -> None:
    scheduler = make_ordered()
    first, second = FakeWorker(scheduler), FakeWorker(scheduler)
    callers = submit_all(scheduler, 2)
    await turn()
    second.finish()
    first.die()
    await turn()
    second.die()
    assert callers[0].error is not None
    assert callers[0].error.code == "INTERNAL"
    assert callers[1].outputs


@in_a_loop
async def test_no_new_batch_is_formed_while_the_slots_full_are_held_back_and_the_awaited_one_finds_a_slot() -> None:
    scheduler = make_ordered()
    slow, fast = FakeWorker(scheduler), FakeWorker(scheduler)
    callers = submit_all(scheduler, 10)
    await turn()
    while fast.held:
        fast.finish()
    assert not any(ended(callers))
    # Two at the slow worker; of the fast one four were held when the fifth, in hand by then, ended. The rest waits.
    assert scheduler.waiting == 3
    slow.die()
    await turn()
    while fast.held:
        fast.finish()
        await turn()
    assert all(caller.outputs for caller in callers)


@in_a_loop
async def test_a_batch_that_nobody_waits_for_any_more_holds_up_no_other() -> None:
    scheduler = make_ordered()
    dying, other = FakeWorker(scheduler), FakeWorker(scheduler)
    late = submit(scheduler, expires_ns=time.monotonic_ns() + 1_000_000)
    patient = submit(scheduler)
    await turn()
    other.finish()
    submit_all(scheduler, 1)
    await turn()
    other_holds = len(other.held)
    dying.die()
    drained = asyncio.create_task(scheduler.drained())
    await pass_time(1_000_000)
    assert late.error is not None
    assert late.error.code == "DEADLINE_EXCEEDED"
    assert patient.outputs
    for _ in range(other_holds):
        other.finish()
    await turn()
    assert drained.done()


@in_a_loop
async def test_a_caller_that_leaves_while_its_answer_is_held_back_is_counted_as_cancelled() -> None:
    scheduler = make_ordered()
    slow, fast = FakeWorker(scheduler), FakeWorker(scheduler)
    callers = submit_all(scheduler, 2)
    await turn()
    fast.finish()
    callers[1].cancelled = True
    slow.finish()
    assert callers[0].outputs
    assert scheduler.counters.failed == {("CANCELLED", "cancelled"): 1}


@in_a_loop
async def test_higher_levels_are_not_held_back_by_lower_ones_that_wait() -> None:
    scheduler = make_ordered(priority_levels=2, default_priority_level=2)
    low, high = submit(scheduler), submit(scheduler, priority=1)
    worker = FakeWorker(scheduler, slots=1)
    await turn()
    worker.finish()
    assert (low.open, high.open) == (True, False)
    worker.finish()
    assert low.outputs


@in_a_loop
async def test_closing_leaves_nobody_waiting() -> None:
    scheduler = make_ordered()
    FakeWorker(scheduler)
    fast = FakeWorker(scheduler)
    callers = submit_all(scheduler, 7)
    await turn()
    fast.finish()
    scheduler.close(lambda: ModelNotReady("over"))
    assert all(ended(callers))


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["submit", "finish", "fail", "die"])), max_size=40))
def test_whatever_workers_do_answers_leave_in_order_and_all_of_them(steps: list[tuple[int, str]]) -> None:
    @in_a_loop
    async def body() -> None:
        scheduler = make_ordered()
        workers = [FakeWorker(scheduler) for _ in range(3)]
        callers: list[Caller] = []
        for place, action in steps:
            worker = workers[place]
            if action == "submit":
                callers.append(submit(scheduler, value=len(callers)))
            elif action == "die":
                worker.die()
                worker.close()
                workers[place] = FakeWorker(scheduler)
            elif worker.held and action == "finish":
                worker.finish()
            elif worker.held:
                worker.fail("ValueError: no")
            await turn()
            assert ended(callers) == sorted(ended(callers), reverse=True)
        while any(worker.held for worker in workers):
            for worker in workers:
                if worker.held:
                    worker.finish()
            await turn()
            assert ended(callers) == sorted(ended(callers), reverse=True)
        assert all(ended(callers))
        answers = scheduler.counters.answered + scheduler.counters.failed.total()
        assert (answers, scheduler.waiting, scheduler.in_flight) == (len(callers), 0, 0)
        for number, caller in enumerate(callers):
            expected = [((1, 2), np.full((1, 2), number, np.float32).tobytes())]
            assert caller.error is not None or caller.outputs == expected
        for worker in workers:
            worker.close()

    body()
