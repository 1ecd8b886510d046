"""HTTP/2's frames: their numbers, and what of them has come over a socket. Shared by generators and the echo server.

Numbers and rules are those of RFC 9113; what gRPC makes of them is in http2.py and answers.py.
"""

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from typing import Final

from quadriga_client.load.errors import ProtocolError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 1, 1, 4, 8, 32
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5
NO_ERROR, REFUSED_STREAM, CANCEL = 0, 7, 8
FIRST_WINDOW: Final = 65_535
LARGEST_WINDOW: Final = 2**31 - 1
LARGEST_STREAM: Final = 2**31 - 1
FIRST_TABLE_BYTES: Final = 4096
#: Of a frame, where no settings allow more; ours never do.
FRAME_BYTES: Final = 16_384
#: Of gRPC's prefix of a message: whether it is compressed, and its length.
PREFIX_BYTES: Final = 5
#: Of a frame: the length's 24 bits and the kind's 8, flags, stream.
HEADER: Final = struct.Struct(">IBI")
#: The first five bytes of that, where the stream is filled in later.
START: Final = struct.Struct(">IB")
READ_BYTES: Final = 1 << 18
#: That are read before others have their turn.
TURN_BYTES: Final = 1 << 18
#: In HPACK, "the dynamic table has no bytes": said first to who allows less than the usual table.
NO_TABLE: Final = b"\x20"
#: What a socket says that is not to block, and would.
WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_NUMBER: Final = struct.Struct(">I")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame's bytes."""
    return HEADER.pack(len(payload) << 8 | kind, flags, stream) + payload


def number_frame(kind: int, stream: int, number: int) -> bytes:
    """A frame whose payload is a number: RST_STREAM, WINDOW_UPDATE."""
    return frame(kind, 0, stream, _NUMBER.pack(number))


def settings_frame(settings: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *each) for each in settings.items()))


def grpc_message(message: bytes) -> bytes:
    """A message with gRPC's prefix, uncompressed."""
    return b"\0" + _NUMBER.pack(len(message)) + message


class FrameReader:
    """Takes frames from a socket that does not block, without copying what nobody looks at.

    Attributes:
        view: The buffer that frames point into; valid until the next `read`.
        wants_to_write: Whether the last `read` must be repeated once the socket can be written: TLS must say something
            before it can go on.
    """

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self.view = memoryview(bytearray(READ_BYTES))
        self.wants_to_write = False
        self._filled = 0
        #: TLS hands out one record at a time, and a record that it holds back wakes no selector.
        self._pending: Callable[[], int] | None = source.pending if isinstance(source, ssl.SSLSocket) else None

    def read(self) -> int:
        """Reads once; the bytes that came, 0 for none.

        Raises:
            EOFError: The other side closed the connection.
            OSError: It is broken.
        """
        self.wants_to_write = False
        try:
            size = self._source.recv_into(self.view[self._filled :])
        except ssl.SSLWantWriteError:
            self.wants_to_write = True
            return 0
        except WOULD_BLOCK:
            return 0
        if not size:
            raise EOFError
        self._filled += size
        return size

    def goes_on(self, taken: int) -> bool:
        """Whether another `read` is due in this turn, in which so many bytes came; a selector tells of what is left."""
        return self._pending is not None and (taken < TURN_BYTES or self._pending() > 0)

    def frames(self) -> Iterator[tuple[int, int, int, int, int]]:
        """The complete frames; what is left of the next one stays for the next `read`.

        Yields:
            Kind, flags, stream, and where in `view` the payload begins and ends.

        Raises:
            ProtocolError: One is larger than allowed: this is no HTTP/2.
        """
        view, at, filled, unpack = self.view, 0, self._filled, HEADER.unpack_from
        while filled - at >= HEADER.size:
            word, flags, stream = unpack(view, at)
            start = at + HEADER.size
            end = start + (word >> 8)
            if end > filled:
                if word >> 8 > FRAME_BYTES:
                    raise ProtocolError(f"no HTTP/2 came, but {bytes(view[at : min(at + 40, filled)])!r}")
                break
            yield word & 0xFF, flags, stream, start, end
            at = end
        left = filled - at
        if at and left:
            view[:left] = view[at:filled]
        self._filled = left

    def skip(self, expected: bytes) -> bytes:
        """Takes what must come before the first frame; what is still missing of it.

        Raises:
            ProtocolError: Something else came.
        """
        size = min(len(expected), self._filled)
        if self.view[:size] != expected[:size]:
            raise ProtocolError(f"no HTTP/2 came, but {bytes(self.view[:size])!r}")
        self._filled -= size
        self.view[: self._filled] = self.view[size : size + self._filled]
        return expected[size:]


def number_in(payload: "bytes | memoryview[int]") -> int:
    """The unsigned 32-bit number with which a payload begins.

    Raises:
        ProtocolError: The frame is too short for one.
    """
    if len(payload) < _NUMBER.size:
        raise ProtocolError(f"a frame came with {len(payload)} bytes that needs {_NUMBER.size}")
    number: int = _NUMBER.unpack_from(payload)[0]
    return number


def unpadded(view: "memoryview[int]", flags: int, start: int, end: int) -> tuple[int, int]:
    """Where the payload of a DATA or HEADERS frame lies without padding and priority.

    Raises:
        ProtocolError: The padding is longer than the frame.
    """
    if flags & PADDED:
        padding = view[start] if start < end else end
        start, end = start + 1, end - padding
    if flags & HAS_PRIORITY:
        start += 5
    if start > end:
        raise ProtocolError("a frame came whose padding is longer than the frame itself")
    return start, end
