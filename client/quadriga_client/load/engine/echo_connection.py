"""A client's connection to the echo server: requests that ended, and frames that lie ready as their answers.

Runs in the echo server's process. No header is read, and no data.
"""

import socket
import struct

import hpack

from quadriga_client.load.engine.frame_writer import FrameWriter
from quadriga_client.load.engine.frames import (
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
    number_in,
    settings_frame,
)


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


class EchoConnection:
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
            ProtocolError: It does not speak HTTP/2.
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
            more = number_in(payload) & LARGEST_WINDOW
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


def _block(*headers: str) -> bytes:
    """Headers in HPACK that depend on no block before; first "no table", since clients may allow none."""
    pairs = zip(headers[::2], headers[1::2], strict=True)
    block: bytes = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair) for pair in pairs], huffman=False)
    return NO_TABLE + block
