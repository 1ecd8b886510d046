"""As much of HTTP/2 as it takes to send one gRPC request many times, at times of the caller's choosing.

grpc.aio costs some hundred microseconds of CPU per call, taken from the cores that the server needs, and h2load sends
at most one request per millisecond at given times. All requests being equal, their header block is encoded once; of
answers only the frames are read: one with data is good, one without is a gRPC error.
"""

import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from target import METHOD

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
LARGEST_WINDOW: Final = 2**31 - 1
FIRST_WINDOW: Final = 65_535
FRAME_BYTES: Final = 16_384
READ_BYTES: Final = 1 << 20


class Ended(NamedTuple):
    """A stream that ended: its request's number, and how many bytes of data came."""

    request: int
    received: int


class Stream:
    """A request under way."""

    __slots__ = ("received", "request", "sent", "window")

    def __init__(self, request: int, window: int) -> None:
        self.request = request
        self.window = window
        self.sent = 0
        self.received = 0


class Connection:
    """One connection; never blocks, sends no more than the server's windows and streams allow."""

    def __init__(self, address: str, request: bytes) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._headers = header_block(address)
        self._body = b"\0" + struct.pack(">I", len(request)) + request
        self._out = bytearray(PREFACE)
        self._out += frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
        self._out += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - FIRST_WINDOW))
        self._in = bytearray()
        self._window = self._stream_window = FIRST_WINDOW
        self._most_streams = LARGEST_WINDOW
        self._next_stream = 1
        self._streams: dict[int, Stream] = {}
        self._waiting: deque[int] = deque()
        self._unsent: deque[int] = deque()
        self._unacknowledged = 0

    @property
    def wants_to_write(self) -> bool:
        """Whether bytes wait for the socket."""
        return bool(self._out)

    def send(self, request: int) -> None:
        """Sends the request once more, under a number of the caller's; later, where the server allows no more now."""
        self._waiting.append(request)
        self._fill()
        self.flush()

    def flush(self) -> None:
        """Writes what the socket takes."""
        try:
            while self._out:
                del self._out[: self.socket.send(self._out)]
        except BlockingIOError:
            pass

    def receive(self) -> list[Ended]:
        """Reads what came; the streams that ended by it."""
        try:
            piece = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return []
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._in += piece
        ended = [stream for each in self._frames() if (stream := self._take(*each))]
        self._fill()
        self.flush()
        return ended

    def _fill(self) -> None:
        while self._waiting and len(self._streams) < self._most_streams:
            number = self._next_stream
            self._next_stream += 2
            self._streams[number] = Stream(self._waiting.popleft(), self._stream_window)
            self._out += frame(HEADERS, END_HEADERS, number, self._headers)
            self._unsent.append(number)
        while self._unsent and self._send_body(self._unsent[0]):
            self._unsent.popleft()

    def _send_body(self, number: int) -> bool:
        stream = self._streams.get(number)
        while stream is not None and stream.sent < len(self._body):
            size = min(FRAME_BYTES, len(self._body) - stream.sent, stream.window, self._window)
            if size <= 0:
                return False
            piece = self._body[stream.sent : stream.sent + size]
            stream.sent += size
            stream.window -= size
            self._window -= size
            self._out += frame(DATA, END_STREAM if stream.sent == len(self._body) else 0, number, piece)
        return True

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        at = 0
        while len(self._in) >= at + 9:
            high, low, kind, flags, number = struct.unpack_from(">BHBBI", self._in, at)
            end = at + 9 + (high << 16 | low)
            if len(self._in) < end:
                break
            yield kind, flags, number, bytes(self._in[at + 9 : end])
            at = end
        del self._in[:at]

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> Ended | None:
        stream = self._streams.get(number)
        if kind in (DATA, HEADERS, RST_STREAM):
            if kind == DATA:
                self._count(len(payload), stream)
            if stream is not None and (kind == RST_STREAM or flags & END_STREAM):
                del self._streams[number]
                return Ended(stream.request, stream.received)
        elif kind == WINDOW_UPDATE:
            (more,) = struct.unpack(">I", payload)
            if number == 0:
                self._window += more
            elif stream is not None:
                stream.window += more
        elif kind == PING and not flags & ACK:
            self._out += frame(PING, ACK, 0, payload)
        elif kind == SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind == GOAWAY:
            raise ConnectionError(f"the server went away: {payload[8:]!r}")
        return None

    def _count(self, size: int, stream: Stream | None) -> None:
        if stream is not None:
            stream.received += size
        self._unacknowledged += size
        if self._unacknowledged > LARGEST_WINDOW // 2:
            self._out += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._unacknowledged))
            self._unacknowledged = 0

    def _settings(self, payload: bytes) -> None:
        for key, value in struct.iter_unpack(">HI", payload):
            if key == MAX_CONCURRENT_STREAMS:
                self._most_streams = value
            elif key == INITIAL_WINDOW_SIZE:
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
        self._out += frame(SETTINGS, ACK, 0, b"")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame's bytes."""
    return struct.pack(">BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def header_block(authority: str) -> bytes:
    """The request's headers in HPACK: literals that nobody needs to remember."""
    headers = {
        ":method": "POST", ":scheme": "http", ":path": METHOD, ":authority": authority, "te": "trailers",
        "content-type": "application/grpc",
    }  # fmt: skip
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return b"".join(b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in pairs)
