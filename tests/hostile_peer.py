"""A client that speaks HTTP/2 frame by frame, and says what no gRPC library would."""

import select
import socket
import struct
import time
import zlib
from typing import Self

import hpack

from quadriga_client.load.engine import frames as h2

PATH = "/inference.GRPCInferenceService/ModelInfer"
STREAM_PATH = "/inference.GRPCInferenceService/ModelStreamInfer"
#: In which a peer waits for the server, or for room in its socket.
PATIENCE = 10.0


class HostilePeer:
    """One connection to a server.

    Attributes:
        cut_off: Whether the server has ended the connection.
    """

    def __init__(self, address: str, *, greet: bool = True, **settings: int) -> None:
        """Connects; says HTTP/2's first words where it is to `greet`, with settings by their names."""
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.cut_off = False
        self._poll = select.poll()  # select() refuses descriptors from 1,024 on
        self._poll.register(self.socket, select.POLLIN)
        self._encoder = hpack.Encoder()
        self._encoder.header_table_size = 0
        self._next = 1
        if greet:
            values = {getattr(h2, name): value for name, value in settings.items()}
            self.write(h2.PREFACE + h2.settings_frame(values) + h2.frame(h2.SETTINGS, h2.ACK, 0))

    def write(self, data: bytes) -> bool:
        """Sends bytes; False where the server does not take them, or has ended the connection."""
        if self.cut_off:
            return False
        try:
            self.socket.sendall(data)
        except TimeoutError:
            return False
        except OSError:
            self.cut_off = True
        return not self.cut_off

    def frame(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> bool:
        """Sends a frame; as `write`."""
        return self.write(h2.frame(kind, flags, stream, payload))

    def headers(self, path: str = PATH, *pairs: tuple[str, str]) -> bytes:
        """The header block of a call."""
        head = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "quadriga"))
        grpc = (("content-type", "application/grpc"), ("te", "trailers"))
        return self.encoded(*head, *grpc, *pairs)

    def encoded(self, *pairs: tuple[str, str]) -> bytes:
        """Any fields, as HPACK has them."""
        block: bytes = self._encoder.encode(pairs)
        return block

    def next_stream(self) -> int:
        """The number of a stream that was not used yet."""
        stream, self._next = self._next, self._next + 2
        return stream

    def call(self, message: bytes = b"", path: str = PATH, *, ends: bool = True) -> int:
        """Opens a stream, with a message that fits in one frame; its number."""
        stream = self.next_stream()
        block = h2.frame(h2.HEADERS, h2.END_HEADERS, stream, self.headers(path))
        body = h2.frame(h2.DATA, h2.END_STREAM * ends, stream, message) if message or ends else b""
        self.write(block + body)
        return stream

    def read(self, seconds: float = 0.0) -> bytes:
        """What the server has sent by then; with none given, what is there now."""
        received, end = b"", time.monotonic() + seconds
        while not self.cut_off and self._poll.poll(max(end - time.monotonic(), 0) * 1_000):
            try:
                piece = self.socket.recv(1 << 18)
            except OSError:
                piece = b""
            self.cut_off = not piece
            received += piece
        return received

    def close(self) -> None:
        """Goes without a word."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def announced(size: int, message: bytes = b"", *, compressed: bool = False) -> bytes:
    """GRPC's prefix of a message of that many bytes, and what comes of it."""
    return struct.pack(">?I", compressed, size) + message


def bomb(size: int) -> bytes:
    """So many zeros, as gzip packs them: a thousandth."""
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    pieces = [packer.compress(zeros[: min(len(zeros), size - at)]) for at in range(0, size, len(zeros))]
    return b"".join((*pieces, packer.flush()))
