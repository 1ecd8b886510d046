"""Runs of load generators that a test ends when it has seen enough, on however busy a machine."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import psutil
from running_server import is_alive

from quadriga_client import TlsOptions
from quadriga_client.load.arrivals import Arrivals
from quadriga_client.load.engine.fleet import Fleet, FleetRun
from quadriga_client.load.samples import Samples, Times
from quadriga_client.load.target import LoadTarget

MS, SECOND = 1_000_000, 1_000_000_000
#: Of a test that waits for what does not come.
PATIENCE_NS = 60 * SECOND


def target(url: str, *requests: bytes, timeout: float = 20.0, tls: TlsOptions | None = None) -> LoadTarget:
    return LoadTarget(url=url, requests=requests or (b"q" * 500,), timeout=timeout, tls=tls)


def until(run: FleetRun, enough: Callable[[Samples], object], before: Sequence[Samples] = ()) -> list[Samples]:
    """Collects window after window, however long it takes here, until all are enough; `before` are the first ones."""
    windows = list(before)
    end_ns = time.monotonic_ns() + PATIENCE_NS
    while not enough(Samples.joined(windows)):
        assert time.monotonic_ns() < end_ns, f"never enough: {codes(Samples.joined(windows))}"
        windows.append(run.collect(time.monotonic_ns() + 20 * MS))
    return windows


def run_until(fleet: Fleet, arrivals: Arrivals, least: int = 100) -> Samples:
    """All samples of a run in which so many requests ended before its end."""
    run = fleet.start(arrivals)
    return Samples.joined([*until(run, lambda samples: len(samples.due) >= least), run.finish()])


def codes(samples: Samples) -> dict[int, int]:
    numbers, counts = np.unique(samples.codes, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def most_at_once(starts: Times, ends: Times) -> int:
    """The most requests that had started and not ended at one moment."""
    times = np.concatenate([starts, ends])
    changes = np.repeat([1, -1], len(starts))
    order = np.lexsort((changes, times))  # where one ends as another starts, it ends first
    return int(np.cumsum(changes[order]).max())


def started_processes(before: set[psutil.Process]) -> list[psutil.Process]:
    """Generators and echo servers of this process that are not of those before, and alive."""
    started = set(psutil.Process().children()) - before
    return [child for child in started if is_alive(child) and "quadriga_client.load" in command_line(child)]


def command_line(process: psutil.Process) -> str:
    """Its arguments; none of one that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
