"""A block of timing: from a closed loop's samples and the server's counters to figures. Runs in the command's process.

The server's counters are read before the first request and after the last, never while time is taken: what reading them
costs the server is in no latency. CPU time per row is therefore of the whole block, with its begin, which the latencies
leave out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc
import numpy as np

from quadriga_client.compare.standings import Block
from quadriga_client.load.arrivals import ClosedLoop
from quadriga_client.load.errors import LoadError
from quadriga_client.load.measurement import MeasurementSettings, measure
from quadriga_client.load.samples import OK, Samples, Times
from quadriga_client.load.saturation import saturation
from quadriga_client.load.server_reading import ServerReading
from quadriga_client.load.server_side import ServerProbe, between
from quadriga_client.load.source import LoadSource

#: Of a block's length, what goes by before it counts: queues fill, and the caches of the cores.
SETTLING_SHARE: Final = 0.2
#: A contestant's warm-up: short windows, which need not be as alike as those that are measured, and not for ever.
WARM_UP: Final = MeasurementSettings(window_seconds=0.25, tolerance=0.25, most_windows=12)
_S_NS: Final = 1e9
_MS_NS: Final = 1e6
_CODES: Final[dict[int, str]] = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What times one contestant.

    Attributes:
        name: The contestant's.
        source: Of its load.
        probe: Of its server's counters; None where the server has none.
        rows: Of a request.
    """

    name: str
    source: LoadSource
    probe: ServerProbe | None
    rows: int


def warm_up(lane: Lane, concurrency: int) -> bool:
    """Loads a contestant until windows agree; whether they did.

    Raises:
        LoadError: The server cannot be reached (any more).
        Interrupted: On Ctrl-C.
    """
    return measure(lane.source, ClosedLoop(concurrency), WARM_UP, rows_per_request=lane.rows).stable


def time_block(lane: Lane, concurrency: int, seconds: float, number: int) -> Block:
    """Times a contestant.

    Args:
        lane: The contestant's.
        concurrency: Callers of the closed loop.
        seconds: That count, after the settling.
        number: The round's.

    Raises:
        LoadError: The server cannot be reached (any more).
    """
    before = _read(lane.probe)
    run = lane.source.start(ClosedLoop(concurrency))
    begin_ns = run.started_ns + round(seconds * SETTLING_SHARE * _S_NS)
    end_ns = begin_ns + round(seconds * _S_NS)
    parts = [run.collect(end_ns), run.finish()]
    after = _read(lane.probe)
    samples = Samples.joined(parts)
    return block_of(
        samples.where((samples.ended >= begin_ns) & (samples.ended < end_ns)),
        lane=lane,
        number=number,
        seconds=seconds,
        # Also those of its begin, and requests that were given up after its end.
        errors=errors_of(samples),
        cpu_ms_per_row=_cpu_ms_per_row(before, after, samples, lane.rows),
        memory_bytes=None if after is None else after.facts.memory_bytes,
    )


def block_of(
    samples: Samples,
    *,
    lane: Lane,
    number: int,
    seconds: float,
    errors: dict[str, int],
    cpu_ms_per_row: float | None,
    memory_bytes: int | None,
) -> Block:
    """The figures of what ended in a block's time."""
    answered = samples.where(samples.codes == OK)
    p50_ms, p99_ms = _percentiles_ms(answered.ended - answered.due, (50, 99))
    (lag_ms,) = _percentiles_ms(samples.begun - samples.due, (99,))
    # In a closed loop nobody knows how many were due.
    behind = saturation(
        lag_p99_ms=lag_ms or 0.0, latency_p99_ms=p99_ms, lag_share=WARM_UP.lag_share, begun=len(samples.begun), due=0
    )
    return Block(
        contestant=lane.name,
        round=number,
        seconds=seconds,
        requests=len(samples.ended),
        throughput=len(answered.ended) / seconds,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        lag_p99_ms=lag_ms or 0.0,
        saturated=behind is not None,
        errors=errors,
        cpu_ms_per_row=cpu_ms_per_row,
        memory_bytes=memory_bytes,
    )


def errors_of(samples: Samples) -> dict[str, int]:
    """The codes of gRPC by name -> how many requests, without those that were answered."""
    counts = Counter(samples.codes[samples.codes != OK].tolist())
    return {_CODES.get(code, f"code {code}"): count for code, count in sorted(counts.items())}


def _percentiles_ms(durations_ns: Times, percentiles: Sequence[int]) -> list[float | None]:
    """By the nearest rank; None where there are no durations."""
    if len(durations_ns) == 0:
        return [None] * len(percentiles)
    return [float(each) / _MS_NS for each in np.percentile(durations_ns, percentiles, method="inverted_cdf")]


def _read(probe: ServerProbe | None) -> ServerReading | None:
    """A server that gives no counters for once is no reason to end a comparison."""
    try:
        return None if probe is None else probe.read()
    except LoadError:
        return None


def _cpu_ms_per_row(
    before: ServerReading | None, after: ServerReading | None, samples: Samples, rows: int
) -> float | None:
    """None where the server does not say, or others called it meanwhile."""
    if before is None or after is None:
        return None
    side = between(before, after, sent=len(samples.ended), mean_service_ms=0.0)
    return None if side.cpu_ms is None or not side.only_ours else side.cpu_ms / rows
