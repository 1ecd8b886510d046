"""One worker as the server process sees it: its process, its socket, its slab and the batches it holds. Server process.

A worker that is starting is an `UnreadyWorker`; only `wait_until_ready` makes a `Worker` of it, so that no batch can be
sent before the model is loaded. Death is noticed by file descriptors, never by polling: the socket ends, or the kernel
reports the process. All methods run on the event loop's thread.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from quadriga.specs import ModelSpec, row_bytes
from quadriga.workers.channel import ChannelClosed
from quadriga.workers.child import ForkedChild, WorkerProcess, spawn_worker
from quadriga.workers.messages import BatchDone, BatchFailed, FromWorker, Load, Loaded, LoadFailed, RunBatch
from quadriga.workers.slab import Slab, Slot, SlotState

#: Batches that a worker holds at most: one runs, one waits ready behind it.
SLOTS: Final = 2
STOP_SECONDS: Final = 5.0

log = logging.getLogger("quadriga.workers.worker")
Work = TypeVar("Work")


class BootFailure(Exception):
    """A worker could not load its model; the message is the worker's own reason."""


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
        lost: The worker died unasked. How it ended, and the batches it held, the one that was running first.
    """

    done: Callable[["Worker[Work]", Assigned[Work], BatchDone], None]
    failed: Callable[["Worker[Work]", Assigned[Work], str], None]
    lost: Callable[["Worker[Work]", str, list[Assigned[Work]]], None]


class UnreadyWorker(Generic[Work]):
    """A worker that is loading its model."""

    def __init__(self, name: str, load: Load, forked: ForkedChild | None = None) -> None:
        """Tells the process what to load; spawns it unless one was forked.

        Raises:
            OSError: The machine is short of processes, memory or file descriptors; nothing is left behind.
        """
        try:
            self._slab = Slab(load.slots)
        except OSError:
            if forked is not None:
                forked.discard()
            raise
        try:
            child = forked or spawn_worker(load)
        except OSError:
            self._slab.close()
            raise
        self.process = WorkerProcess(name, child, FromWorker)
        self._max_rows = max(load.max_batch_size, 1)
        self._answer: asyncio.Future[Loaded] = self.process.loop.create_future()
        self.process.loop.add_reader(self.process.channel.socket, self._receive)
        try:
            self.process.channel.send(load, self._slab.descriptors)
        except ChannelClosed:
            self._fail_soon("it died before it was told what to load")
        except UnicodeEncodeError:
            self._answer.set_exception(BootFailure(f"the path {load.source.path!a} is not UTF-8; rename it"))

    async def wait_until_ready(self, events: Events[Work]) -> tuple["Worker[Work]", Loaded]:
        """The worker once it has loaded and warmed up its model.

        Raises:
            BootFailure: It cannot load the model, or died while it tried.
            OSError: There is no memory for the largest batch.
        """
        try:
            loaded = await self._answer
            self._slab.reserve(row_bytes(loaded.spec.inputs) * self._max_rows)
        except BaseException:
            await self.stop()
            raise
        self.process.loop.remove_reader(self.process.channel.socket)
        return Worker(self.process, self._slab, loaded.spec, events), loaded

    async def stop(self) -> None:
        """Kills the process, whatever it is doing, and frees what it held."""
        self.process.loop.remove_reader(self.process.channel.socket)
        self.process.channel.close()
        self._slab.close()
        await self.process.ended(kill=True)

    def _receive(self) -> None:
        try:
            messages = self.process.channel.receive()
        except ChannelClosed:
            self.process.loop.remove_reader(self.process.channel.socket)
            self._fail_soon("it died while it loaded the model")
            return
        for message in messages:
            if self._answer.done():
                continue
            if isinstance(message, Loaded):
                self._answer.set_result(message)
            elif isinstance(message, LoadFailed):
                self._answer.set_exception(BootFailure(message.reason))

    def _fail_soon(self, what: str) -> None:
        """Fails the boot with how the process ended, which is known a moment after its socket ended."""

        async def fail() -> None:
            how = await self.process.ended(kill=True)
            if not self._answer.done():
                self._answer.set_exception(BootFailure(f"{what}: {how}{self.process.last_words()}"))

        self._failing = asyncio.create_task(fail())


class Worker(Generic[Work]):
    """A worker that can run batches.

    Attributes:
        spec: The contract of its model.
    """

    def __init__(self, process: WorkerProcess, slab: Slab, spec: ModelSpec, events: Events[Work]) -> None:
        """Takes over process and slab; use `UnreadyWorker.wait_until_ready`."""
        self.spec = spec
        self._process = process
        self._slab = slab
        self._events = events
        self._assigned: deque[Assigned[Work]] = deque()
        self._gone = False
        self._loop = process.loop
        self._loop.add_reader(process.channel.socket, self._receive)
        # The socket ends with the process, unless a child of the worker's own holds it open.
        self._death_watch = process.death_watch()
        if self._death_watch is not None:
            self._loop.add_reader(self._death_watch, self._lose)

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
        self._assigned.append(Assigned(slot, work, time.monotonic_ns()))
        try:
            self._process.channel.send(RunBatch(slot.index, slot.inputs.size, regions))
        except ChannelClosed:
            self._lose()

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
            self._disconnect()
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
            self._lose()
            return
        for message in messages:
            if self._gone:  # an owner's reaction to the message before may have found it dead
                return
            if not isinstance(message, (BatchDone, BatchFailed)) or not self._is_next(message.slot):
                log.error("%s sent %s out of turn and is replaced", self.name, message)
                self._lose()
                return
            self._finish(self._assigned.popleft(), message)

    def _finish(self, assigned: Assigned[Work], message: BatchDone | BatchFailed) -> None:
        reason = message.reason if isinstance(message, BatchFailed) else ""
        if isinstance(message, BatchDone):
            try:
                assigned.slot.outputs.follow(message.segment_size)
            except OSError as error:
                reason = f"no memory to read the outputs of {message.segment_size} bytes: {error}"
            else:
                assigned.slot.state = SlotState.DRAINING
                self._events.done(self, assigned, message)
                return
        self._slab.release(assigned.slot)
        self._events.failed(self, assigned, reason)

    def _is_next(self, slot: int) -> bool:
        """Whether an answer is for the oldest batch: a worker takes batches in order."""
        return bool(self._assigned) and self._assigned[0].slot.index == slot

    def _lose(self) -> None:
        """The process is gone, or as good as gone: makes sure of it and hands back what it held."""
        if self._gone:
            return
        self._disconnect()

        async def report() -> None:
            how = "died"
            try:
                how = await self._process.ended(kill=True)
            finally:
                # Whatever went wrong above: the batches that it held have callers who wait. Until now they were in hand
                # here, and a drain has waited for them.
                log.warning("%s died: %s%s", self.name, how, self._process.last_words())
                self._events.lost(self, how, self.abandon())

        self._reporting = asyncio.create_task(report())

    def _disconnect(self) -> None:
        self._gone = True
        self._loop.remove_reader(self._process.channel.socket)
        self._process.channel.close()
        if self._death_watch is not None:
            self._loop.remove_reader(self._death_watch)
            os.close(self._death_watch)
            self._death_watch = None
        self._slab.close()
