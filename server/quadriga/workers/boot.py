"""A worker that starts: its process is there and loads its model; no batch can be sent to it yet. Server process.

Only `UnreadyWorker.wait_until_ready` makes a `Worker` of it. All methods run on the event loop's thread.
"""

import asyncio
from typing import Final, Generic

from quadriga.errors import one_line
from quadriga.specs import ModelSpec, check_contract, row_bytes
from quadriga.workers.channel import ChannelClosed
from quadriga.workers.child import ForkedChild, WorkerProcess, spawn_worker
from quadriga.workers.messages import FromWorker, Load, Loaded, LoadFailed
from quadriga.workers.slab import Slab
from quadriga.workers.worker import Events, TimeLimits, Work, Worker

#: Of the reason why a model cannot be loaded, which may have an example of what is missing.
_MOST_LINES: Final = 20


class BootFailure(Exception):
    """A worker could not load its model; the message is the worker's own reason."""


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
        except ChannelClosed as error:
            if isinstance(error.__cause__, BlockingIOError):
                text = "the model's settings are more than a worker can be told at once; shorten its parameters"
                self._answer.set_exception(BootFailure(text))
            else:
                self._fail_soon("it died before it was told what to load")
        except UnicodeEncodeError:
            self._answer.set_exception(BootFailure(f"the path {load.source.path!a} is not UTF-8; rename it"))

    async def wait_until_ready(self, events: Events[Work], limits: TimeLimits) -> tuple[Worker[Work], Loaded]:
        """The worker once it has loaded and warmed up its model.

        Raises:
            BootFailure: It cannot load the model, takes longer than it may, or died while it tried.
            OSError: There is no memory for the largest batch.
        """
        try:
            loaded = await self._loaded_within(limits.load_seconds)
            _expect_contract(loaded.spec)
            self._slab.reserve(row_bytes(loaded.spec.inputs) * self._max_rows)
        except BaseException:
            await self.stop()
            raise
        self.process.loop.remove_reader(self.process.channel.socket)
        return Worker(self.process, self._slab, loaded.spec, events, limits.batch_seconds), loaded

    async def stop(self) -> None:
        """Kills the process, whatever it is doing, and frees what it held."""
        self.process.loop.remove_reader(self.process.channel.socket)
        self.process.channel.close()
        self._slab.close()
        await self.process.ended(kill=True)

    async def _loaded_within(self, seconds: float) -> Loaded:
        try:
            async with asyncio.timeout(seconds or None):
                return await self._answer
        except TimeoutError:
            text = f"it did not load and warm up the model within {seconds:g} s and was killed"
            hint = "raise parameters.load_timeout_seconds if it needs longer"
            raise BootFailure(f"{text}{self.process.last_words()}; {hint}") from None

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
                lines = message.reason.splitlines()[:_MOST_LINES]
                self._answer.set_exception(BootFailure("\n".join(map(one_line, lines))))

    def _fail_soon(self, what: str) -> None:
        """Fails the boot with how the process ended, which is known a moment after its socket ended."""

        async def fail() -> None:
            how = await self.process.ended(kill=True)
            if not self._answer.done():
                self._answer.set_exception(BootFailure(f"{what}: {how}{self.process.last_words()}"))

        self._failing = asyncio.create_task(fail())


def _expect_contract(spec: ModelSpec) -> None:
    try:
        check_contract(spec)
    except ValueError as error:
        raise BootFailure(one_line(f"the model's contract cannot be served: {error}")) from None
