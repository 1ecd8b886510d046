"""When requests are due: closed loops, and schedules of open ones. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


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
