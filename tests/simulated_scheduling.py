"""A world of scheduling: real scheduler, queue, answers, workers and slabs; callers, processes and time are played.

What may happen is marked with `action`. Whatever is not as it was promised is noted as a fault at the moment it shows,
since exceptions that are raised inside the scheduler's callbacks may be caught there, and `check` raises it.
"""

import asyncio
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Final

import pytest
from batching_model import in_order, is_due, next_batch, rows_of
from fake_time import FakeTimeLoop
from simulated_call import SimulatedCall, Stage
from simulated_worker import SimulatedWorker
from state_machines import World, action

from quadriga.counters import ModelCounters
from quadriga.errors import Cancelled, DeadlineExceeded, ModelNotReady, Overloaded, RequestError, WorkerLost
from quadriga.expiry import EXPIRY_STEP_NS
from quadriga.guilty_requests import OFFENCES
from quadriga.queue_policy import BatchPolicy, QueuePolicy
from quadriga.requests import Batch, Request
from quadriga.retries import MAX_LOSSES
from quadriga.scheduler import Scheduler
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.units import MICROSECOND_NS
from quadriga.workers.messages import BatchDone
from quadriga.workers.slab import SlotState
from quadriga.workers.worker import SLOTS, Assigned, Events, Loss, Worker

_MOST_WORKERS: Final = 3
_MOST_OPEN: Final = 40
_ROUNDS_TO_END: Final = 400


