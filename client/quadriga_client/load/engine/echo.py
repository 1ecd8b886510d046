"""A server that answers every call at once with the same bytes: what load generators could see at most.

Runs in a process of its own; `EchoServer` is for who starts it. It reads no request and no header: a stream that ended
is answered by frames that lie ready.
"""

import contextlib
import errno
import os
import select
import socket
import time
from types import TracebackType
from typing import Final, NoReturn, Self

from quadriga_client.load.engine.child import ORDERS, Child, Parent, end_all, run_child, wait_for_any
from quadriga_client.load.engine.echo_connection import Answer, EchoConnection
from quadriga_client.load.engine.messages import Answering, Kind, Stall
from quadriga_client.load.errors import LoadError, ProtocolError

START_SECONDS: Final = 60.0
BACKLOG: Final = 1024


class EchoServer:
    """The server; a context manager.

    Attributes:
        url: HOST:PORT.
        pid: Of its process.
    """

    def __init__(self, response: bytes, *, stall: Stall | None = None) -> None:
        """Starts it, and waits until it listens.

        Args:
            response: The serialised message that answers every call.
            stall: When it is to stand still.

        Raises:
            LoadError: It does not start.
        """
        self._child = Child("quadriga_client.load.engine.echo", "the echo server")
        self.pid = self._child.pid
        try:
            self._child.order(Answering(response, stall))
            self.url = self._wait()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends it."""
        end_all([self._child])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self) -> str:
        end = time.monotonic() + START_SECONDS
        while (left := end - time.monotonic()) > 0:
            wait_for_any([self._child], left)
            for report in self._child.reports():
                if report.kind is not Kind.READY:
                    raise LoadError(report.payload.decode())
                return report.payload.decode()
        raise LoadError(f"the echo server did not start within {START_SECONDS:.0f} s")


class Server:
    """All connections; stands still when it is told to."""

    def __init__(self, answering: Answering) -> None:
        self._answer = Answer(answering.response)
        self._stall = answering.stall
        self._stall_at = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self._spare = os.open(os.devnull, os.O_RDONLY)  # see `_refuse`
        self._connections: dict[int, EchoConnection] = {}
        self._selector = select.epoll()
        for each in (ORDERS, self._listener.fileno()):
            self._selector.register(each, select.EPOLLIN)
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def step(self) -> bool:
        """Waits for something to do and does it; whether there are no orders to read."""
        for fileno, event in self._selector.poll(self._patience()):
            if fileno == ORDERS:
                return False
            if fileno == self._listener.fileno():
                self._accept()
            else:
                self._serve(fileno, event)
        if self._stall is not None and 0 < self._stall_at <= time.monotonic():
            time.sleep(self._stall.seconds)
            self._stall = None
        return True

    def _patience(self) -> float | None:
        """How long it may wait."""
        if self._stall is None or not self._stall_at:
            return None
        return max(0.0, self._stall_at - time.monotonic())

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError as error:  # the client has gone again, or this process has no files left
            if error.errno == errno.EMFILE:
                self._refuse()
            return
        try:
            connection = EchoConnection(accepted, self._answer)
            connection.writer.flush()
        except OSError:
            accepted.close()
            return
        self._connections[accepted.fileno()] = connection
        self._selector.register(accepted.fileno(), select.EPOLLIN)

    def _refuse(self) -> None:
        """Closes a connection that there is no file for: its client is told at once, and nobody spins for it."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def _serve(self, fileno: int, event: int) -> None:
        connection = self._connections[fileno]
        waited = bool(event & select.EPOLLOUT)
        try:
            if waited:
                connection.writer.flush()
            if event & ~select.EPOLLOUT and connection.serve() and self._stall is not None and not self._stall_at:
                self._stall_at = time.monotonic() + self._stall.after_s
        except (EOFError, OSError, ProtocolError):
            self._selector.unregister(fileno)
            self._connections.pop(fileno).socket.close()
            return
        if connection.writer.waits or waited:
            writing = select.EPOLLOUT if connection.writer.waits else 0
            self._selector.modify(fileno, select.EPOLLIN | writing)


def serve(parent: Parent) -> None:
    """What the echo server does all its life: see `child.run_child`."""
    while True:
        for order in parent.orders():
            if isinstance(order, Answering):
                server = Server(order)
                parent.report(Kind.READY, payload=server.url.encode())
                while server.step():
                    pass


def main() -> NoReturn:
    """The process."""
    run_child(serve)
