"""Priority levels in the scheduler: who is served first, whose queue is full, whose time is up."""

import pytest
from fake_time import in_a_loop, pass_time, turn
from scheduler_harness import FakeWorker, make, submit

from quadriga.errors import ModelNotReady, Overloaded
from quadriga.queue_policy import QueuePolicy
from quadriga.scheduler import Scheduler


def make_levels(**settings: object) -> Scheduler:
    return make(**{"max_batch_size": 1, "priority_levels": 3, "default_priority_level": 2, **settings})


@in_a_loop
async def test_higher_levels_are_served_first_and_no_priority_is_the_default_one() -> None:
    scheduler = make_levels()
    priorities = (3, 0, 99, 1, 2)
    callers = [submit(scheduler, priority=priority) for priority in priorities]
    worker = FakeWorker(scheduler)
    await turn()
    served = []
    while worker.held:
        worker.finish()
        served += [number for number, caller in enumerate(callers) if not caller.open and number not in served]
    assert [priorities[number] for number in served] == [1, 0, 99, 2, 3]


@in_a_loop
async def test_a_full_level_refuses_while_another_admits() -> None:
    scheduler = make_levels(queue=QueuePolicy(max_queue_size=1), level_queues={1: QueuePolicy(max_queue_size=2)})
    for priority in (3, 1, 1):
        submit(scheduler, priority=priority)
    with pytest.raises(Overloaded, match="1 requests waiting at priority level 3, its limit"):
        submit(scheduler, priority=3)
    with pytest.raises(Overloaded, match="2 requests waiting at priority level 1, its limit"):
        submit(scheduler, priority=1)
    submit(scheduler)
    assert scheduler.waiting == scheduler.queue_limit == 4
    scheduler.close(lambda: ModelNotReady("over"))


@in_a_loop
async def test_each_level_has_its_own_timeout() -> None:
    queues = {
        1: QueuePolicy(default_timeout_us=1_000),
        2: QueuePolicy(timeout_action="delay", default_timeout_us=1_000),
    }
    scheduler = make_levels(level_queues=queues)
    refused, postponed, patient = (submit(scheduler, priority=priority) for priority in (1, 2, 3))
    await pass_time(1_000_000)
    assert refused.error is not None
    assert refused.error.code == "DEADLINE_EXCEEDED"
    overtaking = submit(scheduler, priority=2)
    worker = FakeWorker(scheduler)
    await turn()
    order = []
    while worker.held:
        worker.finish()
        order.append((overtaking.open, postponed.open, patient.open))
    assert order == [(False, True, True), (False, False, True), (False, False, False)]
    assert scheduler.counters.failed == {("DEADLINE_EXCEEDED", "deadline"): 1}
