"""A server that answers every call at once with the same bytes: what load generators could see at most.

Runs in a process of its own; `EchoServer` is for who starts it. It reads no request and no header: a stream that ended
is answered by frames that lie ready.
"""

import select
import socket
import struct
import time
from types import TracebackType
from typing import Final, NamedTuple, NoReturn, Self

import hpack

from quadriga_client.load.child import ORDERS, Child, Parent, run_child
from quadriga_client.load.errors import LoadError
from quadriga_client.load.frame_writer import FrameWriter
from quadriga_client.load.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    NO_TABLE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    START,
    WINDOW_UPDATE,
    FrameReader,
    frame,
    grpc_message,
    number_frame,
    settings_frame,
)
from quadriga_client.load.messages import Kind

START_SECONDS: Final = 60.0
BACKLOG: Final = 1024


class Stall(NamedTuple):
    """A server that does nothing for a while, once: so long after its first request, and so long."""

    after_s: float
    seconds: float


class Answering(NamedTuple):
    """The order to begin."""

    response: bytes
    stall: Stall | None


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
        self._child = Child("quadriga_client.load.echo", "the echo server")
        self.pid = self._child.pid
        try:
            self._child.order(Answering(response, stall))
            self.url = self._wait()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends it."""
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self) -> str:
        end = time.monotonic() + START_SECONDS
        while (left := end - time.monotonic()) > 0:
            select.select([self._child], [], [], left)
            for report in self._child.reports():
                if report.kind is not Kind.READY:
                    raise LoadError(report.payload.decode())
                return report.payload.decode()
        raise LoadError(f"the echo server did not start within {START_SECONDS:.0f} s")


class Answer:
    """An answer's frames; a stream's number is all that they lack.

    Attributes:
        body: The data, with gRPC's prefix.
    """

    def __init__(self, response: bytes) -> None:
        headers, trailers = _block(":status", "200", "content-type", "application/grpc"), _block("grpc-status", "0")
        self.body = grpc_message(response)
        self._headers = START.pack(len(headers) << 8 | HEADERS, END_HEADERS), headers
        self._data = START.pack((len(self.body) & 0xFFFFFF) << 8 | DATA, 0)
        self._trailers = START.pack(len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM), trailers
        self._head = struct.Struct(f">5sI{len(headers)}s")
        self._tail = struct.Struct(f">5sI{len(trailers)}s")
        self._whole = struct.Struct(f">5sI{len(headers)}s5sI{len(self.body)}s5sI{len(trailers)}s")

    def whole(self, stream: int) -> bytes:
        """All of it, where the data fits one frame."""
        headers, block = self._headers
        trailers, last = self._trailers
        return self._whole.pack(headers, stream, block, self._data, stream, self.body, trailers, stream, last)

    def head(self, stream: int) -> bytes:
        """What comes before the data."""
        return self._head.pack(self._headers[0], stream, self._headers[1])

    def tail(self, stream: int) -> bytes:
        """What comes after it."""
        return self._tail.pack(self._trailers[0], stream, self._trailers[1])


class Connection:
    """A client's connection."""

    def __init__(self, accepted: socket.socket, answer: Answer) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setblocking(False)
        self.socket = accepted
        self._answer = answer
        self._reader = FrameReader(accepted)
        self.writer = FrameWriter(accepted)
        self._preface = PREFACE
        self._open: dict[int, int] = {}  # stream whose request still comes -> what the client added to its window
        self._unacknowledged = 0
        self.writer.put(settings_frame({INITIAL_WINDOW_SIZE: LARGEST_WINDOW}))
        self.writer.put(number_frame(WINDOW_UPDATE, 0, LARGEST_WINDOW - FIRST_WINDOW))

    def serve(self) -> bool:
        """Reads once and answers the requests that ended; whether one did.

        Raises:
            EOFError: The client closed the connection.
            OSError: It broke.
            LoadError: It does not speak HTTP/2.
        """
        if not self._reader.read():
            return False
        if self._preface:
            self._preface = self._reader.skip(self._preface)
        answered = False
        streams, writer = self._open, self.writer
        for kind, flags, number, start, end in self._reader.frames():
            if kind == DATA:
                self._unacknowledged += end - start
                if flags & END_STREAM and number in streams:
                    self._finish(number)
                    answered = True
            elif kind == HEADERS:
                streams[number] = 0
                if flags & END_STREAM:
                    self._finish(number)
                    answered = True
            else:
                self._take_other(kind, flags, number, start, end)
        if self._unacknowledged > LARGEST_WINDOW // 2:
            writer.put(number_frame(WINDOW_UPDATE, 0, self._unacknowledged))
            self._unacknowledged = 0
        writer.flush()
        return answered

    def _finish(self, number: int) -> None:
        """Answers a request that has come as a whole."""
        more = self._open.pop(number)
        writer, answer = self.writer, self._answer
        size = len(answer.body)
        if writer.takes(size):
            writer.window -= size
            writer.put(answer.whole(number))
        else:
            writer.put(answer.head(number))
            writer.put_body(number, answer.body, answer.tail(number), more)

    def _take_other(self, kind: int, flags: int, number: int, start: int, end: int) -> None:
        """Frames that seldom come."""
        payload = bytes(self._reader.view[start:end])
        if kind == WINDOW_UPDATE:
            more = self._reader.number(start) & LARGEST_WINDOW
            if number in self._open:
                self._open[number] += more
            self.writer.widen(number, more)
            self.writer.fill()
        elif kind == SETTINGS and not flags & ACK:
            for _ in self.writer.settle(payload):
                pass
            self.writer.fill()
        elif kind == PING and not flags & ACK:
            self.writer.put(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            self._open.pop(number, None)
            self.writer.drop_body(number)


class Server:
    """All connections; stands still when it is told to."""

    def __init__(self, answering: Answering) -> None:
        self._answer = Answer(answering.response)
        self._stall = answering.stall
        self._stall_at = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self._connections: dict[int, Connection] = {}
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
        accepted, _ = self._listener.accept()
        connection = Connection(accepted, self._answer)
        self._connections[accepted.fileno()] = connection
        self._selector.register(accepted.fileno(), select.EPOLLIN)
        connection.writer.flush()

    def _serve(self, fileno: int, event: int) -> None:
        connection = self._connections[fileno]
        waited = bool(event & select.EPOLLOUT)
        try:
            if waited:
                connection.writer.flush()
            if event & ~select.EPOLLOUT and connection.serve() and self._stall is not None and not self._stall_at:
                self._stall_at = time.monotonic() + self._stall.after_s
        except (EOFError, OSError, LoadError, struct.error):
            self._selector.unregister(fileno)
            self._connections.pop(fileno).socket.close()
            return
        if connection.writer.waits or waited:
            writing = select.EPOLLOUT if connection.writer.waits else 0
            self._selector.modify(fileno, select.EPOLLIN | writing)


def _block(*headers: str) -> bytes:
    """Headers in HPACK that depend on no block before; first "no table", since clients may allow none."""
    pairs = zip(headers[::2], headers[1::2], strict=True)
    block: bytes = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in pairs], huffman=False)
    return NO_TABLE + block


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
