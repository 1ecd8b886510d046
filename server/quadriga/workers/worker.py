"""One worker as the server process sees it: its process, its socket, its slab and the batches it holds. Server process.

One that is starting is an `UnreadyWorker` (`boot`), so that no batch can be sent before the model is loaded. Death is
noticed by file descriptors, never by polling: the socket ends, or the kernel reports the process. A worker that hangs,
in whatever way, is one whose oldest batch takes longer than its limit. All methods run on the event loop's thread.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from quadriga.errors import one_line
from quadriga.specs import ModelSpec
from quadriga.workers.channel import ChannelClosed
from quadriga.workers.child import WorkerProcess
from quadriga.workers.messages import BatchDone, BatchFailed, FromWorker, RunBatch
from quadriga.workers.slab import Slab, Slot, SlotState
from quadriga.workers.watchdog import Watchdog

#: Batches that a worker holds at most: one runs, one waits ready behind it.
SLOTS: Final = 2
STOP_SECONDS: Final = 5.0

log = logging.getLogger("quadriga.workers.worker")
Work = TypeVar("Work")


class TimeLimits(NamedTuple):
    """How long a worker may take; 0: as long as it wants.

    Attributes:
        load_seconds: To load and warm up its model.
        batch_seconds: For a batch, from the moment it is the oldest one that the worker holds.
    """

    load_seconds: float
    batch_seconds: float


NO_LIMITS: Final = TimeLimits(0.0, 0.0)

#: It ended by itself or by somebody's signal; it was killed since a batch took too long, or since it talked nonsense.
LossReason = Literal["died", "hung", "broken"]


class Loss(NamedTuple):
    """How a worker was lost; `how` continues a sentence that begins with it."""

    reason: LossReason
    how: str


class Assigned(NamedTuple, Generic[Work]):
    """A batch that a worker holds."""

    slot: Slot
    work: Work
    sent_ns: int


class Events(NamedTuple, Generic[Work]):
    """What a worker reports to its owners.

    Attributes:
        done: A batch is done. The outputs lie in the slot, which the callee releases through `Worker.release`.
        failed: The backend raised; the reason. The slot is FREE again.
        lost: The worker was lost unasked. How, and the batches it held, the one that was running first.
    """

    done: Callable[["Worker[Work]", Assigned[Work], BatchDone], None]
    failed: Callable[["Worker[Work]", Assigned[Work], str], None]
    lost: Callable[["Worker[Work]", Loss, list[Assigned[Work]]], None]


class Worker(Generic[Work]):
    """A worker that can run batches.

    Attributes:
        spec: The contract of its model.
    """

    def __init__(
        self, process: WorkerProcess, slab: Slab, spec: ModelSpec, events: Events[Work], batch_seconds: float = 0.0
    ) -> None:
        """Takes over process and slab; use `UnreadyWorker.wait_until_ready`. `batch_seconds`: see `TimeLimits`."""
        self.spec = spec
        self._process = process
        self._slab = slab
        self._events = events
        self._assigned: deque[Assigned[Work]] = deque()
        self._gone = False
        self._watchdog = Watchdog(batch_seconds, lambda: self._lose("hung"))
        self._loop = process.loop
        self._loop.add_reader(process.channel.socket, self._receive)
        # The socket ends with the process, unless a child of the worker's own holds it open.
        self._death_watch = process.death_watch()
        if self._death_watch is not None:
            self._loop.add_reader(self._death_watch, self._lose, "died")

    @property
    def name(self) -> str:
        """Model, version and instance, as logs show it."""
        return self._process.name

    @property
    def pid(self) -> int:
        """The operating system's process id."""
        return self._process.pid

    @property
    def free_slots(self) -> int:
        """How many batches it can take now."""
        return 0 if self._gone else self._slab.free

    @property
    def in_flight(self) -> int:
        """How many batches it holds."""
        return len(self._assigned)

    def run(
        self,
        work: Work,
        parts: Sequence[Sequence["bytes | memoryview[int] | None"]],
        shapes: Sequence[tuple[int, ...] | None],
    ) -> None:
        """Gathers a batch into a free slot and sends it off; `Events` tells how it ends.

        Args:
            work: Handed back with the event.
            parts: Per input, the raw encodings of the requests' rows.
            shapes: Per input, the whole shape of the batch; None: the requests leave it out.

        Raises:
            OSError: There is no memory for a segment to grow; the batch is not taken.
        """
        slot = self._slab.lease()
        try:
            regions = slot.gather(parts, shapes)
        except BaseException:
            self._slab.release(slot)
            raise
        slot.state = SlotState.RUNNING
        now = time.monotonic_ns()
        self._assigned.append(Assigned(slot, work, now))
        if len(self._assigned) == 1:
            self._watchdog.begin(now)
        try:
            self._process.channel.send(RunBatch(slot.index, slot.inputs.size, regions))
        except ChannelClosed:
            self._lose("died")

    def release(self, slot: Slot) -> None:
        """Frees the slot of a batch that was done, once its outputs are copied."""
        if not self._gone:
            self._slab.release(slot)

    def abandon(self) -> list[Assigned[Work]]:
        """Takes away the batches that a stopped worker still held; no event tells of them."""
        held = list(self._assigned)
        self._assigned.clear()
        return held

    async def stop(self) -> None:
        """Ends the process: asks by closing the socket, waits `STOP_SECONDS`, kills.

        A worker that still holds batches is killed at once; they get no answer, `abandon` hands them out.
        """
        if not self._gone:
            self._stop_listening()
            self._hang_up()
        if not self._assigned:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.ended(kill=False)
            except TimeoutError:
                log.warning("%s did not end within %.0f s and is killed", self.name, STOP_SECONDS)
        await self._process.ended(kill=True)

    def _receive(self) -> None:
        try:
            messages = self._process.channel.receive()
        except ChannelClosed:
            self._lose("died")
            return
        self._take(messages)

    def _take(self, messages: Sequence[FromWorker]) -> None:
        """Also while it is being lost: what it said before its end counts."""
        for message in messages:
            if not isinstance(message, (BatchDone, BatchFailed)) or not self._can_be_true(message):
                log.error("%s sent %s, which cannot be, and is replaced", self.name, one_line(str(message)))
                self._lose("broken")
                return
            assigned = self._assigned.popleft()
            if self._assigned:
                self._watchdog.begin(time.monotonic_ns())
            else:
                self._watchdog.rest()
            self._finish(assigned, message)

    def _finish(self, assigned: Assigned[Work], message: BatchDone | BatchFailed) -> None:
        reason = message.reason if isinstance(message, BatchFailed) else ""
        if isinstance(message, BatchDone):
            try:
                assigned.slot.outputs.follow(message.segment_size)
            except OSError as error:
                reason = f"no memory to read the outputs of {message.segment_size} bytes: {error}"
            else:
                if message.segment_size <= assigned.slot.outputs.size:
                    assigned.slot.state = SlotState.DRAINING
                    self._events.done(self, assigned, message)
                    return
                reason = f"the worker told of {message.segment_size} bytes of outputs, and shares fewer"
        self._slab.release(assigned.slot)
        self._events.failed(self, assigned, reason)

    def _can_be_true(self, message: BatchDone | BatchFailed) -> bool:
        """Whether an answer is for the oldest batch, since a worker takes batches in order, and contradicts nothing."""
        if not self._assigned or self._assigned[0].slot.index != message.slot:
            return False
        if isinstance(message, BatchFailed):
            return True
        times = (self._assigned[0].sent_ns, message.started_ns, message.computed_ns, message.finished_ns)
        return times[0] <= times[1] <= times[2] <= times[3] <= time.monotonic_ns() and all(
            [
                region.offset >= 0 and 0 <= region.size <= message.segment_size - region.offset
                for region in message.outputs
            ]
        )

    def _lose(self, reason: LossReason) -> None:
        """The process is gone, or as good as gone: makes sure of it and hands back what it held."""
        if self._gone:
            return
        self._stop_listening()

        async def report() -> None:
            how = "died"
            try:
                if reason != "broken":
                    self._hear_out()
                self._hang_up()
                how = await self._process.ended(kill=True)
            finally:
                # Whatever went wrong above: the batches that it held have callers who wait. Until now they were in hand
                # here, and a drain has waited for them.
                if reason == "hung":
                    limit = f"{self._watchdog.seconds:g} s"
                    hint = "raise parameters.batch_timeout_seconds if batches need longer"
                    how = f"ran a batch for more than {limit} and was killed; {hint}"
                log.warning("%s %s: %s%s", self.name, reason, how, self._process.last_words())
                self._events.lost(self, Loss(reason, how), self.abandon())

        self._reporting = asyncio.create_task(report())

    def _hear_out(self) -> None:
        """Takes the answers that lie unread: its end may be noticed first, and tells which batch it was running."""
        with suppress(ChannelClosed):
            while messages := self._process.channel.receive():
                self._take(messages)

    def _stop_listening(self) -> None:
        self._gone = True
        self._watchdog.close()
        self._loop.remove_reader(self._process.channel.socket)
        if self._death_watch is not None:
            self._loop.remove_reader(self._death_watch)
            os.close(self._death_watch)
            self._death_watch = None

    def _hang_up(self) -> None:
        self._process.channel.close()
        self._slab.close()
