"""A contestant's warm-up: load until it is steady, for a bounded time. Runs in the command's process."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from quadriga_client.load.arrivals import ClosedLoop
from quadriga_client.load.samples import Samples
from quadriga_client.load.source import LoadSource
from quadriga_client.load.statistics.agreement import Agreement
from quadriga_client.load.statistics.windows import Cut, Cutter, least_requests
from quadriga_client.load.status_codes import OK

#: Short windows, which need not be as alike as those that a load test measures, and not for ever.
_WINDOW_SECONDS: Final = 0.25
_TOLERANCE: Final = 0.25
_AGREEING: Final = 3
_MOST_WINDOWS: Final = 12
_S_NS: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """How a warm-up ended.

    Attributes:
        steady: Whether windows agreed.
        cut: Whether its time was over before that could be seen.
        latency: The median of the later half of what was answered, in seconds; 0 where nothing was.
    """

    steady: bool
    cut: bool
    latency: float


def warm_up(source: LoadSource, concurrency: int, seconds: float) -> Warmed:
    """Loads a contestant until windows agree, or its time is over; then waits for what is under way.

    Args:
        source: Of its load.
        concurrency: Callers.
        seconds: That it may take.

    Raises:
        LoadError: The server cannot be reached (any more).
    """
    arrivals = ClosedLoop(concurrency)
    least = least_requests(arrivals)
    run = source.start(arrivals)
    rule = Agreement(agreeing=_AGREEING, tolerance=_TOLERANCE, least=least)
    cutter = Cutter(run.started_ns, _WINDOW_SECONDS, least)
    end_ns = run.started_ns + round(seconds * _S_NS)
    parts: list[Samples] = []
    windows: list[Cut] = []
    steady = over = False
    while not over and cutter.until_ns < end_ns:
        until_ns = min(cutter.next_ns, end_ns)
        parts.append(run.collect(until_ns))
        cutter.add(parts[-1], until_ns)
        if cutter.full:
            windows.append(cutter.close())
            steady = rule.settled(windows)
            over = steady or rule.silent(windows) or len(windows) == _MOST_WINDOWS
    parts.append(run.finish())
    return Warmed(steady=steady, cut=not over, latency=_latency(Samples.joined(parts)))


def _latency(samples: Samples) -> float:
    answered = samples.where(samples.codes == OK)
    if not len(answered.ended):
        return 0.0
    latencies = (answered.ended - answered.due)[np.argsort(answered.ended, kind="stable")]
    return float(np.median(latencies[len(latencies) // 2 :])) / _S_NS
