"""A child process as the server sees it: how it is started, what it prints, how it ended. Server process.

A worker is spawned, or forked by a template: then it is the template's child, and looks the same from here.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Final, Generic, Protocol, TypeVar

from quadriga.errors import one_line
from quadriga.workers.channel import Channel
from quadriga.workers.environment import environment_of_workers
from quadriga.workers.interpreters import interpreter_of
from quadriga.workers.messages import RELAY_MARK, FromWorker, Load
from quadriga.workers.priority import yield_at_once

LAST_OUTPUT_SECONDS: Final = 1.0
#: The longest line of output that is kept, in bytes; what goes beyond is dropped, up to the line's end.
LONGEST_LINE: Final = 4_096
_LOG_TAIL_LINES: Final = 20
_READ_BYTES: Final = 65_536
#: How long a forked worker's status may come behind its end; it is lost with its template.
_STATUS_SECONDS: Final = 2.0

log = logging.getLogger("quadriga.workers.child")
Incoming = TypeVar("Incoming")


class LineSplitter:
    """Cuts what a process prints into lines of a bounded length; pure."""

    def __init__(self) -> None:
        self._line = b""

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that a chunk completes, without blank ones."""
        *complete, rest = chunk.split(b"\n")
        lines = []
        for end in complete:
            lines.append((self._line + end)[:LONGEST_LINE])
            self._line = b""
        self._line = (self._line + rest)[:LONGEST_LINE]
        return [text for line in lines if (text := line.decode(errors="replace").rstrip())]


class Child(Protocol):
    """A process that was started, in either way.

    Attributes:
        pid: The operating system's process id.
        end: Our end of its socket.
        output: What it and its framework print.
    """

    pid: int
    end: socket.socket
    output: IO[bytes]

    def kill(self) -> None:
        """Sends SIGKILL, unless it is gone."""

    async def wait(self) -> int | None:
        """Waits for its end: its exit status, or a signal's number negated; None where nobody can tell."""

    def death_watch(self) -> int | None:
        """A descriptor of the caller's that is readable once it has ended; None where the system has none such."""


class SpawnedChild:
    """A `Child` that runs a module from its start."""

    def __init__(self, python: str, module: str, env: Mapping[str, str] | None = None, *, yields: bool = False) -> None:
        """Starts `python -m MODULE DESCRIPTOR PARENT_PID`; `python` is the interpreter's path.

        Where it `yields`, others run first until it leaves `priority.yielding`.

        Raises:
            OSError: The machine is short of processes or of file descriptors.
        """
        self.end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        descriptor = theirs.fileno()
        command = [python, "-P", "-m", module, str(descriptor), str(os.getpid())]
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=[descriptor],
                    env=env,
                )
            except OSError:
                self.end.close()
                raise
        if self._process.stdout is None:
            raise RuntimeError("the process was started without a pipe")
        self.output: IO[bytes] = self._process.stdout
        self.pid = self._process.pid
        if yields:
            yield_at_once(self.pid)

    def kill(self) -> None:
        """See `Child.kill`."""
        self._process.kill()

    async def wait(self) -> int | None:
        """See `Child.wait`."""
        return await asyncio.to_thread(self._process.wait)

    def death_watch(self) -> int | None:
        """See `Child.death_watch`."""
        return os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None


class ForkedChild:
    """A `Child` that a template forked, and reaps.

    Attributes:
        status: Set by whoever listens to the template.
    """

    def __init__(self, pid: int, pidfd: int, end: socket.socket, output: IO[bytes]) -> None:
        """Takes the descriptors over."""
        self.pid = pid
        self.end = end
        self.output = output
        self.status: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._pidfd: int | None = pidfd

    def kill(self) -> None:
        """See `Child.kill`."""
        if self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def wait(self) -> int | None:
        """See `Child.wait`; to be called once."""
        loop = asyncio.get_running_loop()
        if self._pidfd is not None:
            gone = asyncio.Event()
            loop.add_reader(self._pidfd, gone.set)
            try:
                await gone.wait()
            finally:
                loop.remove_reader(self._pidfd)
                os.close(self._pidfd)
                self._pidfd = None
        await asyncio.wait((self.status,), timeout=_STATUS_SECONDS)
        return self.status.result() if self.status.done() else None

    def death_watch(self) -> int | None:
        """See `Child.death_watch`."""
        return None if self._pidfd is None else os.dup(self._pidfd)

    def discard(self) -> None:
        """Kills a child that nobody wants any more; its template reaps it."""
        self.kill()
        self.end.close()
        self.output.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


class ChildProcess(Generic[Incoming]):
    """A child process with its channel and the pipe that carries what it prints."""

    def __init__(self, name: str, child: Child, incoming: object) -> None:
        """Takes the child over. `name` stands before each of its log lines; `incoming` is what its channel brings."""
        self.name = name
        self.loop = asyncio.get_running_loop()
        child.end.setblocking(False)
        self.channel: Channel[Incoming] = Channel(child.end, incoming)
        self.log_tail: deque[str] = deque(maxlen=_LOG_TAIL_LINES)
        self.output = asyncio.create_task(self._relay_output(), name=f"output of {name}")
        self._child = child
        self._reaped: asyncio.Task[str] | None = None

    @property
    def pid(self) -> int:
        """The operating system's process id."""
        return self._child.pid

    def death_watch(self) -> int | None:
        """See `Child.death_watch`."""
        return self._child.death_watch()

    async def ended(self, *, kill: bool) -> str:
        """Waits until the process is gone, and says how it ended."""
        if kill:
            self._child.kill()
        if self._reaped is None:
            self._reaped = asyncio.create_task(self._reap())
        return await asyncio.shield(self._reaped)

    async def _reap(self) -> str:
        status = await self._child.wait()
        # A child that the framework left behind may hold the pipe open: what it says is not waited for.
        await asyncio.wait((self.output,), timeout=LAST_OUTPUT_SECONDS)
        self.output.cancel()
        if status is None:
            return "ended with its template"
        return f"exited with status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"

    async def _relay_output(self) -> None:
        """Logs what the worker and its framework print, line by line, and keeps the last lines for the post-mortem."""
        reader = asyncio.StreamReader()
        transport, _ = await self.loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._child.output
        )
        try:
            splitter = LineSplitter()
            while chunk := await reader.read(_READ_BYTES):
                for line in splitter.feed(chunk):
                    self._relay(line)
            for line in splitter.feed(b"\n"):
                self._relay(line)
        finally:
            transport.close()

    def _relay(self, line: str) -> None:
        """A worker's own record keeps its level; what a framework prints is for those who look for it."""
        level = logging.DEBUG
        if line.startswith(RELAY_MARK):
            level_name, _, line = line.removeprefix(RELAY_MARK).partition(" ")
            level = logging.getLevelNamesMapping().get(level_name, logging.INFO)
        self.log_tail.append(line)
        log.log(level, "%s: %s", self.name, line)

    def last_words(self) -> str:
        """The end of a sentence on how the process ended: the last line that it printed, if any."""
        return f"; its last words: {one_line(self.log_tail[-1])}" if self.log_tail else ""


WorkerProcess = ChildProcess[FromWorker]


def spawn_worker(load: Load) -> Child:
    """Starts a worker that imports its framework itself, in the environment that the backend has.

    Raises:
        OSError: The machine is short of processes or of file descriptors.
    """
    confined = load.confinement.mode != "off"
    environment = environment_of_workers(confined)
    # One that gives up its capabilities first might not come back from yielding.
    yields = load.yields and not confined
    return SpawnedChild(interpreter_of(load.backend), "quadriga.workers.process", environment, yields=yields)
