"""The workers of a simulated world of scheduling: what they are given and what becomes of it, noted call by call.

They are real but for their processes, and all in the process of pytest. What they tell the scheduler passes through
here, so that the world knows of it first.
"""

import asyncio

from observed_scheduler import ObservedScheduler
from scheduling_promises import check_sent
from simulated_call import SimulatedCall, Stage, call_of
from simulated_worker import SimulatedWorker

from quadriga.requests import Batch
from quadriga.retries import MAX_LOSSES
from quadriga.workers.messages import BatchDone
from quadriga.workers.worker import Assigned, Events, Loss, Worker


class SimulatedPool:
    """The workers of one scheduler, past ones too."""

    def __init__(self, seen: ObservedScheduler) -> None:
        self._seen = seen
        self._departed: list[SimulatedWorker] = []

    # ---- what happens to them

    def join(self) -> None:
        """One comes, or comes back."""
        events = Events(done=self._on_done, failed=self._on_failed, lost=self._on_lost)
        self._seen.loop.run_until_complete(self._make_worker(events))

    async def _make_worker(self, events: Events[Batch]) -> None:
        seen = self._seen
        name = f"m#{len(seen.workers) + len(self._departed)}"
        limit_seconds = seen.limit_ns / 1e9
        worker = SimulatedWorker(name, seen.loop, seen.spec, events, self._on_run, self._on_no_memory, limit_seconds)
        seen.workers.append(worker)
        seen.scheduler.add_worker(worker)

    def busy(self, which: int) -> SimulatedWorker | None:
        """One of those that compute a batch."""
        busy = [worker for worker in self._seen.workers if worker.process.busy]
        return busy[which % len(busy)] if busy else None

    def compute(self, worker: SimulatedWorker, misshapen: bool) -> None:
        """Has a busy one compute its oldest batch, as the natures of its calls let it."""
        calls = _oldest(worker)
        natures = {call.nature for call in calls}
        if "hangs" in natures and self._seen.limit_ns:
            worker.process.stuck = True
        elif natures & {"hangs", "kills"}:
            worker.process.die()
            worker.process.end_of_stream()
            worker.process.reap()
        elif "raises" in natures:
            worker.process.fail("ValueError: no")
        else:
            for call in calls:
                call.computed = True
                call.blamed |= misshapen
            worker.process.compute(misshapen)

    def reap(self) -> bool:
        """The dead are noticed, and what became of them is known; whether there are any."""
        dead = [worker for worker in self._seen.workers if worker.gone or not worker.process.alive]
        for worker in dead:
            worker.process.exit_status()
            worker.process.reap()
        return bool(dead)

    def stop(self) -> None:
        """All are stopped, whatever they run."""
        for worker in self._seen.workers:
            worker.process.reap()
        self._seen.loop.run_until_complete(self._stop_all())

    async def _stop_all(self) -> None:
        await asyncio.gather(*[worker.stop() for worker in self._seen.workers])

    def discard(self) -> None:
        """Gives them up, and whatever those held that are gone."""
        for worker in self._seen.workers + self._departed:
            worker.discard()

    # ---- what the scheduler and they themselves do

    def _on_run(self, worker: SimulatedWorker, batch: Batch) -> None:
        check_sent(self._seen, worker, batch)
        calls = [call_of(request) for request in batch.requests]
        if calls[0].stage is Stage.WAITING:
            for place, call in enumerate(calls):
                call.place = (self._seen.formed, place)
            self._seen.formed += 1
        if not worker.held:
            worker.since_ns = self._seen.now
        for call in calls:
            call.stage = Stage.AT_WORKER
            call.computed = False

    def _on_no_memory(self, batch: Batch) -> None:
        for call in map(call_of, batch.requests):
            call.blamed = True
            call.stage = Stage.HELD

    def _on_done(self, worker: Worker[Batch], assigned: Assigned[Batch], done: BatchDone) -> None:
        self._take_up_next(worker)
        for call in map(call_of, assigned.work.requests):
            call.stage = Stage.HELD
        self._seen.scheduler.on_done(worker, assigned, done)

    def _on_failed(self, worker: Worker[Batch], assigned: Assigned[Batch], reason: str) -> None:
        self._take_up_next(worker)
        alone = len(assigned.work.requests) == 1
        for call in map(call_of, assigned.work.requests):
            call.blamed = alone
            call.stage = Stage.HELD if alone else Stage.AGAIN
        self._seen.scheduler.on_failed(worker, assigned, reason)

    def _on_lost(self, worker: Worker[Batch], loss: Loss, held: list[Assigned[Batch]]) -> None:
        assert isinstance(worker, SimulatedWorker)
        seen = self._seen
        early = loss.reason == "hung" and worker.lost_ns < worker.since_ns + seen.limit_ns
        seen.expect(not early, f"a batch that runs since {worker.since_ns} is taken to hang at {worker.lost_ns}")
        done = [call for each in held for call in map(call_of, each.work.requests) if call.computed]
        seen.expect(not done or worker.process.babbled, f"done, and not listened to: {done}")
        for number, assigned in enumerate(held):
            alone = len(assigned.work.requests) == 1
            for call in map(call_of, assigned.work.requests):
                call.losses += number == 0
                call.guilty = alone and number == 0 and call.losses >= MAX_LOSSES
                call.stage = Stage.HELD if call.guilty else Stage.AGAIN
                # One that is dead is not run again, and would never be found guilty.
                seen.offences[call.data, call.key] += alone and number == 0 and (call.guilty or call.dead(seen.now))
        self._departed += [each for each in seen.workers if each is worker]
        seen.workers = [each for each in seen.workers if each is not worker]
        seen.scheduler.remove_worker(worker, loss, held)

    def _take_up_next(self, worker: Worker[Batch]) -> None:
        assert isinstance(worker, SimulatedWorker)
        worker.since_ns = self._seen.now


def _oldest(worker: SimulatedWorker) -> list[SimulatedCall]:
    """The calls of the batch that its process works on: it may have done some that its owner does not know of."""
    batch = worker.held[len(worker.held) - worker.process.left]
    return [call_of(request) for request in batch.requests]
