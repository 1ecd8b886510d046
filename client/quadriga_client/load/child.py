"""A process that the load tester starts: spawned afresh, with a pipe each way. Command's process, and the child's side.

Forking would give it the threads' locks and open connections of whoever measures. It ends when its pipe of orders does,
so that nothing is left of a command that was killed; Ctrl-C is for the command, which ends its children in order.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from quadriga_client.load.errors import LoadError
from quadriga_client.load.messages import Kind, Report, pack_order, pack_report, take_orders, take_reports

#: A second's samples and more: the child goes on while the parent computes.
PIPE_BYTES: Final = 1 << 20
END_SECONDS: Final = 5.0
ORDERS, REPORTS = 0, 1


class Child:
    """A process as who started it sees it.

    Attributes:
        pid: Its number.
    """

    def __init__(self, module: str, name: str) -> None:
        """Starts `main()` of a module; `name` is what errors call it."""
        self._name = name
        command = [sys.executable, "-P", "-c", f"from {module} import main; main()"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment, start_new_session=True
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("started without pipes")
        self._orders, self._reports = self._process.stdin, self._process.stdout
        self.pid = self._process.pid
        self._received = bytearray()
        with contextlib.suppress(OSError):  # a system may allow less
            fcntl.fcntl(self.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self.fileno(), False)

    def fileno(self) -> int:
        """Of the pipe that reports come by."""
        return self._reports.fileno()

    def order(self, order: object) -> None:
        """Sends an order.

        Raises:
            LoadError: The process has ended.
        """
        left = memoryview(pack_order(order))
        try:
            while left:
                left = left[self._orders.write(left) or 0 :]
        except OSError as error:
            raise self._ended() from error

    def reports(self) -> Iterator[Report]:
        """What has come; never waits.

        Raises:
            LoadError: The process has ended.
        """
        ended = False
        with contextlib.suppress(BlockingIOError):
            while not ended:
                piece = os.read(self.fileno(), PIPE_BYTES)
                self._received += piece
                ended = not piece
        yield from take_reports(self._received)
        if ended:
            raise self._ended()

    def close(self) -> None:
        """Ends the process and waits for it."""
        for pipe in (self._orders, self._reports):
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ended(self) -> LoadError:
        try:
            status = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return LoadError(f"{self._name} closed its pipes")
        why = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
        return LoadError(f"{self._name} (pid {self.pid}) {why}")


class Parent:
    """Who started this process, as it sees it."""

    def __init__(self) -> None:
        """Takes over the pipes; interrupts are not for this process from now on."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.set_blocking(REPORTS, False)
        self._received = bytearray()
        self._waiting: list[memoryview] = []

    def orders(self) -> Iterator[object]:
        """Waits for orders, and gives those that came.

        Raises:
            EOFError: There are no more; the process is to end.
        """
        piece = os.read(ORDERS, PIPE_BYTES)
        if not piece:
            raise EOFError
        self._received += piece
        yield from take_orders(self._received)

    def report(self, kind: Kind, until_ns: int = 0, payload: bytes | memoryview = b"") -> None:
        """Sends a report without waiting: what the pipe does not take is kept, and goes with the next one."""
        self._waiting.append(memoryview(pack_report(kind, until_ns, payload)))
        with contextlib.suppress(BlockingIOError):
            self._write()

    def finish(self) -> None:
        """Sends what is left, and waits until it is read."""
        os.set_blocking(REPORTS, True)
        self._write()
        os.set_blocking(REPORTS, False)

    def _write(self) -> None:
        while self._waiting:
            piece = self._waiting[0]
            size = os.write(REPORTS, piece)
            if size == len(piece):
                del self._waiting[0]
            else:
                self._waiting[0] = piece[size:]


def run_child(serve: Callable[[Parent], None]) -> NoReturn:
    """Runs what a child is for, and leaves the process.

    Args:
        serve: Follows orders; ends with EOFError when there are no more, or with a LoadError that the parent is told.
    """
    parent = Parent()
    status = 0
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent has gone, or wants us to go
        try:
            serve(parent)
        except LoadError as error:
            parent.report(Kind.FAILED, payload=str(error).encode())
            parent.finish()
            status = 1
    raise SystemExit(status)
