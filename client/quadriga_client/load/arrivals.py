"""When requests are due: closed loops, and schedules of open ones. Pure, besides reading a trace."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from quadriga_client.load.errors import LoadError
from quadriga_client.load.samples import Times

#: Arrivals that are drawn at once: some 20 us of a generator's time.
CHUNK: Final = 1024
#: Per second: one request in a quarter of an hour. Times of much lower rates do not fit into 64 bits of ns.
LEAST_RATE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """So many callers, each of which sends its next request when it has the answer to the one before."""

    concurrency: int


@dataclass(frozen=True, slots=True)
class Poisson:
    """Arrivals as of many independent users: gaps are exponential, `rate` per second on average."""

    rate: float
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Constant:
    """Arrivals at equal distances, `rate` per second."""

    rate: float


@dataclass(frozen=True, slots=True)
class Trace:
    """Arrivals as they were recorded.

    Attributes:
        offsets_ns: Ascending, from the start.
        path: Where they were read.
    """

    offsets_ns: tuple[int, ...]
    path: Path


OpenLoop: TypeAlias = Poisson | Constant | Trace
Arrivals: TypeAlias = ClosedLoop | OpenLoop


def schedule(arrivals: OpenLoop, index: int = 0, processes: int = 1) -> Iterator[int]:
    """When the requests of one of several processes are due, in ns from the start; without an end.

    All processes draw the same schedule, and each takes every n-th arrival of it. So the arrivals of all together are
    the same however many processes share them; independent schedules at a share of the rate would make another
    sequence for each number of processes, and of constant arrivals bursts.

    Args:
        arrivals: Of all processes together.
        index: The process's, from 0.
        processes: How many there are.
    """
    return _every(_chunks(arrivals), index, processes)


def due_times(arrivals: OpenLoop, until_ns: int) -> Times:
    """When requests are due before a time, of all processes together: [n], ascending, in ns from the start."""
    found = []
    for chunk in _chunks(arrivals):
        found.append(chunk[: int(np.searchsorted(chunk, until_ns))])
        if len(found[-1]) < len(chunk):
            break
    return np.concatenate(found)


def check(arrivals: Arrivals) -> None:
    """Refuses what no load can be made of.

    Raises:
        LoadError: It is no number of callers or no rate; the trace has no two different times, or is out of order.
    """
    match arrivals:
        case ClosedLoop(concurrency):
            if concurrency < 1:
                raise LoadError(f"a closed loop needs at least 1 caller; {concurrency} came")
        case Poisson(rate) | Constant(rate):
            if not LEAST_RATE <= rate < math.inf:
                raise LoadError(
                    f"an open loop needs a rate of at least {LEAST_RATE:g} requests per second; {rate:g} came"
                )
        case Trace(offsets_ns, path):
            if not offsets_ns or offsets_ns[0] < 0 or offsets_ns[-1] <= offsets_ns[0]:
                raise LoadError(f"the trace {path} needs at least two times from the start, which differ")
            if any(later < earlier for earlier, later in itertools.pairwise(offsets_ns)):
                raise LoadError(f"the trace {path} is not in ascending order")


def read_trace(path: Path) -> Trace:
    """Reads recorded arrivals: a text of one number per line, seconds from the start, ascending.

    Empty lines and those that begin with # are left out. A run that outlasts the trace starts over with it, the mean
    gap after its last arrival.

    Raises:
        LoadError: The file cannot be read, or a line is none of this.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise LoadError(f"cannot read the trace {path}: {reason or error}") from error
    offsets: list[int] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise LoadError(f"{path}, line {number}: {text[:40]!r} came; expected seconds from the start, as 0.125")
        offset = round(seconds * 1e9)
        if offsets and offset < offsets[-1]:
            raise LoadError(f"{path}, line {number}: {text[:40]} is earlier than the line before; times must ascend")
        offsets.append(offset)
    trace = Trace(tuple(offsets), path)
    check(trace)
    return trace


def _chunks(arrivals: OpenLoop) -> Iterator[Times]:
    match arrivals:
        case Poisson():
            return _poisson(arrivals)
        case Constant():
            return _constant(arrivals)
        case Trace():
            return _trace(arrivals)


def _every(chunks: Iterator[Times], index: int, processes: int) -> Iterator[int]:
    following = index
    for chunk in chunks:
        yield from chunk[following::processes].tolist()
        following = (following - len(chunk)) % processes


def _poisson(arrivals: Poisson) -> Iterator[Times]:
    random = np.random.default_rng(arrivals.seed)
    last = 0.0
    while True:
        due = last + np.cumsum(random.exponential(1e9 / arrivals.rate, CHUNK))
        last = float(due[-1])
        yield due.astype(np.int64)


def _constant(arrivals: Constant) -> Iterator[Times]:
    for first in itertools.count(0, CHUNK):
        yield (np.arange(first, first + CHUNK) * (1e9 / arrivals.rate)).astype(np.int64)


def _trace(arrivals: Trace) -> Iterator[Times]:
    offsets = np.array(arrivals.offsets_ns, np.int64)
    last, gaps = int(offsets[-1]), len(offsets) - 1
    period = last + max(1, (last - int(offsets[0])) // gaps)
    for start in itertools.count(0, period):
        for at in range(0, len(offsets), CHUNK):
            yield offsets[at : at + CHUNK] + start
