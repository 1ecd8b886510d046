"""One template as the server process sees it: its process, and the forks that it was asked for. Server process."""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from quadriga.workers.channel import ChannelClosed
from quadriga.workers.child import ChildProcess, ForkedChild, SpawnedChild
from quadriga.workers.environment import WITHOUT_THREADS, environment_of_workers
from quadriga.workers.interpreters import interpreter_of
from quadriga.workers.messages import (
    Exited,
    Fork,
    Forked,
    ForkFailed,
    FromTemplate,
    Load,
    Prepare,
    Prepared,
    Useless,
)

#: A fork takes some 20 ms; a template that takes this long is given up.
FORK_SECONDS: Final = 5.0
#: How long a worker waits for a template that imports: a spawned one would begin the same import, later and beside it.
PREPARE_SECONDS: Final = 10.0
#: A template that imports for longer hangs: each worker that waited for it would have been ready sooner without.
IMPORT_SECONDS: Final = 120.0

log = logging.getLogger("quadriga.workers.template_child")


class Asked(NamedTuple):
    """A fork that a template was asked for, with our ends of what the worker gets."""

    end: socket.socket
    output: int
    answer: "asyncio.Future[ForkedChild | None]"

    def close(self) -> None:
        """Gives it up."""
        self.end.close()
        os.close(self.output)
        if not self.answer.done():
            self.answer.set_result(None)

    def discard(self) -> None:
        """Ends the worker, if there is one, that nobody waits for any more."""
        if self.answer.done() and not self.answer.cancelled() and (child := self.answer.result()):
            child.discard()


class Template:
    """One template process.

    Attributes:
        prepared: Done when it can fork; cancelled when it never will.
        gone: Whether it has ended, or is taken to have.
        useless: Why no template like it ever can; empty while nobody knows better.
    """

    def __init__(self, load: Load, on_change: Callable[["Template"], None]) -> None:
        """Starts it; `on_change` is called when it is ready, and when it is gone.

        Raises:
            OSError: The machine is short of processes or of file descriptors.
        """
        self.prepared: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gone = False
        self.useless = ""
        self._on_change = on_change
        self._asked: deque[Asked] = deque()
        self._workers: dict[int, ForkedChild] = {}
        environment = {**environment_of_workers(load.confinement.mode != "off"), **WITHOUT_THREADS}
        child = SpawnedChild(interpreter_of(load.backend), "quadriga.workers.template", environment, yields=True)
        self._process: ChildProcess[FromTemplate] = ChildProcess(f"template of {load.backend}", child, FromTemplate)
        self._process.loop.add_reader(child.end, self._receive)
        self._import_limit = self._process.loop.call_later(IMPORT_SECONDS, self._give_up)
        # Only what the environment can depend on: which model it is would only mislead whoever reads a traceback.
        source = msgspec.structs.replace(load.source, path="", inputs=(), outputs=(), batches=None)
        try:
            self._process.channel.send(Prepare(load.backend, source))
        except ChannelClosed:
            self._process.loop.call_soon(self._lose)

    async def fork(self) -> ForkedChild | None:
        """A worker; None where it cannot be had.

        Raises:
            OSError: The server process is short of file descriptors.
        """
        await asyncio.wait((self.prepared,), timeout=PREPARE_SECONDS)
        if self.gone or not self.prepared.done():
            return None
        asked = self._ask()
        try:
            async with asyncio.timeout(FORK_SECONDS):
                return await asked.answer
        except TimeoutError:
            asked.discard()
            self._lose()
            return None
        except asyncio.CancelledError:
            asked.discard()
            raise

    async def close(self) -> None:
        """Ends it, and with it the workers that it forked: there are to be none any more."""
        self._disconnect()
        await self._process.ended(kill=True)

    def _ask(self) -> Asked:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                reading, writing = os.pipe()
            except OSError:
                ours.close()
                raise
            asked = Asked(ours, reading, self._process.loop.create_future())
            self._asked.append(asked)
            try:
                self._process.channel.send(Fork(), [theirs.fileno(), writing])
            except ChannelClosed:
                self._lose()
            finally:
                os.close(writing)
        return asked

    def _receive(self) -> None:
        try:
            messages, descriptors = self._process.channel.receive_with_descriptors(1)
        except ChannelClosed:
            self._lose()
            return
        for message in messages:
            if isinstance(message, Prepared):
                self._import_limit.cancel()
                self.prepared.set_result(None)
                log.info("%s is ready: pid %d", self._process.name, self._process.pid)
                self._on_change(self)
            elif isinstance(message, Useless):
                self.useless = message.reason
                log.info("workers of %s cannot be forked: %s", self._process.name, message.reason)
            elif isinstance(message, Exited):
                self._workers.pop(message.pid).status.set_result(message.status)
            else:
                self._answer(message, descriptors)

    def _answer(self, message: Forked | ForkFailed, descriptors: Sequence[int]) -> None:
        asked = self._asked.popleft()
        if isinstance(message, ForkFailed):
            log.warning("%s cannot fork a worker, which is spawned: %s", self._process.name, message.reason)
            asked.close()
            return
        child = ForkedChild(message.pid, descriptors[0], asked.end, os.fdopen(asked.output, "rb", 0))
        self._workers[message.pid] = child
        if asked.answer.done():  # whoever asked was cancelled
            child.discard()
        else:
            asked.answer.set_result(child)

    def _give_up(self) -> None:
        self.useless = f"it imported its framework for more than {IMPORT_SECONDS:g} s"
        log.warning("%s is killed: %s; its workers are spawned", self._process.name, self.useless)
        self._lose()

    def _lose(self) -> None:
        """It is gone, or as good as gone; its workers die with it, which their owners notice by themselves."""
        if self.gone:
            return
        self._disconnect()

        async def report() -> None:
            how = await self._process.ended(kill=True)
            if not self.useless:
                log.warning("%s died: %s%s", self._process.name, how, self._process.last_words())
            self._on_change(self)

        self._reporting = asyncio.create_task(report())

    def _disconnect(self) -> None:
        if self.gone:
            return
        self.gone = True
        self.prepared.cancel()
        self._import_limit.cancel()
        self._process.loop.remove_reader(self._process.channel.socket)
        self._process.channel.close()
        while self._asked:
            self._asked.popleft().close()
        for child in self._workers.values():
            child.status.set_result(None)
        self._workers.clear()
