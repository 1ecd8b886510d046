"""The scheduler with workers that the test plays: real slots, no processes. Each test runs in a loop of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest

from quadriga.config import BatchPolicy
from quadriga.counters import ModelCounters
from quadriga.errors import ModelNotReady, Overloaded, RequestError
from quadriga.requests import Batch, Output, Request, Timings
from quadriga.scheduler import Scheduler
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.workers.messages import BatchDone, Region
from quadriga.workers.slab import AttachedSlab, Slab, SlotState
from quadriga.workers.worker import Assigned, Worker

TENSOR = TensorSpec(name="x", datatype="FP32", shape=(2,))
SPEC = ModelSpec(inputs=(TENSOR,), outputs=(TENSOR,), batches=True)


class FakeWorker:
    """Takes batches like a worker; the test decides how each ends."""

    def __init__(self, scheduler: Scheduler, slots: int = 2) -> None:
        self._slab = Slab(slots)
        self._other_side = AttachedSlab(self._slab.descriptors)
        self._scheduler = scheduler
        self.held: list[Assigned[Batch]] = []
        self._regions: dict[int, tuple[Region, ...]] = {}
        scheduler.add_worker(self.as_worker)

    @property
    def as_worker(self) -> Worker[Batch]:
        return cast("Worker[Batch]", self)

    @property
    def free_slots(self) -> int:
        return self._slab.free

    @property
    def in_flight(self) -> int:
        return len(self.held)

    @property
    def rows(self) -> list[int]:
        return [assigned.work.rows for assigned in self.held]

    def run(self, work: Batch, parts: Sequence[Sequence[bytes]], shapes: Sequence[tuple[int, ...]]) -> None:
        slot = self._slab.lease()
        self._regions[slot.index] = slot.gather(parts, shapes)
        slot.state = SlotState.RUNNING
        self.held.append(Assigned(slot, work, time.monotonic_ns()))

    def release(self, slot: Any) -> None:
        self._slab.release(slot)

    def abandon(self) -> list[Assigned[Batch]]:
        held, self.held = self.held, []
        return held

    def finish(self, outputs: Sequence[np.ndarray[Any, Any]] | None = None) -> None:
        """Ends the oldest batch, with its inputs as outputs."""
        assigned = self.held.pop(0)
        slot = assigned.slot
        if outputs is None:
            outputs = self._other_side.inputs(slot.index, slot.inputs.size, self._regions[slot.index], SPEC.inputs)
        size, regions = self._other_side.put_outputs(slot.index, outputs)
        slot.outputs.follow(size)
        now = time.monotonic_ns()
        done = BatchDone(
            slot=slot.index, segment_size=size, outputs=regions, started_ns=now, computed_ns=now, finished_ns=now
        )
        self._scheduler.on_done(self.as_worker, assigned, done)

    def fail(self, reason: str) -> None:
        assigned = self.held.pop(0)
        self._slab.release(assigned.slot)
        self._scheduler.on_failed(self.as_worker, assigned, reason)

    def die(self) -> None:
        held, self.held = self.held, []
        self._scheduler.remove_worker(self.as_worker, "killed by the test", held)


class Caller:
    """Remembers how its request ended, and that it ended once."""

    def __init__(self) -> None:
        self.cancelled = False
        self.outputs: list[tuple[tuple[int, ...], bytes]] | None = None
        self.error: RequestError | None = None

    def answer(self, outputs: Sequence[Output], timings: Timings) -> None:
        assert self.open
        self.outputs = [(output.shape, output.raw.tobytes()) for output in outputs]

    def fail(self, error: RequestError) -> None:
        assert self.open
        self.error = error

    @property
    def open(self) -> bool:
        return self.outputs is None and self.error is None


def in_a_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def body() -> None:
            await test()

        asyncio.run(body())

    run.__name__ = getattr(test, "__name__", "test")
    return run


def make(**policy: Any) -> Scheduler:
    return Scheduler("m", BatchPolicy(**{"max_batch_size": 4, **policy}), SPEC, ModelCounters())


def submit(scheduler: Scheduler, value: float = 0.0, rows: int = 1, expires_ns: int = 0) -> Caller:
    caller = Caller()
    data = np.full((rows, 2), value, np.float32).tobytes()
    scheduler.submit(Request(caller, (data,), ((rows, 2),), rows, time.monotonic_ns(), expires_ns))
    return caller


async def turn() -> None:
    """Lets the loop run what is due, a few turns deep."""
    for _ in range(4):
        await asyncio.sleep(0)


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
    async with asyncio.timeout(5):
        while not worker.rows:
            await asyncio.sleep(0.001)
    assert worker.rows == [1]


@in_a_loop
async def test_a_full_queue_refuses_unless_the_dead_make_room() -> None:
    scheduler = make(max_queue_size=2)
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
async def test_a_deadline_is_kept_without_any_worker() -> None:
    scheduler = make()
    caller = submit(scheduler, expires_ns=time.monotonic_ns() + 2_000_000)
    later = submit(scheduler, expires_ns=time.monotonic_ns() + 4_000_000)
    async with asyncio.timeout(5):
        while later.open:
            await asyncio.sleep(0.001)
    assert caller.error is not None
    assert caller.error.code == "DEADLINE_EXCEEDED"
    assert scheduler.counters.failed == {("DEADLINE_EXCEEDED", "deadline"): 2}


@in_a_loop
async def test_a_lost_batch_runs_again_elsewhere_and_the_waiting_one_is_not_blamed() -> None:
    scheduler = make()
    first = FakeWorker(scheduler)
    running, behind = submit(scheduler, rows=4), submit(scheduler, rows=4)
    await turn()
    first.die()
    second = FakeWorker(scheduler)
    await turn()
    second.die()
    assert running.error is not None
    assert running.error.code == "UNAVAILABLE"
    assert behind.open
    third = FakeWorker(scheduler)
    await turn()
    third.finish()
    assert behind.outputs
    assert scheduler.waiting == 0


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
    async def body() -> None:
        scheduler = make()
        worker = FakeWorker(scheduler)
        caller = submit(scheduler)
        await turn()
        worker.finish(outputs)
        assert caller.error is not None
        assert caller.error.code == "INTERNAL"
        assert worker.free_slots == 2

    asyncio.run(body())


@in_a_loop
async def test_a_response_that_cannot_be_encoded_fails_alone() -> None:
    class Unencodable(Caller):
        def answer(self, outputs: Sequence[Output], timings: Timings) -> None:
            raise ValueError("too large")

    scheduler = make()
    worker = FakeWorker(scheduler)
    broken, neighbour = Unencodable(), Caller()
    for caller in (broken, neighbour):
        data = np.zeros((1, 2), np.float32).tobytes()
        scheduler.submit(Request(caller, (data,), ((1, 2),), 1, time.monotonic_ns(), 0))
    await turn()
    worker.finish()
    assert broken.error is not None
    assert broken.error.code == "INTERNAL"
    assert neighbour.outputs
    assert (worker.free_slots, scheduler.counters.answered, scheduler.counters.failed.total()) == (2, 1, 1)


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
    for _ in range(3):
        submit(scheduler, rows=4)
    await turn()
    assert sorted([len(one.held), len(two.held)]) == [1, 2]


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