class SimulatedScheduling(World):
    """See the module.

    Attributes:
        policy: How requests wait and are joined.
        calls: All that were admitted, in the order of their numbers.
        over: Whether it was closed.
    """

    SETUP: ClassVar[Mapping[str, Sequence[Any]]] = {
        "max_batch_size": (0, 1, 2, 4, 4, 8, 8),
        "delay_us": (0, 0, 700, 3_000, 3_000),
        "preferred": ((), (), (2,), (3,), (2, 4), (2, 4), (2, 7)),
        "ordered": (False, True),
        "levels": (0, 0, 1, 3),
        "queue": (
            QueuePolicy(),
            QueuePolicy(max_queue_size=3),
            QueuePolicy(default_timeout_us=1_500),
            QueuePolicy(default_timeout_us=900, timeout_action="delay"),
            QueuePolicy(default_timeout_us=2_500, timeout_action="delay", max_queue_size=8),
        ),
        "first_queue": (
            None,
            QueuePolicy(max_queue_size=2),
            QueuePolicy(default_timeout_us=600, timeout_action="delay"),
        ),
        "workers": (0, 1, 1, 2, 3),
        "limit_ms": (0, 0, 4, 15),
    }

    def __init__(
        self,
        max_batch_size: int,
        delay_us: int,
        preferred: Sequence[int],
        ordered: bool,
        levels: int,
        queue: QueuePolicy,
        first_queue: QueuePolicy | None,
        workers: int,
        limit_ms: int,
    ) -> None:
        self.policy = BatchPolicy(
            max_batch_size=max_batch_size,
            max_queue_delay_us=delay_us if max_batch_size else 0,
            preferred_batch_sizes=tuple(size for size in preferred if size <= max_batch_size),
            preserve_ordering=ordered,
            priority_levels=levels,
            default_priority_level=(levels + 1) // 2,
            queue=queue,
            level_queues={1: first_queue} if levels and first_queue else {},
        )
        self.calls: list[SimulatedCall] = []
        self.over = False
        tensor = TensorSpec(name="x", datatype="INT64", shape=(-1,))
        self._spec = ModelSpec(inputs=(tensor,), outputs=(tensor,), batches=max_batch_size > 0)
        self._counters = ModelCounters()
        self._limit_ns = limit_ms * 1_000_000
        self._offences: Counter[tuple[bytes, Hashable]] = Counter()
        self._open: dict[int, SimulatedCall] = {}
        self._workers: list[SimulatedWorker] = []
        self._departed: list[SimulatedWorker] = []
        self._faults: list[str] = []
        self._refusing = False
        self._draining: asyncio.Task[None] | None = None
        self._answered = 0
        self._formed = 0
        self._dead_met = 0  # since the loop was idle
        self._loop = FakeTimeLoop()
        self._loop.set_exception_handler(self._on_exception)
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr("time.monotonic_ns", self._loop.monotonic_ns)
        self.scheduler = self._loop.run_until_complete(self._make_scheduler())
        for _ in range(workers):
            self.join()

    async def _make_scheduler(self) -> Scheduler:
        return Scheduler("m", self.policy, self._spec, self._counters)

    # ---- what may happen

    @action(
        30,
        rows=(1, 1, 1, 2, 3, 8),
        width=(2, 2, 2, 2, 2, 1, 300),
        priority=(0, 1, 2, 3, 9),
        patience_us=(0, 0, 0, 0, -5, 300, 2_000, 5_000, 20_000),
        nature=(*["good"] * 24, "raises", "raises", "kills", "hangs"),
        encore=(False, False, False, True),
    )
    def submit(self, rows: int, width: int, priority: int, patience_us: int, nature: str, encore: bool) -> bool:
        """A request comes; -5: it is too late already."""
        if len(self._open) >= _MOST_OPEN:
            return False
        rows = min(rows, max(self.policy.max_batch_size, 1))
        batches = self.policy.max_batch_size > 0
        call = SimulatedCall(
            self,
            len(self.calls),
            (rows, width) if batches else (width,),
            batches=batches,
            level=self.policy.level_of(priority),
            nature=nature,
            encore=encore,
        )
        self._admit(call, priority, patience_us)
        return True

    @action(4, which=range(8))
    def cancel(self, which: int) -> bool:
        """A caller leaves."""
        if not self._open:
            return False
        list(self._open.values())[which % len(self._open)].cancelled = True
        return True

    @action(20)
    def turn(self) -> None:
        """The loop does what there is to do."""
        self._loop.settle()
        self._check_settled()

    @action(12, microseconds=(1, 100, 300, 500, 1_000, 2_600, 10_000))
    def pass_time(self, microseconds: int) -> None:
        """Time passes."""
        self._loop.now_ns += microseconds * MICROSECOND_NS
        self.turn()

    @action(24, which=range(_MOST_WORKERS), misshapen=(*[False] * 20, True))
    def compute(self, which: int, misshapen: bool) -> bool:
        """A worker computes its oldest batch, if that lets it; rarely with outputs that break the contract."""
        worker = self._busy_worker(which)
        if worker is None:
            return False
        misshapen &= self._spec.batches
        calls = self._oldest(worker)
        natures = {call.nature for call in calls}
        if "hangs" in natures and self._limit_ns:
            worker.process.stuck = True
            return True
        if natures & {"hangs", "kills"}:
            worker.process.die()
            worker.process.end_of_stream()
            worker.process.reap()
            return True
        if "raises" in natures:
            worker.process.fail("ValueError: no")
            return True
        for call in calls:
            call.computed = True
            call.blamed |= misshapen
        worker.process.compute(misshapen)
        return True

    @action(2, which=range(_MOST_WORKERS))
    def raise_error(self, which: int) -> bool:
        """A worker's backend raises for no reason."""
        worker = self._busy_worker(which)
        if worker is not None:
            worker.process.fail("ValueError: no")
        return worker is not None

    @action(3, which=range(_MOST_WORKERS), how=("silently", "stream", "kernel", "babbling"), reap=(True, False))
    def die(self, which: int, how: str, reap: bool) -> bool:
        """A worker dies; its owner hears of it in one way or another, or only when it sends it something."""
        alive = [worker for worker in self._workers if worker.process.alive]
        if not alive:
            return False
        process = alive[which % len(alive)].process
        if how == "babbling":
            process.babble()
        else:
            process.die()
        if how == "stream":
            process.end_of_stream()
        if how == "kernel":
            process.exit_status()
        if reap:
            process.reap()
        return True

    @action(4)
    def reap(self) -> bool:
        """The dead are noticed, and what became of them is known."""
        dead = [worker for worker in self._workers if worker.gone or not worker.process.alive]
        for worker in dead:
            worker.process.exit_status()
            worker.process.reap()
        return bool(dead)

    @action(4)
    def join(self) -> bool:
        """A worker comes, or comes back."""
        if len(self._workers) >= _MOST_WORKERS:
            return False
        events = Events(done=self._on_done, failed=self._on_failed, lost=self._on_lost)
        self._loop.run_until_complete(self._make_worker(events))
        return True

    @action(1, which=range(_MOST_WORKERS))
    def run_out_of_memory(self, which: int) -> bool:
        """A worker's next batch finds no memory."""
        if not self._workers:
            return False
        self._workers[which % len(self._workers)].run_out_of_memory()
        return True

    @action(12, on=(True, *[False] * 15))
    def refuse(self, on: bool) -> bool:
        """The model takes no requests for a while."""
        if self._draining is not None or on == self._refusing:
            return False
        self._refusing = on
        if on:
            self.scheduler.refuse(_refusal)
        else:
            self.scheduler.admit()
        return True

    @action(1)
    def fail_waiting(self) -> None:
        """What waits is given up, as when a worker cannot be replaced, and no more is taken for a while."""
        self.refuse(on=True)
        for call in self._open.values():
            if call.stage in (Stage.WAITING, Stage.AGAIN):
                call.given_up = True
                call.stage = Stage.HELD
        self.scheduler.fail_waiting(_refusal)
        self.turn()

    @action(1)
    def drain(self) -> bool:
        """No more requests are taken, and somebody waits for the last to end."""
        if self._draining is not None:
            return False
        self.refuse(on=True)
        self._draining = self._loop.create_task(self.scheduler.drained())
        self.turn()
        return True

    @action(1, chance=range(4))
    def close(self, chance: int) -> bool:
        """The model goes, whatever is under way; one time in four that this could happen."""
        if chance:
            return False
        self.over = True
        self.refuse(on=True)
        for call in self._open.values():
            call.given_up = True
        for worker in self._workers:
            worker.process.reap()
        self._loop.run_until_complete(self._stop_workers())
        for call in self._open.values():
            call.stage = Stage.HELD
        self.scheduler.close(_refusal)
        self._loop.settle()
        self.expect(not self._open, f"left by close: {list(self._open.values())}")
        self._check_accounts()
        return True

    # ---- ends and checks

    def end(self) -> None:
        """Lets all that is open end, and checks that it did and what is left."""
        for _ in range(_ROUNDS_TO_END):
            if self.over or not self._open:
                break
            self.reap()
            if not any(worker.process.alive for worker in self._workers):
                self.join()
            self.turn()
            for which in range(len(self._workers)):
                self.compute(which, misshapen=False)
            self.pass_time(10_000 if any(worker.process.stuck for worker in self._workers) else 500)
            self.check()
        self.expect(not self._open, f"never ended: {list(self._open.values())}")
        if not self.over:
            self.turn()
            self.close(0)
        self.expect(self._draining is None or self._draining.done(), "drained() waits for nothing")
        self.check()
        self.discard()

    def check(self) -> None:
        """Raises the faults."""
        assert not self._faults, "; ".join(self._faults)

    def discard(self) -> None:
        """Gives everything up."""
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.settle()
        for worker in self._workers + self._departed:
            worker.discard()
        self._loop.close()
        self._patch.undo()

    def expect(self, holds: bool, otherwise: str) -> None:
        """Notes a fault where something does not hold."""
        if not holds:
            self._faults.append(f"at {self.now}: {otherwise}")

    @property
    def now(self) -> int:
        """The time."""
        return self._loop.now_ns

    def ended(self, call: SimulatedCall, error: RequestError | None) -> None:
        """A call has ended."""
        if self.policy.preserve_ordering and call.stage is Stage.HELD and call.place is not None:
            earlier = [other for other in self._placed() if other.place < call.place]
            self.expect(not earlier, f"{call} ends before {earlier}")
        self._dead_met += isinstance(error, (Cancelled, DeadlineExceeded))
        self._answered += error is None
        call.stage = Stage.ENDED
        self._open.pop(call.number, None)
        if call.encore and not isinstance(error, (Cancelled, DeadlineExceeded, ModelNotReady)):
            self.submit(call.rows, 2, call.level, 0, "good", encore=False)

    def known(self, call: SimulatedCall) -> bool:
        """Whether the same bytes have cost workers too often."""
        return self._offences[call.data, call.key] >= OFFENCES

    def _check_settled(self) -> None:
        self._dead_met = 0
        self._hold_back_known()
        waiting = [call for call in self._open.values() if call.stage is Stage.WAITING]
        again = [call for call in self._open.values() if call.stage is Stage.AGAIN]
        self.expect(self.scheduler.waiting == len(waiting) + len(again), f"{self.scheduler.waiting} wait")
        for call in waiting + again:
            noticed_ns = max(call.expires_ns, call.arrived_ns) + EXPIRY_STEP_NS
            self.expect(not call.expires_ns or self.now <= noticed_ns, f"the deadline of {call} has passed")
        for level in {call.level for call in waiting}:
            limit = self.policy.queue_of(level).max_queue_size
            self.expect(sum(call.level == level for call in waiting) <= limit, f"more than {limit} wait in {level}")
        self._check_work(waiting, again)
        self._check_slots()
        self._check_accounts()
        self._check_order()
        if self._draining is not None:
            self.expect(self._draining.done() != bool(self._open), f"drained() does not tell of {len(self._open)}")
            if self._draining.done():
                self._draining = None
                self.refuse(on=False)

    def _check_work(self, waiting: list[SimulatedCall], again: list[SimulatedCall]) -> None:
        """No worker is free while there is a batch that it could run."""
        free = [worker for worker in self._workers if worker.free_slots and not self._runs_suspect(worker)]
        suspects = any(call.losses for call in again)
        seconds = not suspects and self._second_batches(len(waiting))
        if not free or (all(worker.held for worker in free) and not seconds):
            return
        self.expect(not again, f"a worker is free, and {again} wait to be tried again")
        if any(not call.dead(self.now) for call in waiting) and not self._held_up:
            due = is_due(in_order(waiting, self.policy, self.now), self.policy, self.now)
            self.expect(not due, f"a worker is free, and a batch of {waiting} is due")

    def _second_batches(self, waiting: int) -> bool:
        """Whether batches may be sent to wait behind those that run."""
        count = len(self._workers)
        return count == 1 or waiting >= max(self.policy.max_batch_size, 1) * count

    def _runs_suspect(self, worker: SimulatedWorker) -> bool:
        """Whether a worker is to get nothing else meanwhile."""
        return any(self._call_of(batch.requests[0]).losses for batch in worker.held)

    @property
    def _held_up(self) -> bool:
        """Whether too many batches wait for an earlier one to be answered."""
        return self.scheduler._answers.held >= SLOTS * len(self._workers)

    def _check_slots(self) -> None:
        at_workers: set[int] = set()
        for worker in self._workers:
            at_workers.update(id(request.caller) for batch in worker.held for request in batch.requests)
            if not worker.gone:
                running = [slot.state is SlotState.RUNNING for slot in worker.slab.slots]
                free = [slot.state is SlotState.FREE for slot in worker.slab.slots]
                held = len(worker.held)
                counts = (sum(running), sum(free), worker.free_slots)
                self.expect(counts == (held, SLOTS - held, SLOTS - held), f"{held} batches are held, slots: {counts}")
                hangs = self._limit_ns and held and self.now - worker.since_ns > self._limit_ns
                self.expect(not hangs, f"a batch runs since {worker.since_ns} and nobody notices")
        known = {id(call) for call in self._open.values() if call.stage is Stage.AT_WORKER}
        self.expect(at_workers == known, "workers hold other requests than they were sent")

    def _check_accounts(self) -> None:
        counters, failed = self._counters, len(self.calls) - len(self._open) - self._answered
        counted = (counters.answered, counters.failed.total(), counters.total.count)
        self.expect(
            counted == (self._answered, failed, self._answered), f"{counted}, not {self._answered} and {failed}"
        )

    def _check_order(self) -> None:
        """Whatever is done with has been answered, unless it waits for its turn."""
        first = min(self._placed(), key=lambda call: call.place, default=None)
        for call in self._open.values():
            if call.stage is Stage.HELD:
                waits = self.policy.preserve_ordering and call.place is not None and call is not first
                self.expect(waits, f"{call} is not answered")

    def _placed(self) -> list[Any]:
        """The open calls that were in a batch."""
        return [call for call in self._open.values() if call.place is not None]

    def _hold_back_known(self) -> None:
        """Known ones that wait to be tried again are refused instead, each in its turn."""
        retries = self.scheduler._retries
        left = {id(request.caller) for batch in (*retries._innocent, *retries._suspects) for request in batch.requests}
        for call in self._open.values():
            if call.stage is Stage.AGAIN and call.losses and self.known(call) and id(call) not in left:
                call.stage = Stage.HELD

    # ---- what the scheduler and the workers do

    def _on_run(self, worker: SimulatedWorker, batch: Batch) -> None:
        calls = [self._call_of(request) for request in batch.requests]
        rows = rows_of(calls)
        sent = f"sent: {calls}"
        self.expect(worker in self._workers and worker.free_slots > 0, f"the worker is not free; {sent}")
        self.expect(bool(calls) and batch.rows == rows, f"a batch of {batch.rows} rows; {sent}")
        self.expect(rows <= max(self.policy.max_batch_size, 1), f"too many rows; {sent}")
        self.expect(len({call.key for call in calls}) == 1, f"different shapes; {sent}")
        self.expect(not any(call.dead(self.now) for call in calls), f"nobody waits; {sent}")
        self.expect(len({call.stage for call in calls}) == 1, f"new and old ones; {sent}")
        waiting = [call for call in self._open.values() if call.stage is Stage.WAITING]
        behind = bool(worker.held) and not self._second_batches(len(waiting) + self._dead_met)
        self.expect(not behind, f"a batch waits behind another with too few for every worker; {sent}")
        self.expect(not self._runs_suspect(worker), f"its worker runs a suspect; {sent}")
        if calls[0].stage is Stage.WAITING:
            self._check_first(calls, waiting)
            for place, call in enumerate(calls):
                call.place = (self._formed, place)
            self._formed += 1
        else:
            self._check_again(worker, calls)
        if not worker.held:
            worker.since_ns = self.now
        for call in calls:
            call.stage = Stage.AT_WORKER
            call.computed = False

    def _check_again(self, worker: SimulatedWorker, calls: list[SimulatedCall]) -> None:
        """What is tried again are requests of one batch; suspects first, and by themselves."""
        sent = f"sent again: {calls}"
        self.expect(all(call.stage is Stage.AGAIN for call in calls), f"not to be tried again; {sent}")
        self.expect(len({call.place and call.place[0] for call in calls}) == 1, f"of different batches; {sent}")
        self.expect(len({call.losses for call in calls}) == 1, f"suspects and others; {sent}")
        if calls[0].losses:
            self.expect(not worker.held, f"suspects behind others; {sent}")
            return
        self._hold_back_known()
        suspects = [call for call in self._open.values() if call.stage is Stage.AGAIN and call.losses]
        self.expect(not suspects, f"{sent}, before {suspects}")

    def _check_first(self, calls: list[SimulatedCall], waiting: list[SimulatedCall]) -> None:
        """A new batch is the one whose turn it is, and due."""
        alive = in_order((call for call in waiting if not call.dead(self.now)), self.policy, self.now)
        expected = next_batch(alive, self.policy, self.now) if alive else []
        self.expect(calls == expected, f"sent: {calls}; expected {expected}")
        dead = self._dead_met or len(alive) < len(waiting)  # they may have made it due
        self.expect(bool(dead) or is_due(alive, self.policy, self.now), f"sent before it is due: {calls}")
        self.expect(not self._held_up, "too many are held back for another batch")
        self._hold_back_known()
        again = [call for call in self._open.values() if call.stage is Stage.AGAIN]
        self.expect(not again, f"sent: {calls}, before {again}")

    def _on_no_memory(self, batch: Batch) -> None:
        for call in map(self._call_of, batch.requests):
            call.blamed = True
            call.stage = Stage.HELD

    def _on_done(self, worker: Worker[Batch], assigned: Assigned[Batch], done: BatchDone) -> None:
        self._take_up_next(worker)
        for call in map(self._call_of, assigned.work.requests):
            call.stage = Stage.HELD
        self.scheduler.on_done(worker, assigned, done)

    def _on_failed(self, worker: Worker[Batch], assigned: Assigned[Batch], reason: str) -> None:
        self._take_up_next(worker)
        alone = len(assigned.work.requests) == 1
        for call in map(self._call_of, assigned.work.requests):
            call.blamed = alone
            call.stage = Stage.HELD if alone else Stage.AGAIN
        self.scheduler.on_failed(worker, assigned, reason)

    def _on_lost(self, worker: Worker[Batch], loss: Loss, held: list[Assigned[Batch]]) -> None:
        assert isinstance(worker, SimulatedWorker)
        early = loss.reason == "hung" and worker.lost_ns < worker.since_ns + self._limit_ns
        self.expect(not early, f"a batch that runs since {worker.since_ns} is taken to hang at {worker.lost_ns}")
        done = [call for each in held for call in map(self._call_of, each.work.requests) if call.computed]
        self.expect(not done or worker.process.babbled, f"done, and not listened to: {done}")
        for number, assigned in enumerate(held):
            alone = len(assigned.work.requests) == 1
            for call in map(self._call_of, assigned.work.requests):
                call.losses += number == 0
                call.guilty = alone and number == 0 and call.losses >= MAX_LOSSES
                call.stage = Stage.HELD if call.guilty else Stage.AGAIN
                # One that is dead is not run again, and would never be found guilty.
                self._offences[call.data, call.key] += alone and number == 0 and (call.guilty or call.dead(self.now))
        self._departed += [each for each in self._workers if each is worker]
        self._workers = [each for each in self._workers if each is not worker]
        self.scheduler.remove_worker(worker, loss, held)

    def _take_up_next(self, worker: Worker[Batch]) -> None:
        assert isinstance(worker, SimulatedWorker)
        worker.since_ns = self.now

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.expect(False, f"{context['message']}: {context.get('exception')!r}")

    # ---- how it is played

    def _admit(self, call: SimulatedCall, priority: int, patience_us: int) -> None:
        queue = self.policy.queue_of(call.level)
        expires = [self.now + us * MICROSECOND_NS for us in (patience_us, queue.reject_after_us) if us]
        alive = [
            other
            for other in self._open.values()
            if other.stage is Stage.WAITING and other.level == call.level and not other.dead(self.now)
        ]
        expected: type[RequestError] | None = Overloaded if len(alive) >= queue.max_queue_size else None
        expected = ModelNotReady if self._refusing else WorkerLost if self.known(call) else expected
        expires_ns = self.now + patience_us * MICROSECOND_NS if patience_us else 0
        self.calls.append(call)
        self._open[call.number] = call
        call.expires_ns = min(expires, default=0)
        try:
            self.scheduler.submit(
                Request(call, (call.data,), (call.shape,), call.key, call.rows, self.now, expires_ns), priority
            )
        except RequestError as refusal:
            self.expect(type(refusal) is expected, f"{call} is refused, not expected: {refusal}")
            del self.calls[call.number], self._open[call.number]
        else:
            self.expect(expected is None, f"{call} is admitted; {len(alive)} wait before it")

    async def _make_worker(self, events: Events[Batch]) -> None:
        name = f"m#{len(self._workers) + len(self._departed)}"
        worker = SimulatedWorker(
            name, self._loop, self._spec, events, self._on_run, self._on_no_memory, self._limit_ns / 1e9
        )
        self._workers.append(worker)
        self.scheduler.add_worker(worker)

    async def _stop_workers(self) -> None:
        await asyncio.gather(*[worker.stop() for worker in self._workers])

    def _busy_worker(self, which: int) -> SimulatedWorker | None:
        busy = [worker for worker in self._workers if worker.process.busy]
        return busy[which % len(busy)] if busy else None

    def _oldest(self, worker: SimulatedWorker) -> list[SimulatedCall]:
        """The calls of the batch that its process works on: it may have done some that its owner does not know of."""
        batch = worker.held[len(worker.held) - worker.process.left]
        return [self._call_of(request) for request in batch.requests]

    def _call_of(self, request: Request) -> SimulatedCall:
        caller = request.caller
        assert isinstance(caller, SimulatedCall)
        return caller


def _refusal() -> RequestError:
    return ModelNotReady("not now")
