"""Where windows agree: what ends a run's warm-up, and whether its measured windows stayed together. Pure.

Windows agree when neither their throughputs nor their p99 latencies lie further apart than the tolerance: the largest
exceeds the smallest by no more than that share. Noise alone keeps short windows apart, though: with Poisson arrivals
the throughput of 100 requests varies by 10 % from window to window, and their p99 rests on the two slowest. So where
windows hold fewer than `QUIET_REQUESTS`, groups of two and of four windows in a row are compared as well, as long as
the smaller groups hold fewer than that. A server that drifts or jumps does so in groups too.

Windows that agree, three in a row, end the warm-up and are nothing else. To report them would be to choose: one waits
for a quiet moment, and finds it, in a server that pauses every few seconds. So all windows after them are measured, as
many as were asked for beforehand, and each counts. They are steady by the same rule, with one thing more: nobody chose
them, so that noise alone may set one of a few apart. Where each window exceeds the others together by no more than the
tolerance and chance (`_SIGMAS` standard deviations) allow, the windows are steady as well. Slow requests come in
clusters where they queue, and chance makes more of them; how large such clusters are, the median window says, so that
a stall in one of them is no excuse for it. Nor is chance one for figures that rise or fall from window to window, as
they do where a queue grows: H. B. Mann, "Nonparametric Tests Against Trend", Econometrica 13, 1945.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from quadriga_client.load.statistics.correlation import correlation_time
from quadriga_client.load.statistics.nearest_rank import percentile_of
from quadriga_client.load.statistics.windows import Cut

#: A window's p99 then rests on twenty, and its throughput varies by 2 % with Poisson arrivals.
QUIET_REQUESTS: Final = 2000
_GROUPS: Final = (1, 2, 4)
_SIGMAS: Final = 2.5
#: Of Mann's test; five windows that all rise or all fall are above it, which they are once in 60 times by chance.
_TREND_SIGMAS: Final = 2.4
_P99: Final = 0.99
#: The percentile above which requests are slow, as far as clusters of them are concerned: those above p99 are too few.
_SLOW: Final = 95.0

Latencies = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """The rule.

    Attributes:
        agreeing: How many windows in a row, or groups of them, end the warm-up.
        tolerance: By which share the largest figure may exceed the smallest.
        least: Answers that a window, or a group of them, needs before it can agree with others.
    """

    agreeing: int
    tolerance: float
    least: int

    def settled(self, windows: Sequence[Cut]) -> bool:
        """Whether the last windows agree, so that a warm-up is over."""
        for size in _GROUPS:
            first = len(windows) - size * self.agreeing
            if first < 0:
                break
            groups = [Cut.joined(windows[start : start + size]) for start in range(first, len(windows), size)]
            if self._agree(groups):
                return True
            if _are_quiet(groups):
                break
        return False

    def steady(self, windows: Sequence[Cut]) -> bool:
        """Whether all of these, at least one, stay together: as they agree, or as far as chance lets them."""
        for groups in _groupings(windows):
            if self._agree(groups):
                return True
            if _are_quiet(groups):
                break
        if any(self._drift(figures) for figures in _figures(windows)):
            return False
        cluster = statistics.median(_cluster(cut.latencies_ns) for cut in windows)
        return all(self._differ_by_chance(groups, cluster) for groups in _groupings(windows))

    def silent(self, windows: Sequence[Cut]) -> bool:
        """Whether nothing was answered in the last windows, so that there is nothing to wait for."""
        last = windows[-self.agreeing :]
        return len(last) == self.agreeing and not any(len(cut.latencies_ns) for cut in last)

    def _agree(self, groups: Sequence[Cut]) -> bool:
        if any(len(group.latencies_ns) < self.least for group in groups):
            return False
        return all(max(figures) <= min(figures) * (1 + self.tolerance) for figures in _figures(groups))

    def _drift(self, figures: Sequence[float]) -> bool:
        """Whether figures rise or fall, one after the other, by more than the tolerance and chance."""
        count = len(figures)
        rises = sum((later > early) - (later < early) for early, later in combinations(figures, 2))
        spread = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
        return abs(rises) > _TREND_SIGMAS * spread and max(figures) > min(figures) * (1 + self.tolerance)

    def _differ_by_chance(self, groups: Sequence[Cut], cluster: float) -> bool:
        """Whether none is faster or slower than all others together by more than tolerance and chance."""
        for number, group in enumerate(groups):
            rest = [*groups[:number], *groups[number + 1 :]]
            if not rest:
                continue
            seconds = sum(each.seconds for each in rest)
            latencies = np.concatenate([each.latencies_ns for each in rest])
            if not (len(latencies) and len(group.latencies_ns)):
                return False
            mine, theirs = (len(group.latencies_ns), group.seconds), (len(latencies), seconds)
            if self._exceeds(mine, theirs) or self._exceeds(theirs, mine):
                return False
            (low, high), (other_low, other_high) = (
                _p99_ends(each, cluster) for each in (group.latencies_ns, latencies)
            )
            if low > other_high * (1 + self.tolerance) or other_low > high * (1 + self.tolerance):
                return False
        return True

    def _exceeds(self, one: tuple[int, float], other: tuple[int, float]) -> bool:
        """Whether one rate, a count in seconds, is above the other by more than tolerance and chance."""
        (count, seconds), (other_count, other_seconds) = one, other
        allowed = (1 + self.tolerance) / other_seconds
        spread = math.sqrt(count / seconds**2 + other_count * allowed**2)
        return count / seconds - other_count * allowed > _SIGMAS * spread


class Course:
    """A run's course: its warm-up, and then the windows that are measured.

    Attributes:
        windows: All that came.
        first: The number of the first that is measured; as many as there are windows while none is.
        settled: Whether windows agreed before; otherwise the warm-up only was long enough.
        silent: Whether the run ended because nothing was answered any more.
    """

    def __init__(self, agreement: Agreement, *, most: int, measured: int) -> None:
        """Begins with no windows.

        Args:
            agreement: The rule.
            most: Windows of the warm-up, whether or not they agree.
            measured: Windows after it.
        """
        self.windows: list[Cut] = []
        self.first = 0
        self.settled = self.silent = self._warm = False
        self._agreement = agreement
        self._most = most
        self._measured = measured

    @property
    def is_warm(self) -> bool:
        """Whether the next window is measured."""
        return self._warm

    @property
    def is_over(self) -> bool:
        """Whether there are to be no more windows."""
        return self.silent or self.is_complete

    @property
    def is_complete(self) -> bool:
        """Whether all windows were measured that were to be."""
        return self._warm and len(self.windows) - self.first >= self._measured

    @property
    def measured(self) -> Sequence[Cut]:
        """The windows that are."""
        return self.windows[self.first :]

    def is_steady(self, by_due: Sequence[Cut]) -> bool:
        """Whether the measured windows are all there, and stayed together.

        Args:
            by_due: The same windows with the latencies of what was due in each: what a stall at the end of the last
                one kept is in none of those that are cut by the ends of requests.
        """
        complete = self.is_complete and not self.silent
        return complete and all(map(self._agreement.steady, (self.measured, by_due)))

    def push(self, window: Cut) -> None:
        """Takes the next window."""
        self.windows.append(window)
        if self._agreement.silent(self.windows):
            self.silent = True
            if not self._warm:
                self.first = len(self.windows) - self._agreement.agreeing
        elif not self._warm:
            self.first = len(self.windows)
            self.settled = self._agreement.settled(self.windows)
            self._warm = self.settled or self.first >= self._most

    def break_off(self, part: Cut | None) -> None:
        """Ends it early, with the part of a window that there is; of a warm-up the last windows stand for the rest."""
        if part is not None:
            self.windows.append(part)
        if not self._warm or not self.measured:
            self.first = max(0, len(self.windows) - self._agreement.agreeing)


def _groupings(windows: Sequence[Cut]) -> Iterator[list[Cut]]:
    """All windows in groups of one, two and four, or a few more, of which there are two at least."""
    for size in _GROUPS:
        count = len(windows) // size
        if count >= 2 or size == 1:
            edges = [len(windows) * number // count for number in range(count + 1)]
            yield [Cut.joined(windows[begin:end]) for begin, end in pairwise(edges)]


def _figures(windows: Sequence[Cut]) -> tuple[list[float], list[float]]:
    """The figures by which windows are compared: their throughputs, and their p99 latencies."""
    return [cut.throughput for cut in windows], [cut.p99_ms or 0.0 for cut in windows]


def _cluster(latencies_ns: Latencies) -> float:
    """How many slow requests come together."""
    if len(latencies_ns) == 0:
        return 1.0
    return correlation_time(latencies_ns > percentile_of(latencies_ns, _SLOW))


def _p99_ends(latencies_ns: Latencies, cluster: float) -> tuple[float, float]:
    """Between what chance leaves the p99 of so many latencies; of few, nothing is too much for it."""
    count = len(latencies_ns)
    spread = _SIGMAS * math.sqrt(_P99 * (1 - _P99) * count * cluster)
    low, high = math.floor(_P99 * count - spread), math.ceil(_P99 * count + spread)
    ordered = np.sort(latencies_ns)
    return float(ordered[max(low, 1) - 1]), float(ordered[high - 1]) if high <= count else math.inf


def _are_quiet(groups: Sequence[Cut]) -> bool:
    return all(len(group.latencies_ns) >= QUIET_REQUESTS for group in groups)
