"""A server that a test drives frame by frame, and a generator's connection to it."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

import hpack

from quadriga_client.load.engine import frames as h2
from quadriga_client.load.engine.http2 import Connection
from quadriga_client.load.engine.streams import Ended, templates
from quadriga_client.load.target import LoadTarget

#: Of a test that waits for what does not come.
TIMEOUT = 20.0


class Seen(NamedTuple):
    """A frame as the peer got it."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Peer:
    """The server's side of a connection."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.settimeout(TIMEOUT)
        self.socket = accepted
        self._encoder = hpack.Encoder()
        self._encoder.header_table_size = 0

    def preface(self) -> list[Seen]:
        """The client's first words: its settings, and the connection's window."""
        assert self._take(len(h2.PREFACE)) == h2.PREFACE
        return [self.frame(), self.frame()]

    def frame(self) -> Seen:
        word, flags, stream = h2.HEADER.unpack(self._take(9))
        return Seen(word & 0xFF, flags, stream, self._take(word >> 8))

    def frames(self, count: int) -> list[Seen]:
        return [self.frame() for _ in range(count)]

    def send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.socket.sendall(h2.frame(kind, flags, stream, payload))

    def settings(self, **settings: int) -> None:
        self.socket.sendall(h2.settings_frame({getattr(h2, name): value for name, value in settings.items()}))

    def block(self, *pairs: tuple[str, str]) -> bytes:
        encoded: bytes = self._encoder.encode(pairs)
        return encoded

    def answer(self, stream: int, data: bytes = b"\0\0\0\0\0", status: str = "0") -> None:
        """A whole answer."""
        self.send(h2.HEADERS, h2.END_HEADERS, stream, self.block((":status", "200")))
        self.send(h2.DATA, 0, stream, data)
        trailers = self.block(("grpc-status", status), ("grpc-message", "so"))
        self.send(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, trailers)

    def nothing_came(self) -> bool:
        self.socket.setblocking(False)
        try:
            return not self.socket.recv(1)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT)

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, "the client closed the connection"
            data += piece
        return data


class Outcome(NamedTuple):
    """Of a request, whenever it ended."""

    request: int
    code: int
    received: int


def outcomes(ended: list[Ended]) -> list[Outcome]:
    return [Outcome(each.request, each.code, each.received) for each in ended]


class Pair(NamedTuple):
    """A connection and its peer."""

    connection: Connection
    peer: Peer

    def send(self, *requests: int) -> None:
        for request in requests:
            self.connection.send(request)
        self.connection.flush()

    def receive(self) -> list[Outcome]:
        """What ends by what the peer has sent; then what that makes the connection say is sent."""
        ended = self.connection.receive()
        self.connection.flush()
        return outcomes(ended)

    def expire(self, now_ns: int) -> list[Outcome]:
        """What that gives up; then what that makes the connection say is sent."""
        ended = self.connection.expire(now_ns)
        self.connection.flush()
        return outcomes(ended)


Connect = Callable[..., Pair]


@contextlib.contextmanager
def pairs() -> Iterator[Connect]:
    """Makes pairs that have greeted each other; the peer's settings can be given."""
    open_sockets: list[socket.socket] = []

    def make(
        *requests: bytes, timeout: float = TIMEOUT, most_streams: int = 100, greet: bool = True, **settings: int
    ) -> Pair:
        ours, theirs = socket.socketpair()
        open_sockets.extend((ours, theirs))
        ours.setblocking(False)
        target = LoadTarget(url="peer:1", requests=requests or (b"request",), timeout=timeout)
        pair = Pair(Connection(ours, target, templates(target), most_streams=most_streams), Peer(theirs))
        pair.connection.flush()
        if greet:
            pair.peer.preface()
            pair.peer.settings(**settings)
            pair.peer.send(h2.SETTINGS, h2.ACK, 0)
            assert pair.receive() == []
            assert pair.peer.frame() == Seen(h2.SETTINGS, h2.ACK, 0, b"")
        return pair

    yield make
    for each in open_sockets:
        each.close()
