"""A real scheduler of a simulated world, and what the world knows of it: calls, workers, time and faults.

Lives in the process of pytest, like all of that world. A fault is noted at the moment it shows, since exceptions that
are raised inside the scheduler's callbacks may be caught there.
"""

import asyncio
from collections import Counter
from collections.abc import Hashable
from typing import Any, Final

from fake_time import FakeTimeLoop
from simulated_call import SimulatedCall, Stage
from simulated_worker import SimulatedWorker

from quadriga.counters import ModelCounters
from quadriga.errors import Cancelled, DeadlineExceeded, ModelNotReady, Overloaded, RequestError, WorkerLost
from quadriga.guilty_requests import OFFENCES
from quadriga.queue_policy import BatchPolicy
from quadriga.requests import Request
from quadriga.scheduler import Scheduler
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.units import MICROSECOND_NS

_MOST_OPEN: Final = 40


class ObservedScheduler:
    """See the module.

    Attributes:
        policy: How requests wait and are joined.
        spec: Of the model.
        limit_ns: How long a batch may run; 0: as long as it likes.
        loop: What all runs in.
        counters: What is counted of the model.
        scheduler: The real one.
        workers: Those that it has.
        calls: All that were admitted, in the order of their numbers.
        open: Those of them that have not ended, by number.
        answered: How many were.
        formed: How many new batches were sent.
        dead_met: How many calls ended as dead since the loop was idle.
        offences: How often calls of the same bytes have cost workers.
        refusing: Whether no requests are taken.
        faults: What was not as it was promised.
    """

    def __init__(self, policy: BatchPolicy, limit_ms: int, loop: FakeTimeLoop) -> None:
        tensor = TensorSpec(name="x", datatype="INT64", shape=(-1,))
        self.policy = policy
        self.spec = ModelSpec(inputs=(tensor,), outputs=(tensor,), batches=policy.max_batch_size > 0)
        self.limit_ns = limit_ms * 1_000_000
        self.loop = loop
        self.counters = ModelCounters()
        self.workers: list[SimulatedWorker] = []
        self.calls: list[SimulatedCall] = []
        self.open: dict[int, SimulatedCall] = {}
        self.answered = 0
        self.formed = 0
        self.dead_met = 0
        self.offences: Counter[tuple[bytes, Hashable]] = Counter()
        self.refusing = False
        self.faults: list[str] = []
        loop.set_exception_handler(self._on_exception)
        self.scheduler = loop.run_until_complete(self._make_scheduler())

    async def _make_scheduler(self) -> Scheduler:
        return Scheduler("m", self.policy, self.spec, self.counters)

    # ---- what it is given

    def submit(self, rows: int, width: int, priority: int, patience_us: int, nature: str, encore: bool) -> bool:
        """A request comes, unless too many are open; -5: it is too late already."""
        if len(self.open) >= _MOST_OPEN:
            return False
        rows = min(rows, max(self.policy.max_batch_size, 1))
        call = SimulatedCall(
            self,
            len(self.calls),
            (rows, width) if self.spec.batches else (width,),
            batches=self.spec.batches,
            level=self.policy.level_of(priority),
            nature=nature,
            encore=encore,
        )
        self._admit(call, priority, patience_us)
        return True

    def _admit(self, call: SimulatedCall, priority: int, patience_us: int) -> None:
        queue = self.policy.queue_of(call.level)
        expires = [self.now + us * MICROSECOND_NS for us in (patience_us, queue.reject_after_us) if us]
        alive = [
            other for other in self.in_stage(Stage.WAITING) if other.level == call.level and not other.dead(self.now)
        ]
        expected: type[RequestError] | None = Overloaded if len(alive) >= queue.max_queue_size else None
        expected = ModelNotReady if self.refusing else WorkerLost if self.known(call) else expected
        expires_ns = self.now + patience_us * MICROSECOND_NS if patience_us else 0
        self.calls.append(call)
        self.open[call.number] = call
        call.expires_ns = min(expires, default=0)
        try:
            self.scheduler.submit(
                Request(call, (call.data,), (call.shape,), call.key, call.rows, self.now, expires_ns), priority
            )
        except RequestError as refusal:
            self.expect(type(refusal) is expected, f"{call} is refused, not expected: {refusal}")
            del self.calls[call.number], self.open[call.number]
        else:
            self.expect(expected is None, f"{call} is admitted; {len(alive)} wait before it")

    def refuse(self, on: bool) -> bool:
        """It takes no requests any more, or takes them again; whether that changes anything."""
        if on == self.refusing:
            return False
        self.refusing = on
        if on:
            self.scheduler.refuse(refusal)
        else:
            self.scheduler.admit()
        return True

    # ---- what is known

    @property
    def now(self) -> int:
        """The time."""
        return self.loop.now_ns

    def known(self, call: SimulatedCall) -> bool:
        """Whether the same bytes have cost workers too often."""
        return self.offences[call.data, call.key] >= OFFENCES

    def in_stage(self, *stages: Stage) -> list[SimulatedCall]:
        """The open calls that are there."""
        return [call for call in self.open.values() if call.stage in stages]

    def placed(self) -> list[Any]:
        """The open calls that were in a batch."""
        return [call for call in self.open.values() if call.place is not None]

    def hold_back_known(self) -> None:
        """Known ones that wait to be tried again are refused instead, each in its turn."""
        retries = self.scheduler._retries
        left = {id(request.caller) for batch in (*retries._innocent, *retries._suspects) for request in batch.requests}
        for call in self.in_stage(Stage.AGAIN):
            if call.losses and self.known(call) and id(call) not in left:
                call.stage = Stage.HELD

    def ended(self, call: SimulatedCall, error: RequestError | None) -> None:
        """A call has ended."""
        if self.policy.preserve_ordering and call.stage is Stage.HELD and call.place is not None:
            earlier = [other for other in self.placed() if other.place < call.place]
            self.expect(not earlier, f"{call} ends before {earlier}")
        self.dead_met += isinstance(error, (Cancelled, DeadlineExceeded))
        self.answered += error is None
        call.stage = Stage.ENDED
        self.open.pop(call.number, None)
        if call.encore and not isinstance(error, (Cancelled, DeadlineExceeded, ModelNotReady)):
            self.submit(call.rows, 2, call.level, 0, "good", encore=False)

    # ---- faults

    def expect(self, holds: bool, otherwise: str) -> None:
        """Notes a fault where something does not hold."""
        if not holds:
            self.faults.append(f"at {self.now}: {otherwise}")

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.expect(False, f"{context['message']}: {context.get('exception')!r}")


def refusal() -> RequestError:
    """What requests are refused with that are not wanted now."""
    return ModelNotReady("not now")
