"""From admitted requests to batches in workers and back, for one model version. Server process, event loop's thread.

    submit -> BatchQueue -> _dispatch: a slot is free and a batch due -> Worker.run
                                      ... the worker computes ...
    requests answered <- Answers: rows of the slot's outputs, per request <- on_done <- BatchDone

Everything is callbacks: no task, future or lock per request. A dispatch is put off to the end of the loop's turn, so
that requests which arrived in one turn share a batch.

Where a model preserves the order of its answers, batches that end before an earlier one are held back, out of their
slots, which are free for the batch that all wait for. No new batch is formed while as many are held as there are slots.

What a lost worker ran is run again before anything new, by itself in a worker that is idle and gets nothing else
meanwhile: it may cost that one, too (`retries`).
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from quadriga.answer_order import OrderedAnswers
from quadriga.answers import Answers
from quadriga.batching import BatchQueue
from quadriga.counters import ModelCounters, Phases
from quadriga.errors import InferenceFailed, Overloaded, RequestError
from quadriga.expiry import ExpiryTimer
from quadriga.priority_queue import make_queue
from quadriga.queue_policy import BatchPolicy
from quadriga.requests import Batch, Request
from quadriga.retries import Retries
from quadriga.specs import ModelSpec
from quadriga.units import SECOND_NS
from quadriga.workers.messages import BatchDone
from quadriga.workers.worker import SLOTS, Assigned, Loss, Worker

log = logging.getLogger("quadriga.scheduler")

#: Of a full level that holds no dead request, how many entries may be looked at for each refusal: a look at all of them
#: would cost more than all else that a refusal takes, and comes once in as many refusals as there are such parts.
_LOOKED_AT_PER_REFUSAL: Final = 16


class Scheduler:
    """Queue and workers of one model version.

    Attributes:
        counters: What happened so far.
    """

    def __init__(self, name: str, policy: BatchPolicy, spec: ModelSpec, counters: ModelCounters) -> None:
        """Starts without workers: requests wait until `add_worker`."""
        self.counters = counters
        self._name = name
        self._admissions = policy.admissions()
        self._spec = spec
        self._full = max(policy.max_batch_size, 1)
        self._queue: BatchQueue[Request] = make_queue(policy)
        self._answers = Answers(name, spec, counters)
        if policy.preserve_ordering:
            self._answers = OrderedAnswers(name, spec, counters, on_released=self._dispatch_soon)
        self._retries = Retries(name, self._answers)
        self._workers: list[Worker[Batch]] = []
        self._quarantined: set[Worker[Batch]] = set()  # those that run a suspect
        self._refusal: Callable[[], RequestError] | None = None
        self._loop = asyncio.get_running_loop()
        self._dispatching = False
        self._refusals_without_look: Counter[int] = Counter()  # by level
        self._due_timer: asyncio.TimerHandle | None = None
        self._expiry = ExpiryTimer(self.drop_dead)
        self._idle: asyncio.Event | None = None

    @property
    def waiting(self) -> int:
        """Requests that no worker holds."""
        return len(self._queue) + self._retries.requests

    @property
    def queue_limit(self) -> int:
        """Requests that may wait, over all levels."""
        return sum({admission.level: admission.max_queue_size for admission in self._admissions}.values())

    @property
    def in_flight(self) -> int:
        """Batches that workers hold."""
        return sum(worker.in_flight for worker in self._workers)

    # ---- requests in

    def submit(self, request: Request, priority: int = 0) -> None:
        """Admits a request; its caller hears of it later.

        Args:
            request: Its `expires_ns` becomes earlier where the queue's policy says so.
            priority: As the request's parameter has it: 1 is the highest; 0 or a level that is not there: the default.

        Raises:
            RequestError: It is refused: the queue is full, or the model takes nothing now.
        """
        if self._refusal is not None:
            raise self._refusal()
        self._retries.check(request, request.arrived_ns)
        level, limit, reject_after_ns = self._admissions[priority if priority < len(self._admissions) else 0]
        if self._queue.waiting(level) >= limit:
            self._make_room(level, limit)
        if reject_after_ns:
            expires_ns = request.arrived_ns + reject_after_ns
            request.expires_ns = min(request.expires_ns or expires_ns, expires_ns)
        self._queue.push(request, level)
        if request.expires_ns:
            self._expiry.watch(request.expires_ns, request.arrived_ns)
        self._dispatch_soon()

    def refuse(self, refusal: Callable[[], RequestError]) -> None:
        """Turns every new request away from now on, with what `refusal` makes."""
        self._refusal = refusal

    def admit(self) -> None:
        """Takes requests again."""
        self._refusal = None

    def fail_waiting(self, refusal: Callable[[], RequestError]) -> None:
        """Fails every request that no worker holds."""
        self._retries.fail_all(refusal)
        self._answers.fail(self._queue.take_all(), refusal())
        self._check_idle()

    def close(self, refusal: Callable[[], RequestError]) -> None:
        """Ends: fails what is left, once the workers are gone."""
        self.refuse(refusal)
        self._expiry.cancel()
        if self._due_timer is not None:
            self._due_timer.cancel()
        for worker in self._workers:
            for assigned in worker.abandon():
                self._answers.fail_batch(assigned.work, refusal())
        self._workers.clear()
        self.fail_waiting(refusal)

    def drop_dead(self) -> None:
        """Ends the requests that wait for nobody any more: callers have gone, or deadlines have passed."""
        self._expiry.cancel()
        now = time.monotonic_ns()
        self._fail_dead(self._queue.take_dead(now))
        if self._retries:
            self._retries.drop_dead(now)
            self._dispatch_soon()  # a suspect may have kept others from waiting behind those that run
        for expiry in (self._queue.next_expiry(), self._retries.next_expiry()):
            if expiry is not None:
                self._expiry.watch(expiry, now)
        self._check_idle()

    async def drained(self) -> None:
        """Waits until no request waits or runs."""
        self._idle = asyncio.Event()
        self._check_idle()
        await self._idle.wait()

    # ---- workers

    def add_worker(self, worker: Worker[Batch]) -> None:
        """Gives batches to a worker from now on."""
        self._workers.append(worker)
        self._dispatch_soon()

    def remove_worker(self, worker: Worker[Batch], loss: Loss, held: Sequence[Assigned[Batch]]) -> bool:
        """Takes back what a lost worker held: the batch that was running is charged with it, the others are not.

        Returns:
            Whether the loss is put down to what it ran.
        """
        self._quarantined.discard(worker)
        if worker in self._workers:
            self._workers.remove(worker)
        for assigned in held[1:]:
            self._retries.waited(assigned.work)
        blamed = bool(held) and self._retries.lost(held[0].work, loss, time.monotonic_ns())
        self.drop_dead()
        self._dispatch_soon()
        self._check_idle()
        return blamed

    def on_done(self, worker: Worker[Batch], assigned: Assigned[Batch], done: BatchDone) -> None:
        """Answers the requests of a batch from its slot, then frees the slot."""
        batch = assigned.work
        self._retries.answered(batch)
        self._quarantined.discard(worker)
        view = assigned.slot.outputs.view  # kept, since the worker may be lost by what comes next
        self._dispatch()  # first, so that the worker computes while its last batch is answered
        phases = Phases(
            assembly_ns=assigned.sent_ns - batch.popped_ns,
            waiting_ns=done.started_ns - assigned.sent_ns,
            infer_ns=done.computed_ns - done.started_ns,
            output_ns=done.finished_ns - done.computed_ns,
        )
        self._answers.answer_batch(batch, done, view, phases)
        worker.release(assigned.slot)
        self._dispatch()
        self._check_idle()

    def on_failed(self, worker: Worker[Batch], assigned: Assigned[Batch], reason: str) -> None:
        """Runs the requests of a batch that the backend could not run once more, each by itself; fails a single one."""
        self._quarantined.discard(worker)
        text = f"model {self._name!r} failed on a batch of {assigned.work.rows}: {reason}"
        self._retries.raised(assigned.work, InferenceFailed(text), time.monotonic_ns())
        if self._retries:
            self.drop_dead()  # while they ran nobody watched their deadlines
        self._dispatch()
        self._check_idle()

    # ---- dispatch

    def _dispatch_soon(self) -> None:
        if not self._dispatching:
            self._dispatching = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Sends batches off as long as one is due and a slot is free."""
        self._dispatching = False
        now = time.monotonic_ns()
        while (worker := self._free_worker()) is not None:
            batch = self._next_batch(now)
            if batch is None:
                return
            self._send(worker, batch)

    def _free_worker(self) -> Worker[Batch] | None:
        """The worker to take the next batch: an idle one, else one with a free slot; None when none is to take it.

        A batch that waits behind a running one starts the moment that one ends, but no other worker can take it any
        more. So where there are several it is only sent there when each of them could be given a full one.
        """
        best, most = None, 0
        for worker in self._workers:
            free = worker.free_slots
            if free > most and worker not in self._quarantined:
                best, most = worker, free
        if best is None or not best.in_flight:
            return best
        if self._retries.suspect_next:
            return None
        if len(self._workers) == 1:
            return best
        return best if len(self._queue) >= self._full * len(self._workers) else None

    def _next_batch(self, now: int) -> Batch | None:
        if self._retries:
            if (batch := self._retries.next(now)) is not None:
                return batch
            self._check_idle()
        if self._answers.held >= SLOTS * len(self._workers):
            return None
        while (due := self._queue.due(now)) is not None:
            if due > now:
                self._wake_at(due, now)
                return None
            requests, dead = self._queue.pop(now)
            self._answers.fail_dead(dead)
            if requests:  # neither the queue's nor a worker's at this moment, but not done with
                return Batch(requests, now, self._answers.enter())
            self._check_idle()
        self._refusals_without_look.clear()  # those that were looked at are not there any more
        return None

    def _send(self, worker: Worker[Batch], batch: Batch) -> None:
        parts, shapes = batch.gathered(batches=self._spec.batches)
        try:
            worker.run(batch, parts, shapes)
            if batch.losses:
                self._quarantined.add(worker)
        except OSError as error:
            text = f"no shared memory for a batch of {batch.rows} rows of model {self._name!r}: {error}"
            self._answers.fail_batch(batch, InferenceFailed(text))
        except Exception:
            log.exception("model %s: a batch cannot be sent to its worker; this is a bug", self._name)
            text = f"a batch of model {self._name!r} cannot be sent to its worker"
            self._answers.fail_batch(batch, InferenceFailed(text))
        self._check_idle()  # it may have been the last one, and failed

    def _wake_at(self, due: int, now: int) -> None:
        if self._due_timer is not None:
            self._due_timer.cancel()
        self._due_timer = self._loop.call_later((due - now) / SECOND_NS, self._dispatch)

    # ---- requests out, and the end

    def _fail_dead(self, dead: Sequence[Request]) -> None:
        """Fails what was taken out of the queue; what stood around it may make up a batch now."""
        if dead:
            self._answers.fail_dead(dead)
            self._dispatch_soon()
            self._check_idle()

    def _make_room(self, level: int, limit: int) -> None:
        """Looks for dead requests in a full level, and takes them out; but once in so many refusals.

        Raises:
            Overloaded: It is full all the same.
        """
        if self._refusals_without_look[level]:
            self._refusals_without_look[level] -= 1
        elif dead := self._queue.take_dead(time.monotonic_ns(), level):
            self._fail_dead(dead)
        else:
            self._refusals_without_look[level] = self._queue.waiting(level) // _LOOKED_AT_PER_REFUSAL
        waiting = self._queue.waiting(level)
        if waiting >= limit:
            where = f" at priority level {level}" if level else ""
            raise Overloaded(
                f"model {self._name!r} has {waiting} requests waiting{where}, its limit; send fewer at a time, "
                "or raise max_queue_size"
            )

    def _check_idle(self) -> None:
        if self._idle is not None and self.waiting == 0 and self.in_flight == 0:
            self._idle.set()
