"""A real `Worker` with a real slab, whose process a test plays: it computes, raises and dies when the test says so.

Between the two lies no socket but lists. The "model" inverts every bit, so that what comes back has been through both
the inputs and the outputs of a slot.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from quadriga.requests import Batch
from quadriga.specs import ModelSpec
from quadriga.workers.channel import ChannelClosed
from quadriga.workers.messages import BatchDone, BatchFailed, RunBatch
from quadriga.workers.slab import AttachedSlab, Slab
from quadriga.workers.worker import SLOTS, Events, LossReason, Worker

Message = BatchDone | BatchFailed


class _Readers:
    """The loop as a worker's owner sees it, but for what can be read: that the test says."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.callbacks: dict[Any, Callable[[], None]] = {}

    def add_reader(self, source: Any, callback: Callable[..., None], *values: Any) -> None:
        self.callbacks[source] = partial(callback, *values)

    def remove_reader(self, source: Any) -> None:
        self.callbacks.pop(source, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class SimulatedProcess:
    """Stands for a worker's process and its channel.

    Attributes:
        name: As logs show it.
        pid: Of no process.
        loop: With readers of its own.
        channel: This object too.
        socket: What stands for it.
        alive: Whether it has not died.
        stuck: Whether it hangs.
        closed: Whether the owner's end of the channel is.
        babbled: Whether it has answered what was not asked.
        reaped: Told of its end.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, descriptors: Sequence[int], spec: ModelSpec) -> None:
        self.name = name
        self.pid = 0
        self.loop = _Readers(loop)
        self.channel = self
        self.socket = "socket"
        self.alive = True
        self.stuck = False
        self.closed = False
        self.babbled = False
        self.reaped: asyncio.Future[str] = loop.create_future()
        self._slab = AttachedSlab([os.dup(descriptor) for descriptor in descriptors])
        self._spec = spec
        self._work: deque[RunBatch] = deque()
        self._sent: list[Message] = []
        self._watch: int | None = None

    # ---- what the worker's owner calls

    def send(self, message: RunBatch) -> None:
        if not self.alive:
            raise ChannelClosed("it died")
        self._work.append(message)

    def receive(self) -> list[Message]:
        if not self._sent and not self.alive:
            raise ChannelClosed("it died")
        messages, self._sent = self._sent, []
        return messages

    def close(self) -> None:
        """The owner's end of the channel: the process reads that, and ends."""
        self.alive = False
        self.closed = True

    def death_watch(self) -> int:
        self._watch = os.dup(0)
        return self._watch

    async def ended(self, *, kill: bool) -> str:
        if kill:
            self.die()
        return await asyncio.shield(self.reaped)

    def last_words(self) -> str:
        return ""

    # ---- what the test has it do

    @property
    def busy(self) -> bool:
        """Whether it is alive and computes a batch."""
        return self.alive and not self.stuck and bool(self._work)

    @property
    def left(self) -> int:
        """How many batches it has not answered."""
        return len(self._work)

    def compute(self, misshapen: bool = False) -> None:
        """Runs the oldest batch; with a row too many where that is asked for."""
        run = self._work.popleft()
        arrays = [
            ~array
            for array in self._slab.inputs(run.slot, run.segment_size, run.inputs, self._spec.inputs)
            if array is not None
        ]
        if misshapen:
            arrays = [np.concatenate([array, array]) for array in arrays]
        size, regions = self._slab.put_outputs(run.slot, arrays)
        now = time.monotonic_ns()
        self._say(BatchDone(run.slot, size, regions, now, now, now))

    def fail(self, reason: str) -> None:
        """Raises from the oldest batch."""
        self._say(BatchFailed(self._work.popleft().slot, reason))

    def babble(self) -> None:
        """Answers what was not asked; whatever it says from now on is not believed."""
        self.babbled = True
        self._say(BatchFailed(SLOTS, "out of turn"))

    def die(self) -> None:
        """Ends; nobody is told yet."""
        self.alive = False

    def end_of_stream(self) -> None:
        """Has the owner's end of the channel become readable."""
        self.loop.call_soon(self._readable)

    def exit_status(self) -> None:
        """Has the kernel report the death, which may come before what was sent is read."""
        callback = self.loop.callbacks.get(self._watch)
        if callback is not None:
            self.loop.call_soon(callback)

    def reap(self) -> None:
        """Lets those that wait for its end know."""
        if not self.reaped.done():
            self.reaped.set_result("killed by the test")

    def discard(self) -> None:
        """Gives its side of the slab up."""
        for segment in self._slab._inputs + self._slab._outputs:
            segment.close()

    def _say(self, message: Message) -> None:
        self._sent.append(message)
        self.loop.call_soon(self._readable)

    def _readable(self) -> None:
        callback = self.loop.callbacks.get(self.socket)
        if callback is not None:
            callback()
            if self._sent or not self.alive:
                self.loop.call_soon(self._readable)


class SimulatedWorker(Worker[Batch]):
    """A worker whose process is simulated, and that tells what it is given.

    Attributes:
        process: What the test plays.
        slab: Its shared memory.
        since_ns: When it took up the batch that is its oldest.
        lost_ns: When its owner knew that it is lost; 0 before.
    """

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        spec: ModelSpec,
        events: Events[Batch],
        on_run: Callable[["SimulatedWorker", Batch], None],
        on_no_memory: Callable[[Batch], None],
        batch_seconds: float,
    ) -> None:
        self.slab = Slab(SLOTS)
        self.process = SimulatedProcess(name, loop, self.slab.descriptors, spec)
        self.since_ns = time.monotonic_ns()
        self.lost_ns = 0
        self._on_run = on_run
        self._on_no_memory = on_no_memory
        self._short_of_memory = False
        super().__init__(cast("Any", self.process), self.slab, spec, events, batch_seconds)

    @property
    def gone(self) -> bool:
        """Whether its owner knows that it is."""
        return self._gone

    @property
    def held(self) -> list[Batch]:
        """The batches that it holds, the oldest first."""
        return [assigned.work for assigned in self._assigned]

    def run_out_of_memory(self) -> None:
        """Lets the next batch find no memory."""
        self._short_of_memory = True

    def run(self, work: Batch, parts: Any, shapes: Any) -> None:
        """See `Worker.run`."""
        self._on_run(self, work)
        if self._short_of_memory:
            self._short_of_memory = False
            self._on_no_memory(work)
            parts = [[_NoMemory()] for _ in parts]
        super().run(work, parts, shapes)

    def _lose(self, reason: LossReason) -> None:
        if not self._gone:
            self.lost_ns = time.monotonic_ns()
        super()._lose(reason)

    def discard(self) -> None:
        """Gives everything up; nobody hears of it."""
        if not self._gone:
            self._stop_listening()
        if not self.process.closed:
            self._hang_up()
        self.process.discard()


class _NoMemory:
    """Data that no segment can grow for."""

    def __len__(self) -> int:
        raise OSError(12, "no memory")
