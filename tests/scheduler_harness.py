"""A scheduler with workers that the test plays: real slots, no processes."""

import time
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from quadriga.counters import ModelCounters
from quadriga.errors import RequestError
from quadriga.queue_policy import BatchPolicy
from quadriga.requests import Batch, Course, Output, Request
from quadriga.scheduler import Scheduler
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.workers.messages import BatchDone, Region
from quadriga.workers.slab import AttachedSlab, Slab, SlotState
from quadriga.workers.worker import Assigned, Loss, LossReason, Worker

TENSOR = TensorSpec(name="x", datatype="FP32", shape=(2,))
SPEC = ModelSpec(inputs=(TENSOR,), outputs=(TENSOR,), batches=True)


class FakeWorker:
    """Takes batches like a worker; the test decides how each ends."""

    def __init__(self, scheduler: Scheduler, slots: int = 2) -> None:
        self._slab = Slab(slots)
        self._other_side = AttachedSlab(self._slab.descriptors)
        self._scheduler = scheduler
        self.held: list[Assigned[Batch]] = []
        self._regions: dict[int, tuple[Region | None, ...]] = {}
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

    def finish(self, outputs: Sequence[np.ndarray[Any, Any]] | None = None, infer_ns: int = 0) -> None:
        """Ends the oldest batch, with its inputs as outputs; the last `infer_ns` were the backend's."""
        assigned = self.held.pop(0)
        slot = assigned.slot
        if outputs is None:
            inputs = self._other_side.inputs(slot.index, slot.inputs.size, self._regions[slot.index], SPEC.inputs)
            outputs = [array for array in inputs if array is not None]
        size, regions = self._other_side.put_outputs(slot.index, outputs)
        slot.outputs.follow(size)
        now = time.monotonic_ns()
        done = BatchDone(
            slot=slot.index,
            segment_size=size,
            outputs=regions,
            started_ns=now - infer_ns,
            computed_ns=now,
            finished_ns=now,
        )
        self._scheduler.on_done(self.as_worker, assigned, done)

    def fail(self, reason: str) -> None:
        assigned = self.held.pop(0)
        self._slab.release(assigned.slot)
        self._scheduler.on_failed(self.as_worker, assigned, reason)

    def die(self, reason: LossReason = "died") -> bool:
        """Whether the scheduler puts it down to what it ran."""
        held, self.held = self.held, []
        return self._scheduler.remove_worker(self.as_worker, Loss(reason, "was killed by the test"), held)

    def close(self) -> None:
        """Gives its descriptors back: a test that makes workers by the hundred runs out of them."""
        self._slab.close()


class Caller:
    """Remembers how its request ended, and that it ended once."""

    def __init__(self) -> None:
        self.cancelled = False
        self.outputs: list[tuple[tuple[int, ...], bytes]] | None = None
        self.error: RequestError | None = None

    def answer(self, outputs: Sequence[Output], course: Course) -> None:
        assert self.open
        self.outputs = [(output.shape, output.raw.tobytes()) for output in outputs]

    def fail(self, error: RequestError) -> None:
        assert self.open
        self.error = error

    @property
    def open(self) -> bool:
        return self.outputs is None and self.error is None


def make(**policy: Any) -> Scheduler:
    return Scheduler("m", BatchPolicy(**{"max_batch_size": 4, **policy}), SPEC, ModelCounters())


def submit(scheduler: Scheduler, value: float = 0.0, rows: int = 1, expires_ns: int = 0, priority: int = 0) -> Caller:
    caller = Caller()
    data = np.full((rows, 2), value, np.float32).tobytes()
    scheduler.submit(Request(caller, (data,), ((rows, 2),), ((2,),), rows, time.monotonic_ns(), expires_ns), priority)
    return caller
