"""What goes over an HTTP/2 connection, as its windows allow. Shared by generators and the echo server.

Large bodies are never copied: the socket gathers the pieces.
"""

import socket
import ssl
import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from quadriga_client.load.engine.frames import (
    ACK,
    DATA,
    END_STREAM,
    FIRST_WINDOW,
    FRAME_BYTES,
    HEADER,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    MAX_FRAME_SIZE,
    SETTINGS,
    WOULD_BLOCK,
    frame,
)
from quadriga_client.load.errors import ProtocolError

#: What one call hands to the kernel at most: IOV_MAX, and of TLS, which joins it first, a few records.
MOST_PIECES: Final = 1024
TLS_BYTES: Final = 1 << 16

Piece = bytes | memoryview


class Body:
    """What is left to send of a stream's data, and the frame that ends the stream; none: the last DATA frame does."""

    __slots__ = ("left", "tail", "window")

    def __init__(self, body: bytes, window: int, tail: bytes) -> None:
        self.left = memoryview(body)
        self.window = window
        self.tail = tail


class FrameWriter:
    """Queues frames and bodies, and writes what socket and windows take.

    Attributes:
        window: What may be sent on the connection, in bytes of data.
        stream_window: Likewise on a new stream.
        frame_bytes: Data that a frame may hold.
    """

    def __init__(self, target: socket.socket) -> None:
        self._target = target
        self._tls = isinstance(target, ssl.SSLSocket)
        self.window = self.stream_window = FIRST_WINDOW
        self.frame_bytes = FRAME_BYTES
        self._pieces: list[Piece] = []
        self._size = 0
        self._bodies: dict[int, Body] = {}
        self._ready: OrderedDict[int, Body] = OrderedDict()  # those that their own windows do not stop

    @property
    def waits(self) -> bool:
        """Whether bytes wait for the socket."""
        return bool(self._pieces)

    def put(self, piece: Piece) -> None:
        """Queues complete frames that no window concerns."""
        self._pieces.append(piece)
        self._size += len(piece)

    def takes(self, size: int) -> bool:
        """Whether a new stream's body of that size can go at once, in a single frame."""
        return size <= self.window and size <= self.stream_window and size <= self.frame_bytes and not self._ready

    def put_whole(self, head: bytes, body: bytes) -> None:
        """Queues a body that `takes` said yes to; the head has everything before it, its DATA frame's header too."""
        size = len(body)
        self.window -= size
        self._pieces += (head, body)
        self._size += len(head) + size

    def put_body(self, stream: int, body: bytes, tail: bytes = b"", more: int = 0) -> None:
        """Sends a body as the windows allow.

        Args:
            stream: Its number.
            body: The data.
            tail: The frame that ends the stream; empty: the last DATA frame does.
            more: What WINDOW_UPDATE frames have added to the stream's window.
        """
        waiting = Body(body, self.stream_window + more, tail)
        self._bodies[stream] = waiting
        if waiting.window > 0:
            self._ready[stream] = waiting
        self.fill()

    def drop_body(self, stream: int) -> bool:
        """Forgets what is left of a stream's body; whether there was something."""
        if self._bodies.pop(stream, None) is None:
            return False
        self._ready.pop(stream, None)
        return True

    def widen(self, stream: int, more: int) -> None:
        """A WINDOW_UPDATE frame: of a stream, or of the connection, which is 0."""
        if not stream:
            self.window += more
        elif (body := self._bodies.get(stream)) is not None:
            body.window += more
            if body.window > 0:
                self._ready[stream] = body

    def settle(self, payload: bytes) -> Iterator[tuple[int, int]]:
        """A SETTINGS frame: takes what concerns sending, acknowledges it, and gives every setting.

        Raises:
            ProtocolError: Its length or a value is not allowed.
        """
        if len(payload) % 6:
            raise ProtocolError(f"settings came with {len(payload)} bytes, which is no multiple of 6")
        for key, value in struct.iter_unpack(">HI", payload):
            if key == INITIAL_WINDOW_SIZE:
                if value > LARGEST_WINDOW:
                    raise ProtocolError(f"settings came with a window of {value} bytes; 2147483647 are allowed")
                self._change_windows(value - self.stream_window)
                self.stream_window = value
            elif key == MAX_FRAME_SIZE:
                self.frame_bytes = max(value, FRAME_BYTES)
            yield key, value
        self.put(frame(SETTINGS, ACK, 0))

    def fill(self) -> None:
        """Queues what the windows allow of bodies that wait; those that only wait for their own cost nothing."""
        while self.window > 0 and self._ready:
            stream, body = next(iter(self._ready.items()))
            self._put_some(stream, body)
            if not body.left:
                del self._bodies[stream]
            elif body.window > 0:
                break
            del self._ready[stream]

    def _change_windows(self, by: int) -> None:
        self._ready.clear()
        for stream, body in self._bodies.items():
            body.window += by
            if body.window > 0:
                self._ready[stream] = body

    def _put_some(self, stream: int, body: Body) -> None:
        while size := min(self.frame_bytes, len(body.left), max(0, body.window), self.window):
            piece, body.left = body.left[:size], body.left[size:]
            body.window -= size
            self.window -= size
            ends = END_STREAM if not body.left and not body.tail else 0
            self.put(HEADER.pack(size << 8 | DATA, ends, stream))
            self.put(piece)
        if not body.left and body.tail:
            self.put(body.tail)

    def flush(self) -> None:
        """Writes what the socket takes.

        Raises:
            OSError: The connection is broken.
        """
        try:
            while self._pieces:
                self._drop(self._write())
        except WOULD_BLOCK:
            return

    def _write(self) -> int:
        pieces = self._pieces
        if not self._tls:
            return self._target.sendmsg(pieces if len(pieces) <= MOST_PIECES else pieces[:MOST_PIECES])
        # TLS wants to see the same bytes again after it had to wait: they stay joined.
        if len(pieces) > 1 and len(pieces[0]) < TLS_BYTES:
            count, size = 0, 0
            while count < len(pieces) and size < TLS_BYTES:
                size += len(pieces[count])
                count += 1
            pieces[:count] = [b"".join(pieces[:count])]
        return self._target.send(pieces[0])

    def _drop(self, size: int) -> None:
        """Forgets what was written."""
        pieces = self._pieces
        if size == self._size:
            pieces.clear()
            self._size = 0
            return
        self._size -= size
        count = 0
        while size >= len(pieces[count]):
            size -= len(pieces[count])
            count += 1
        if size:
            pieces[count] = memoryview(pieces[count])[size:]
        del pieces[:count]
