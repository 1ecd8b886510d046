"""A row of what was seen of one level of load. Pure.

Latencies are those of requests that were due in the measured time, whenever they ended: requests that were still
waiting at its end are the slow ones. Throughput is what ended in it, whenever it was due.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from quadriga_client.load.arrivals import Arrivals, ClosedLoop, Constant, Poisson, Trace, due_times
from quadriga_client.load.report import Distribution, Interval, Row, ServerSide, Window
from quadriga_client.load.samples import Samples
from quadriga_client.load.saturation import due_between, saturation
from quadriga_client.load.scheduling import Look, starvation_in
from quadriga_client.load.statistics.agreement import Course
from quadriga_client.load.statistics.correlation import latency_correlation
from quadriga_client.load.statistics.histogram import distribution
from quadriga_client.load.statistics.intervals import block_count, blocks_of, mean_interval
from quadriga_client.load.statistics.keeping_up import Account, keeps_up
from quadriga_client.load.statistics.nearest_rank import percentile_of
from quadriga_client.load.statistics.notes import backlog_note, course_note, errors_note, lag_note, longest_note
from quadriga_client.load.statistics.windows import Cut
from quadriga_client.load.status_codes import DEADLINE_EXCEEDED, OK, counts_by_name

_MS_NS: Final = 1e6
_SECOND_NS: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a run showed.

    Attributes:
        arrivals: What was asked for.
        started_ns: When the run began.
        samples: All of its requests.
        course: Its windows, at least one.
        looks: At the generators, at the begin of the first measured window and at the ends of as many as are full.
        server: What the server told of the measured time.
        notes: What is to be said besides.
    """

    arrivals: Arrivals
    started_ns: int
    samples: Samples
    course: Course
    looks: Sequence[Look] = ()
    server: ServerSide | None = None
    notes: tuple[str, ...] = ()

    @property
    def begin_ns(self) -> int:
        """Of the measured time."""
        return self.course.measured[0].begin_ns

    @property
    def end_ns(self) -> int:
        """Of the measured time."""
        return self.course.measured[-1].end_ns

    @property
    def seconds(self) -> float:
        """Measured."""
        return (self.end_ns - self.begin_ns) / _SECOND_NS


def row_of(seen: Seen, *, rows_per_request: int, tolerance: float, lag_share: float, seed: int) -> Row:
    """The row of what was seen.

    Args:
        seen: By the measurement.
        rows_per_request: Of the input.
        tolerance: Within which windows had to stay.
        lag_share: What the generator's lag may be of the latency.
        seed: Of the intervals' resampling.
    """
    begin_ns, end_ns, samples = seen.begin_ns, seen.end_ns, seen.samples
    due = samples.where((samples.due >= begin_ns) & (samples.due < end_ns)).in_order()
    answered = due.where(due.codes == OK)
    correlation = latency_correlation(answered.ended - answered.due)
    blocks = _blocks(seen, answered, correlation)
    of_block = blocks_of(answered.due, begin_ns, end_ns, blocks) if blocks else None
    latency = distribution(answered.ended - answered.due, of_block, seed=seed, correlation=correlation)
    service = distribution(answered.ended - answered.begun, of_block, seed=seed, correlation=correlation)
    throughput = _throughput(seen, blocks, seed)
    lag_p99_ms = percentile_of(due.begun - due.due, 99.0) / _MS_NS if len(due.due) else 0.0
    saturated = _saturation(seen, latency, lag_p99_ms, lag_share)
    errors = counts_by_name(Counter(due.codes[due.codes != OK].tolist()))
    accounts = _accounts(seen)
    server_keeps_up = keeps_up(accounts) if accounts and saturated is None else None
    stable = seen.course.is_steady(_by_due(seen, answered))
    notes = (
        saturated or lag_note(lag_p99_ms, latency, lag_share),
        backlog_note(accounts) if server_keeps_up is False else None,
        course_note(seen.course, stable, tolerance),
        errors_note(latency, errors),
        longest_note(latency),
    )
    return Row(
        mode="closed" if isinstance(seen.arrivals, ClosedLoop) else "open",
        arrivals=_name(seen.arrivals),
        level=_level(seen.arrivals),
        seconds=seen.seconds,
        requests=len(due.due),
        throughput=throughput,
        rows_per_second=throughput.value * rows_per_request,
        latency=latency,
        service=service,
        lag_p99_ms=lag_p99_ms,
        errors=errors,
        stable=stable,
        saturated=saturated is not None,
        notes=(*(note for note in notes if note), *seen.notes),
        windows=tuple(window_of(cut, number >= seen.course.first) for number, cut in enumerate(seen.course.windows)),
        server=seen.server,
        keeps_up=server_keeps_up,
    )


