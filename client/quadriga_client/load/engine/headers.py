"""Headers of gRPC calls in HPACK: a request's, encoded once, and what an answer's mean. Pure.

No block depends on another one: requests are literals that nobody needs to remember, and servers are told to remember
nothing either (SETTINGS_HEADER_TABLE_SIZE 0). So an answer's block, seen before, need not be decoded again.
"""

import math
from typing import Final, NamedTuple

import hpack

from quadriga_client.load.engine.frames import FRAME_BYTES, NO_TABLE
from quadriga_client.load.errors import LoadError, ProtocolError
from quadriga_client.load.status_codes import (
    CANCELLED,
    INTERNAL,
    OK,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    UNKNOWN,
)
from quadriga_client.load.target import LoadTarget

USER_AGENT: Final = "quadriga-load"
#: Blocks that are remembered; a server that puts a time or a number into each makes more, and none comes again.
MOST_BLOCKS: Final = 1024
#: grpc-timeout has at most eight digits.
LARGEST_TIMEOUT: Final = 99_999_999

#: gRPC's doc/http-grpc-status-mapping.md: for an answer that has no status of gRPC's.
_OF_HTTP: Final = {
    400: INTERNAL, 401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: UNIMPLEMENTED,
    429: UNAVAILABLE, 502: UNAVAILABLE, 503: UNAVAILABLE, 504: UNAVAILABLE,
}  # fmt: skip
#: gRPC's doc/PROTOCOL-HTTP2.md, "Errors": of RST_STREAM's codes, those that are not INTERNAL.
_OF_RESET: Final = {7: UNAVAILABLE, 8: CANCELLED, 11: RESOURCE_EXHAUSTED, 12: PERMISSION_DENIED}


class Head(NamedTuple):
    """What a header block of an answer says.

    Attributes:
        code: gRPC's status; where the block has none, what HTTP's stands for: OK for 200, UNKNOWN for none at all.
        final: Whether the code is gRPC's own.
        interim: Whether it is HTTP's "100 Continue" or the like: the headers are still to come.
    """

    code: int
    final: bool
    interim: bool = False


class Heads:
    """Decodes header blocks; those that come again cost a look-up."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def __bool__(self) -> bool:
        """Whether there was a block."""
        return bool(self._known)

    def __call__(self, block: bytes) -> Head:
        """What a block says.

        Raises:
            ProtocolError: It cannot be read.
        """
        head = self._known.get(block)
        if head is None:
            head = decode(block)
            if len(self._known) >= MOST_BLOCKS:
                self._known.clear()
            self._known[block] = head
        return head


def decode(block: bytes) -> Head:
    """What a header block of an answer says.

    Raises:
        ProtocolError: It is no HPACK, or refers to blocks before it.
    """
    decoder = hpack.Decoder()
    decoder.header_table_size = decoder.max_allowed_table_size = 0
    try:
        headers = dict(decoder.decode(block, raw=True))
    except hpack.HPACKError as error:
        raise ProtocolError(f"headers came that cannot be read without those before them: {error}") from error
    status, code = headers.get(b":status", b""), headers.get(b"grpc-status")
    if code is not None:
        number = _number(code)
        return Head(number if number <= UNAUTHENTICATED else UNKNOWN, final=True)
    if not status:
        return Head(UNKNOWN, final=False)
    number = _number(status)
    return Head(OK if number == 200 else _OF_HTTP.get(number, UNKNOWN), final=False, interim=100 <= number < 200)


def code_of_reset(error: int) -> int:
    """The status code of gRPC for a stream that the server reset."""
    return _OF_RESET.get(error, INTERNAL)


def request_block(target: LoadTarget) -> bytes:
    """The headers of every request to a target.

    Raises:
        LoadError: They are longer than a frame: servers that allow as much are rare.
    """
    headers = (
        (":method", "POST"),
        (":scheme", "https" if target.tls else "http"),
        (":path", target.method),
        (":authority", (target.tls.authority if target.tls else "") or target.url),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", USER_AGENT),
        ("grpc-timeout", timeout_text(target.timeout)),
        *target.metadata,
    )
    block: bytes = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*each) for each in headers], huffman=False)
    if len(NO_TABLE) + len(block) > FRAME_BYTES:
        raise LoadError(f"a request's headers take {len(block)} bytes; {FRAME_BYTES - len(NO_TABLE)} are allowed: "
                        "send less metadata")  # fmt: skip
    return block


def timeout_text(seconds: float) -> str:
    """A timeout as the header grpc-timeout has it: "1500m"; never shorter than asked."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds <= LARGEST_TIMEOUT:
        return f"{milliseconds}m"
    return f"{min(math.ceil(seconds), LARGEST_TIMEOUT)}S"


def _number(text: bytes) -> int:
    """A status; what is none is one that nobody knows."""
    return int(text) if text.isdigit() and len(text) <= 3 else 999
