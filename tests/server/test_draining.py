"""When a drain has ended: not while a batch is on its way to a worker, and also when the last one never got there."""

import asyncio
from collections.abc import Sequence

from fake_time import in_a_loop, pass_time, turn
from scheduler_harness import FakeWorker, make, submit

from quadriga.requests import Batch


@in_a_loop
async def test_a_drain_waits_for_a_batch_in_whose_place_a_dead_request_was_met() -> None:
    scheduler = make(max_queue_delay_us=1_000)
    worker = FakeWorker(scheduler)
    gone, patient = submit(scheduler), submit(scheduler)
    gone.cancelled = True
    drained = asyncio.create_task(scheduler.drained())
    await pass_time(1_000_000)
    assert (gone.open, patient.open, worker.rows) == (False, True, [1])
    assert not drained.done()
    worker.finish()
    await turn()
    assert drained.done()


@in_a_loop
async def test_a_drain_ends_with_a_batch_that_could_not_be_sent() -> None:
    class Exhausted(FakeWorker):
        def run(self, work: Batch, parts: Sequence[Sequence[bytes]], shapes: Sequence[tuple[int, ...]]) -> None:
            raise OSError("no space left")

    scheduler = make(max_queue_delay_us=1_000)
    Exhausted(scheduler)
    caller = submit(scheduler)
    drained = asyncio.create_task(scheduler.drained())
    await pass_time(1_000_000)
    assert not caller.open
    assert drained.done()


@in_a_loop
async def test_a_drain_ends_when_nobody_waits_any_more() -> None:
    scheduler = make()
    gone = submit(scheduler)
    gone.cancelled = True
    drained = asyncio.create_task(scheduler.drained())
    await turn()
    assert not drained.done()
    FakeWorker(scheduler)
    await turn()
    assert drained.done()
