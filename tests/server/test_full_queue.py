"""A full queue of a scheduler: whom it refuses, and how seldom it looks for dead requests that make room."""

import contextlib

import pytest
from fake_time import in_a_loop, turn
from scheduler_harness import FakeWorker, make, submit

from quadriga.errors import Overloaded
from quadriga.queue_policy import QueuePolicy
from quadriga.requests import Request


@in_a_loop
async def test_a_full_queue_refuses_unless_the_dead_make_room() -> None:
    scheduler = make(queue=QueuePolicy(max_queue_size=2))
    gone, alive = submit(scheduler), submit(scheduler)
    with pytest.raises(Overloaded, match="2 requests waiting"):
        submit(scheduler)
    gone.cancelled = True
    late = submit(scheduler)
    assert gone.error is not None
    assert gone.error.code == "CANCELLED"
    worker = FakeWorker(scheduler)
    await turn()
    worker.finish()
    assert alive.outputs
    assert late.outputs


@in_a_loop
async def test_a_full_queue_is_not_looked_through_at_every_refusal() -> None:
    scheduler = make(queue=QueuePolicy(max_queue_size=64))
    waiting = [submit(scheduler) for _ in range(64)]
    looked_at = 0

    def looked(request: Request) -> bool:
        nonlocal looked_at
        looked_at += 1
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Request, "abandoned", property(looked))
        for _ in range(100):
            with pytest.raises(Overloaded):
                submit(scheduler)
    assert 0 < looked_at <= 100 * 16
    waiting[5].cancelled = True
    refused = 0
    while waiting[5].open:
        with contextlib.suppress(Overloaded):
            submit(scheduler)
        refused += 1
    assert refused <= 64 // 16 + 1


@in_a_loop
async def test_the_refusals_of_one_level_spare_no_other_the_look() -> None:
    few, many = QueuePolicy(max_queue_size=2), QueuePolicy(max_queue_size=32)
    scheduler = make(priority_levels=2, default_priority_level=2, queue=many, level_queues={1: few})
    first = [submit(scheduler, priority=1) for _ in range(2)]
    second = [submit(scheduler, priority=2) for _ in range(32)]
    for priority in (2, 1):
        with pytest.raises(Overloaded):
            submit(scheduler, priority=priority)
    first[0].cancelled = second[0].cancelled = True
    assert submit(scheduler, priority=1).open
    assert not first[0].open
    assert second[0].open  # what is looked through is the level


@in_a_loop
async def test_a_queue_that_was_empty_since_is_looked_through_again() -> None:
    scheduler = make(max_batch_size=64, queue=QueuePolicy(max_queue_size=64))
    for _ in range(64):
        submit(scheduler)
    with pytest.raises(Overloaded):
        submit(scheduler)
    worker = FakeWorker(scheduler)
    await turn()
    worker.finish()
    waiting = [submit(scheduler) for _ in range(64)]
    waiting[0].cancelled = True
    assert submit(scheduler).open
