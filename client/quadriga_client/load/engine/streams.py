"""A request on its way through an HTTP/2 connection: the frames that carry it, and what its answer says. Pure."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from quadriga_client.load.engine.frames import DATA, END_HEADERS, END_STREAM, HEADERS, PREFIX_BYTES, START, grpc_message
from quadriga_client.load.engine.headers import Head, request_block
from quadriga_client.load.status_codes import OK, UNIMPLEMENTED, UNKNOWN
from quadriga_client.load.target import LoadTarget


class Ended(NamedTuple):
    """A request that ended.

    Attributes:
        request: The caller's number.
        code: gRPC's status code.
        received: Bytes of data that came, prefixes included.
        ended_ns: When the last of the answer had been read, or the request was given up, `time.monotonic_ns`.
    """

    request: int
    code: int
    received: int
    ended_ns: int


class Stream:
    """A request under way, or waiting to be.

    Attributes:
        request: The caller's number.
        asked_ns: When it was to be sent.
        received: Bytes of data so far.
        code: What HTTP's status stands for, as of now.
        refused: Whether a server has said before that it did not look at it.
    """

    __slots__ = ("asked_ns", "code", "received", "refused", "request")

    def __init__(self, request: int, asked_ns: int) -> None:
        self.request = request
        self.asked_ns = asked_ns
        self.code = UNKNOWN
        self.received = 0
        self.refused = False

    def code_after(self, head: Head) -> int:
        """The code of the answer, where these are its last headers."""
        if head.final:
            # gRPC's doc/statuscodes.md: an answer that is OK and lacks its one message.
            return UNIMPLEMENTED if head.code == OK and self.received < PREFIX_BYTES else head.code
        return head.code if head.code not in (OK, UNKNOWN) else self.code_without_status()

    def code_without_status(self) -> int:
        """The code of an answer that has none of gRPC's: that of HTTP's, or UNKNOWN."""
        return self.code if self.code != OK else UNKNOWN


class Template:
    """A request's frames; a stream's number is all that they lack."""

    def __init__(self, block: bytes, message: bytes) -> None:
        self.block = block
        self.body = grpc_message(message)
        self._headers = START.pack(len(block) << 8 | HEADERS, END_HEADERS)
        self._data = START.pack((len(self.body) & 0xFFFFFF) << 8 | DATA, END_STREAM)
        self._form = struct.Struct(f">5sI{len(block)}s5sI")

    def head(self, stream: int) -> bytes:
        """Everything before the body, where that is a single frame."""
        return self._form.pack(self._headers, stream, self.block, self._data, stream)


def templates(target: LoadTarget) -> Sequence[Template]:
    """The frames of a target's requests, for all connections to it.

    Raises:
        LoadError: The headers are too long.
    """
    block = request_block(target)
    return [Template(block, message) for message in target.requests]
