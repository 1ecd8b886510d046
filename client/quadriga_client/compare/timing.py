"""A block of timing: from a closed loop's samples and the server's counters to figures. Runs in the command's process.

The server's counters are read before the first request and after the last, never while time is taken: what reading them
costs the server is in no latency. CPU time per row is therefore of the whole block, with its begin, which the latencies
leave out. The page of all models, which costs the server more, is read outside of that again.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from quadriga_client.compare.latencies import kept
from quadriga_client.compare.neighbours import Neighbours, were_quiet
from quadriga_client.compare.standings import LEAST_FOR_P99, Block
from quadriga_client.load.arrivals import ClosedLoop
from quadriga_client.load.errors import LoadError
from quadriga_client.load.samples import Samples, Times
from quadriga_client.load.saturation import saturation
from quadriga_client.load.scheduling import Look, starvation_in
from quadriga_client.load.server_reading import ServerReading
from quadriga_client.load.server_side import ServerProbe, between
from quadriga_client.load.source import LoadSource
from quadriga_client.load.statistics.nearest_rank import percentile_of
from quadriga_client.load.status_codes import OK, counts_by_name

#: Of a block's length, what goes by before it counts: queues fill, and the caches of the cores.
SETTLING_SHARE: Final = 0.2
#: What a generator's lag, or its wait for a CPU, may be of the latency.
_LAG_SHARE: Final = 0.1
_S_NS: Final = 1e9
_MS_NS: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What times one contestant.

    Attributes:
        name: The contestant's.
        source: Of its load.
        probe: Of its server's counters; None where the server has none.
        neighbours: The other models of its server; None where the server does not tell of them.
        rows: Of a request.
    """

    name: str
    source: LoadSource
    probe: ServerProbe | None
    neighbours: Neighbours | None
    rows: int


class CpuTime(NamedTuple):
    """What a block cost the server.

    Attributes:
        ms_per_row: None where that is not known.
        requests: That it is of.
        shared: Whether it is not known because the server had other requests meanwhile, or may have had.
    """

    ms_per_row: float | None = None
    requests: int = 0
    shared: bool = False


def time_block(
    lane: Lane, concurrency: int, seconds: float, number: int, clock: Callable[[], int] = time.monotonic_ns
) -> Block:
    """Times a contestant.

    Args:
        lane: The contestant's.
        concurrency: Callers of the closed loop.
        seconds: That count, after the settling.
        number: The round's.
        clock: That of the samples, in ns.

    Raises:
        LoadError: The server cannot be reached (any more).
    """
    others_before = None if lane.neighbours is None else lane.neighbours.read()
    before = _read(lane.probe)
    run = lane.source.start(ClosedLoop(concurrency))
    begin_ns = run.started_ns + round(seconds * SETTLING_SHARE * _S_NS)
    end_ns = begin_ns + round(seconds * _S_NS)
    parts = [run.collect(begin_ns)]
    looks = [Look(clock(), run.scheduling())]
    parts.append(run.collect(end_ns))
    looks.append(Look(clock(), run.scheduling()))
    parts.append(run.finish())
    after = _read(lane.probe)
    others_after = None if lane.neighbours is None else lane.neighbours.read()
    samples = Samples.joined(parts)
    cpu = _cpu_time(before, after, samples, lane.rows, alone=were_quiet(others_before, others_after))
    counted = samples.where((samples.ended >= begin_ns) & (samples.ended < end_ns))
    latencies_ns = _latencies(counted)
    p99_ms = _percentile_ms(latencies_ns, 99)
    return Block(
        contestant=lane.name,
        round=number,
        seconds=seconds,
        requests=len(counted.ended),
        throughput=throughput_of(samples, begin_ns, end_ns),
        p50_ms=_percentile_ms(latencies_ns, 50),
        p99_ms=p99_ms if len(latencies_ns) >= LEAST_FOR_P99 else None,
        lag_p99_ms=_percentile_ms(counted.begun - counted.due, 99) or 0.0,
        saturated=_is_saturated(counted, looks),
        # Also those of its begin, and requests that were given up after its end.
        errors=counts_by_name(Counter(samples.codes[samples.codes != OK].tolist())),
        cpu_ms_per_row=cpu.ms_per_row,
        cpu_requests=cpu.requests,
        cpu_shared=cpu.shared,
        memory_bytes=None if after is None else after.facts.memory_bytes,
        latencies=kept(latencies_ns),
    )


def _is_saturated(counted: Samples, looks: Sequence[Look]) -> bool:
    """Whether the generator was the limit, by its lag or by what it got of the CPUs."""
    latencies_ns = _latencies(counted)
    late = saturation(
        lag_p99_ms=_percentile_ms(counted.begun - counted.due, 99) or 0.0,
        latency_p99_ms=_percentile_ms(latencies_ns, 99),
        lag_share=_LAG_SHARE,
        begun=len(counted.begun),
        due=0,  # in a closed loop nobody knows how many were
    )
    mean_ms = float(latencies_ns.mean()) / _MS_NS if len(latencies_ns) else None
    return (late or starvation_in(looks, latency_ms=mean_ms, lag_share=_LAG_SHARE)) is not None


def throughput_of(samples: Samples, begin_ns: int, end_ns: int) -> float:
    """Answers with OK per second in [begin, end), and on to the next request that ended.

    It is counted from one end of a request to another. Over the block's own length, a count of few is off by up to one:
    what takes 140 ms and what takes 160 ms both end once in a quarter of a second, or one of them twice.
    """
    ended = samples.ended[samples.ended >= begin_ns]
    if not (ended < end_ns).any():
        return 0.0
    answered = samples.ended[samples.codes == OK]
    beyond = ended[ended >= end_ns]
    first_ns = int(ended.min())
    if len(beyond):
        # Of requests that end together, as those of a batch do, all are counted or none.
        last_ns = int(beyond.min())
        count = int(((answered >= first_ns) & (answered < last_ns)).sum())
    else:
        last_ns = int(ended.max())
        count = int(((answered > first_ns) & (answered <= last_ns)).sum())
    return count / ((last_ns - first_ns) / _S_NS) if last_ns > first_ns else 0.0


def _latencies(samples: Samples) -> Times:
    answered = samples.where(samples.codes == OK)
    return answered.ended - answered.due


def _percentile_ms(durations_ns: Times, percentile: int) -> float | None:
    """None where there are no durations."""
    return percentile_of(durations_ns, percentile) / _MS_NS if len(durations_ns) else None


def _read(probe: ServerProbe | None) -> ServerReading | None:
    """A server that gives no counters for once is no reason to end a comparison."""
    try:
        return None if probe is None else probe.read()
    except LoadError:
        return None


def _cpu_time(
    before: ServerReading | None, after: ServerReading | None, samples: Samples, rows: int, *, alone: bool
) -> CpuTime:
    if before is None or after is None:
        return CpuTime()
    side = between(before, after, sent=len(samples.ended), mean_service_ms=0.0)
    if side.cpu_ms is None:
        return CpuTime()
    if not (alone and side.only_ours):
        return CpuTime(shared=True)
    return CpuTime(side.cpu_ms / rows, side.requests)