def window_of(cut: Cut, measured: bool) -> Window:
    """A window as the report has it."""
    return Window(seconds=cut.seconds, throughput=cut.throughput, p99_ms=cut.p99_ms, measured=measured)


def _saturation(seen: Seen, latency: Distribution, lag_p99_ms: float, lag_share: float) -> str | None:
    """What shows that the row is the generator's, by its samples or by what it got of the CPUs."""
    samples, begin_ns, end_ns = seen.samples, seen.begin_ns, seen.end_ns
    return saturation(
        lag_p99_ms=lag_p99_ms,
        latency_p99_ms=latency.percentile_ms(99.0) if latency.count else None,
        lag_share=lag_share,
        begun=int(((samples.begun >= begin_ns) & (samples.begun < end_ns)).sum()),
        due=due_between(seen.arrivals, begin_ns - seen.started_ns, end_ns - seen.started_ns),
    ) or starvation_in(
        seen.looks,
        latency_ms=latency.mean_ms if latency.count else None,
        lag_share=lag_share,
        open_requests=0 if isinstance(seen.arrivals, ClosedLoop) else latency.count,
    )


def _blocks(seen: Seen, answered: Samples, correlation: float) -> int:
    """Into how many the measured time is cut for intervals."""
    median_ns = float(np.median(answered.ended - answered.due)) if len(answered.due) else 0.0
    return block_count(seen.seconds, median_ns / _SECOND_NS, len(answered.due) / correlation)


def _throughput(seen: Seen, blocks: int, seed: int) -> Interval:
    ended = seen.samples.ended[seen.samples.codes == OK]
    ended = ended[(ended >= seen.begin_ns) & (ended < seen.end_ns)]
    if not blocks:
        return Interval(value=len(ended) / seen.seconds)
    counts = np.bincount(blocks_of(ended, seen.begin_ns, seen.end_ns, blocks), minlength=blocks)
    return mean_interval(counts * (blocks / seen.seconds), seed)


def _by_due(seen: Seen, answered: Samples) -> list[Cut]:
    """The measured windows by what was due in them, instead of by what ended."""
    cuts, latencies_ns = seen.course.measured, answered.ended - answered.due
    edges = np.searchsorted(answered.due, [*(cut.begin_ns for cut in cuts), seen.end_ns]).tolist()
    return [
        Cut(cut.begin_ns, cut.end_ns, latencies_ns[begin:end])
        for cut, (begin, end) in zip(cuts, pairwise(edges), strict=True)
    ]


def _accounts(seen: Seen) -> list[Account]:
    """Of the measured windows; none in a closed loop, where nothing is due before its time."""
    if isinstance(seen.arrivals, ClosedLoop):
        return []
    cuts = seen.course.measured
    edges = np.array([*(cut.begin_ns for cut in cuts), seen.end_ns])
    due = due_times(seen.arrivals, seen.end_ns - seen.started_ns) + seen.started_ns
    answered = np.sort(seen.samples.ended[seen.samples.codes != DEADLINE_EXCEEDED])
    counts = (np.diff(np.searchsorted(times, edges)).tolist() for times in (due, answered))
    return [Account(*each) for each in zip(*counts, strict=True)]


def _name(arrivals: Arrivals) -> Literal["closed", "poisson", "constant", "trace"]:
    match arrivals:
        case ClosedLoop():
            return "closed"
        case Poisson():
            return "poisson"
        case Constant():
            return "constant"
        case Trace():
            return "trace"


def _level(arrivals: Arrivals) -> float:
    match arrivals:
        case ClosedLoop(concurrency=concurrency):
            return float(concurrency)
        case Poisson(rate=rate) | Constant(rate=rate):
            return rate
        case Trace(offsets_ns=offsets):
            return (len(offsets) - 1) * _SECOND_NS / (offsets[-1] - offsets[0])
