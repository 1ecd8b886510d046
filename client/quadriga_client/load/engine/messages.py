"""What the command's process and the processes it starts say to each other over two pipes. Pure.

Orders are MessagePack of the types below. Reports are bytes, since most are samples: a generator is not to spend its
time on them.
"""

import enum
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from quadriga_client.load.arrivals import Arrivals, ClosedLoop, Constant, Poisson, Trace
from quadriga_client.load.packing import Packer
from quadriga_client.load.samples import Samples
from quadriga_client.load.target import LoadTarget
from quadriga_client.tls import TlsOptions

_LENGTH: Final = struct.Struct("<I")
_REPORT: Final = struct.Struct("<BIq")
#: Of a sample: due, begun, ended, code.
RECORD: Final = struct.Struct("<qqqB")
_RECORDS: Final = np.dtype([("due", "<i8"), ("begun", "<i8"), ("ended", "<i8"), ("code", "u1")])


class Begin(NamedTuple):
    """The first order to a generator: what it works with until it ends.

    Attributes:
        target: What to send, and where to.
        place: Which of the generators it is, from 0.
        processes: How many there are.
        connections: Its own.
        most_streams: Under way at once on each of them.
    """

    target: LoadTarget
    place: int
    processes: int
    connections: int
    most_streams: int


class Prepare(NamedTuple):
    """Be ready to make this load: the answer is READY."""

    arrivals: Arrivals


class Go(NamedTuple):
    """Make it, from that time on."""

    start_ns: int


class Finish(NamedTuple):
    """Begin no more requests; the answer is DONE, once all have ended."""


class Stall(NamedTuple):
    """A server that does nothing for a while, once: so long after its first request, and so long."""

    after_s: float
    seconds: float


class Answering(NamedTuple):
    """The order to an echo server to begin."""

    response: bytes
    stall: Stall | None


class Kind(enum.IntEnum):
    """Of a report."""

    READY = 0
    SAMPLES = 1
    DONE = 2
    FAILED = 3


class Report(NamedTuple):
    """What a process reports.

    Attributes:
        kind: What it is about.
        until_ns: All samples that ended by then have been sent, with this report or before it.
        payload: Samples' bytes, or a text.
    """

    kind: Kind
    until_ns: int
    payload: bytes


_PACKER: Final = Packer(
    (Begin, Prepare, Go, Finish, Answering, Stall, LoadTarget, TlsOptions, ClosedLoop, Poisson, Constant, Trace)
)


def pack_order(order: object) -> bytes:
    """An order's bytes."""
    packed = _PACKER.pack(order)
    return _LENGTH.pack(len(packed)) + packed


def take_orders(received: bytearray) -> Iterator[object]:
    """The complete orders at the start of what was received; takes them from it."""
    while len(received) >= _LENGTH.size:
        end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
        if len(received) < end:
            return
        order = _PACKER.unpack(bytes(received[_LENGTH.size : end]))
        del received[:end]
        yield order


def pack_report(kind: Kind, until_ns: int, payload: bytes | bytearray | memoryview = b"") -> bytes:
    """A report's bytes."""
    return _REPORT.pack(kind, len(payload), until_ns) + payload


def take_reports(received: bytearray) -> list[Report]:
    """The complete reports at the start of what was received; takes them from it."""
    reports = []
    at = 0
    while len(received) - at >= _REPORT.size:
        kind, length, until_ns = _REPORT.unpack_from(received, at)
        start = at + _REPORT.size
        if len(received) < start + length:
            break
        at = start + length
        reports.append(Report(Kind(kind), until_ns, bytes(received[start:at])))
    del received[:at]
    return reports


def unpack_samples(payload: bytes | bytearray) -> Samples:
    """Samples from their bytes, `RECORD` by `RECORD`."""
    records: npt.NDArray[np.void] = np.frombuffer(payload, _RECORDS)
    due, begun, ended = (records[name].astype(np.int64) for name in ("due", "begun", "ended"))
    return Samples(due, begun, ended, records["code"].astype(np.uint8))
