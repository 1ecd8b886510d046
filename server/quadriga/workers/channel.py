"""Typed messages over a stream socket between the server process and a worker; both sides.

A frame is a 4-byte little-endian length and that many bytes of MessagePack. A stream socket serves Linux and macOS
alike, and one read may bring several messages. File descriptors travel with the first byte of their message; the kernel
ends a read behind a message that has some, so that one read never brings those of two.
"""

import array
import socket
import struct
from collections.abc import Sequence
from typing import Generic, TypeVar, cast

import msgspec

Incoming = TypeVar("Incoming")

_LENGTH = struct.Struct("<I")
_READ_BYTES = 65_536
#: Of one message: a contract with a million labels is smaller. What claims to be longer is not waited for.
MOST_BYTES = 64 << 20


class ChannelClosed(ConnectionError):
    """The other side is gone, or does not read any more."""


class Channel(Generic[Incoming]):
    """One end of the socket.

    The worker's end blocks. The server's end must not, so its socket is set non-blocking by its owner, who calls
    `receive` when the socket is readable.
    """

    def __init__(self, end: socket.socket, incoming: object) -> None:
        """Takes a socket over; `incoming` is the union of the message types that the other side sends."""
        self.socket = end
        self._decoder: msgspec.msgpack.Decoder[Incoming] = msgspec.msgpack.Decoder(cast("type[Incoming]", incoming))
        self._encoder = msgspec.msgpack.Encoder()
        self._unread = bytearray()

    def send(self, message: msgspec.Struct, descriptors: Sequence[int] = ()) -> None:
        """Sends one message, and open file descriptors with it.

        Raises:
            ChannelClosed: The other side is gone. Also when a non-blocking socket is full: only a few hundred bytes are
                ever under way, so a full buffer means that nobody has read for a long time.
        """
        payload = self._encoder.encode(message)
        frame = _LENGTH.pack(len(payload)) + payload
        try:
            if descriptors:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
                sent = self.socket.sendmsg([frame], [rights])
            else:
                sent = self.socket.send(frame)
            if sent < len(frame):
                self.socket.sendall(frame[sent:])
        except OSError as error:
            raise ChannelClosed(f"cannot send {type(message).__name__}: {error}") from error

    def receive(self) -> list[Incoming]:
        """The messages that one read of the socket completes; possibly none.

        Raises:
            ChannelClosed: The other side is gone, or talks nonsense.
        """
        try:
            chunk = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ChannelClosed(f"cannot read: {error}") from error
        return self._messages(chunk)

    def receive_with_descriptors(self, limit: int) -> tuple[list[Incoming], list[int]]:
        """Like `receive`, and up to `limit` file descriptors that came along; the caller owns them."""
        try:
            chunk, descriptors, _, _ = socket.recv_fds(self.socket, _READ_BYTES, limit)
        except BlockingIOError:
            return [], []
        except OSError as error:
            raise ChannelClosed(f"cannot read: {error}") from error
        return self._messages(chunk), descriptors

    def close(self) -> None:
        """Closes this end; the other reads the end of the stream."""
        self.socket.close()

    def _messages(self, chunk: bytes) -> list[Incoming]:
        if not chunk:
            raise ChannelClosed("the other side closed the stream")
        if not self._unread and chunk.startswith(_LENGTH.pack(len(chunk) - _LENGTH.size & 0xFFFFFFFF)):
            return [self._decode(memoryview(chunk)[_LENGTH.size :])]  # one whole message, as nearly always
        self._unread += chunk
        messages = []
        start = 0
        while len(self._unread) - start >= _LENGTH.size:
            body = start + _LENGTH.size
            length = _LENGTH.unpack_from(self._unread, start)[0]
            if length > MOST_BYTES:
                raise ChannelClosed(f"the other side announced a message that is {length} bytes long")
            end = body + length
            if end > len(self._unread):
                break
            messages.append(self._decode(bytes(self._unread[body:end])))
            start = end
        del self._unread[:start]
        return messages

    def _decode(self, body: "bytes | memoryview[int]") -> Incoming:
        try:
            return self._decoder.decode(body)
        except (ValueError, RecursionError) as error:  # what is broken, no text, or nested without an end
            raise ChannelClosed(f"the other side sent what is no message of its own: {error}") from error
