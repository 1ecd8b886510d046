"""A process that the load tester starts: spawned afresh, with a pipe each way. Command's process, and the child's side.

Orders come by stdin. Reports have a pipe of their own: what somebody prints in the child goes to the command's stderr.

Forking would give it the threads' locks and open connections of whoever measures. It ends when its pipe of orders does,
so that nothing is left of a command that was killed; Ctrl-C is for the command, which ends its children in order.
"""

import contextlib
import fcntl
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Final, NoReturn, Protocol

from quadriga_client.load.engine.messages import Kind, Report, pack_order, pack_report, take_orders, take_reports
from quadriga_client.load.errors import LoadError

#: A second's samples and more: the child goes on while the parent computes.
PIPE_BYTES: Final = 1 << 20
END_SECONDS: Final = 5.0
ORDERS: Final = 0


class HasFile(Protocol):
    """What a selector can wait for."""

    def fileno(self) -> int:
        """The file's number."""


def spawn(
    module: str,
    *arguments: str,
    stdout: int | IO[bytes],
    stderr: IO[bytes] | None = None,
    buffer_bytes: int = -1,
    files: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    """Starts `main()` of a module that this process can import, with a pipe for its stdin.

    Args:
        module: Its full name.
        arguments: It finds them in `sys.argv`, from 1 on.
        stdout: As subprocess has it.
        stderr: None: this process's own.
        buffer_bytes: Of the pipes, as subprocess has it: -1 for its own choice, 0 for none.
        files: That it has under the same numbers.
    """
    return subprocess.Popen(
        # -P: a file of the user's in the current folder must not stand in for a module.
        [sys.executable, "-P", "-c", f"from {module} import main; main()", *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        bufsize=buffer_bytes,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
        pass_fds=files,
    )


def wait_for_any(files: Iterable[HasFile], seconds: float) -> None:
    """Waits until one can be read or has ended, so long at most."""
    poll = select.poll()  # select itself knows no files from number 1024 on
    for each in files:
        poll.register(each, select.POLLIN)
    poll.poll(math.ceil(seconds * 1000))


class Child:
    """A process as who started it sees it.

    Attributes:
        pid: Its number.
    """

    def __init__(self, module: str, name: str) -> None:
        """Starts `main()` of a module; `name` is what errors call it."""
        self._name = name
        self._reports, theirs = os.pipe()
        try:
            self._process = spawn(module, str(theirs), stdout=2, buffer_bytes=0, files=(theirs,))
        except BaseException:
            os.close(self._reports)
            raise
        finally:
            os.close(theirs)
        if self._process.stdin is None:
            raise RuntimeError("started without a pipe")
        self._orders = self._process.stdin
        self.pid = self._process.pid
        self._received = bytearray()
        with contextlib.suppress(OSError):  # a system may allow less
            fcntl.fcntl(self.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self.fileno(), False)

    def fileno(self) -> int:
        """Of the pipe that reports come by."""
        return self._reports

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
        """What has come; never waits. Who must not lose any keeps interrupts back: see `interrupts`.

        Raises:
            LoadError: The process has ended.
        """
        ended = False
        with contextlib.suppress(BlockingIOError):
            while not ended:
                piece = os.read(self._reports, PIPE_BYTES)
                self._received += piece
                ended = not piece
        yield from take_reports(self._received)
        if ended:
            raise self._ended()

    def dismiss(self) -> None:
        """Closes the pipes, by which the process learns that it is to end."""
        with contextlib.suppress(OSError):
            self._orders.close()
        if self._reports >= 0:
            os.close(self._reports)
            self._reports = -1

    def wait_until(self, end: float) -> None:
        """Waits for the end of a process that was dismissed; kills it when it is not in time.

        Args:
            end: `time.monotonic`.
        """
        try:
            self._process.wait(max(0.0, end - time.monotonic()))
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


class Dismissed(Protocol):
    """What is used of a `Child` to end it."""

    def dismiss(self) -> None:
        """See `Child`."""

    def wait_until(self, end: float) -> None:
        """See `Child`."""


def end_all(children: Sequence[Dismissed]) -> None:
    """Ends processes and waits for them, as long as for a single one."""
    for each in children:
        each.dismiss()
    end = time.monotonic() + END_SECONDS
    for each in children:
        each.wait_until(end)


class Parent:
    """Who started this process, as it sees it."""

    def __init__(self) -> None:
        """Takes over the pipes; interrupts are not for this process from now on."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._reports = int(sys.argv[1])
        os.set_blocking(self._reports, False)
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
        os.set_blocking(self._reports, True)
        self._write()
        os.set_blocking(self._reports, False)

    def _write(self) -> None:
        while self._waiting:
            piece = self._waiting[0]
            size = os.write(self._reports, piece)
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
