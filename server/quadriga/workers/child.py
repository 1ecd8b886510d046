"""A worker's process as its parent sees it: how it is started, what it prints, how it ended. Server process."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from typing import Final

from quadriga.workers.channel import Channel
from quadriga.workers.messages import RELAY_MARK, FromWorker

LAST_OUTPUT_SECONDS: Final = 1.0
#: The longest line of output that is kept, in bytes; what goes beyond is dropped, up to the line's end.
LONGEST_LINE: Final = 4_096
_LOG_TAIL_LINES: Final = 20
_READ_BYTES: Final = 65_536

log = logging.getLogger("quadriga.worker")


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


class WorkerProcess:
    """The child process with the pipe that carries what it prints; shared by both states of a worker."""

    def __init__(self, name: str) -> None:
        """Starts the process. `name` stands before each of its log lines.

        Raises:
            OSError: The machine is short of processes or of file descriptors.
        """
        self.name = name
        self.loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                self.process = _spawn(theirs.fileno())
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        self.channel: Channel[FromWorker] = Channel(ours, FromWorker)
        self.log_tail: deque[str] = deque(maxlen=_LOG_TAIL_LINES)
        self.output = asyncio.create_task(self._relay_output(), name=f"output of {name}")
        self._reaped: asyncio.Task[str] | None = None

    @property
    def pid(self) -> int:
        """The operating system's process id."""
        return self.process.pid

    async def ended(self, *, kill: bool) -> str:
        """Waits until the process is gone, and says how it ended."""
        if kill:
            self.process.kill()
        if self._reaped is None:
            self._reaped = asyncio.create_task(self._reap())
        return await asyncio.shield(self._reaped)

    async def _reap(self) -> str:
        status = await asyncio.to_thread(self.process.wait)
        # A child that the framework left behind may hold the pipe open: what it says is not waited for.
        await asyncio.wait((self.output,), timeout=LAST_OUTPUT_SECONDS)
        self.output.cancel()
        return f"exited with status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"

    async def _relay_output(self) -> None:
        """Logs what the worker and its framework print, line by line, and keeps the last lines for the post-mortem."""
        pipe = self.process.stdout
        if pipe is None:
            raise RuntimeError("the worker was started without a pipe")
        reader = asyncio.StreamReader()
        transport, _ = await self.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
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
        return f"; its last words: {self.log_tail[-1]}" if self.log_tail else ""


def _spawn(descriptor: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "quadriga.workers.process", str(descriptor), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[descriptor],
    )
