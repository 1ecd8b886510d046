"""Samples into windows, and where windows in a row agree: there the warm-up is over. Pure.

A window is a piece of time; what ended in it is in it. It is `window_seconds` long, and is lengthened by as much again
until `least_requests` ended in it, at most to `LONGEST` times that.

Windows agree when neither their throughputs nor their p99 latencies lie further apart than the tolerance: the largest
exceeds the smallest by no more than that share. Noise alone keeps short windows apart, though: with Poisson arrivals
the throughput of 100 requests varies by 10 % from window to window, and their p99 rests on the two slowest. So where
windows hold fewer than `QUIET_REQUESTS`, groups of two and of four windows in a row are compared as well, as long as
the smaller groups hold fewer than that. A server that drifts or jumps does so in groups too.

Three in a row end the warm-up, however early: a server that creeps by less than the tolerance in three windows is
taken for a steady one, and so is one that pauses just afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from quadriga_client.load.arrivals import Arrivals, ClosedLoop
from quadriga_client.load.nearest_rank import percentile_of
from quadriga_client.load.samples import OK, Samples

#: Of a window, where nothing else says how many; the p99 of fewer is little more than a guess.
LEAST_REQUESTS: Final = 50
#: A window's p99 then rests on twenty, and its throughput varies by 2 % with Poisson arrivals.
QUIET_REQUESTS: Final = 2000
#: Times the length that was asked for.
LONGEST: Final = 20
_GROUPS: Final = (1, 2, 4)
_SECOND_NS: Final = 1e9
_MS_NS: Final = 1e6


@dataclass(frozen=True, slots=True)
class Cut:
    """A window, and the latencies of what was answered in it.

    Attributes:
        begin_ns: Its begin.
        end_ns: Its end, where the next one begins.
        latencies_ns: [n], of those that were answered with OK.
    """

    begin_ns: int
    end_ns: int
    latencies_ns: npt.NDArray[np.int64]

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.begin_ns) / _SECOND_NS

    @property
    def throughput(self) -> float:
        """Answers with OK per second."""
        return len(self.latencies_ns) / self.seconds

    @property
    def p99_ms(self) -> float | None:
        """Of the latencies; None where there are none."""
        if len(self.latencies_ns) == 0:
            return None
        return percentile_of(self.latencies_ns, 99.0) / _MS_NS

    @classmethod
    def joined(cls, cuts: "Sequence[Cut]") -> "Cut":
        """Windows in a row as one."""
        return cls(cuts[0].begin_ns, cuts[-1].end_ns, np.concatenate([cut.latencies_ns for cut in cuts]))


def least_requests(arrivals: Arrivals) -> int:
    """How many requests a window is to hold: of a closed loop one per caller, so that it is a whole round of theirs."""
    return max(LEAST_REQUESTS, arrivals.concurrency if isinstance(arrivals, ClosedLoop) else 0)


class Cutter:
    """Cuts samples, which come piece by piece, into windows.

    Attributes:
        begin_ns: Of the window that is being filled.
        until_ns: How far that one has come.
    """

    def __init__(self, begin_ns: int, window_seconds: float, least: int) -> None:
        """Begins the first window.

        Args:
            begin_ns: Of the first.
            window_seconds: The least length of each.
            least: Requests that should end in each.
        """
        self.begin_ns = self.until_ns = begin_ns
        self._piece_ns = round(window_seconds * _SECOND_NS)
        self._least = least
        self._samples = Samples.none()

    @property
    def next_ns(self) -> int:
        """Until when samples are to be collected."""
        return self.until_ns + self._piece_ns

    @property
    def full(self) -> bool:
        """Whether the window is to be closed."""
        if self.until_ns - self.begin_ns < self._piece_ns:
            return False
        if self.until_ns - self.begin_ns >= LONGEST * self._piece_ns:
            return True
        return int((self._samples.ended < self.until_ns).sum()) >= self._least

    def add(self, samples: Samples, until_ns: int) -> None:
        """Takes what came until then, and perhaps a little of what ended later: that is for the next window."""
        self._samples = Samples.joined([self._samples, samples])
        self.until_ns = until_ns

    def close(self) -> Cut:
        """Ends the window, which must have some length; the next one begins there."""
        inside = self._samples.ended < self.until_ns
        answered = self._samples.where(inside & (self._samples.codes == OK))
        cut = Cut(self.begin_ns, self.until_ns, answered.ended - answered.due)
        self._samples = self._samples.where(~inside)
        self.begin_ns = self.until_ns
        return cut


class Verdict(Enum):
    """What is to be done after a window."""

    GO_ON = auto()
    AGREED = auto()
    #: No three in a row agreed, and there are to be no more.
    UNSTABLE = auto()
    #: Three in a row without one answer: nothing to wait for.
    SILENT = auto()


class Decision(NamedTuple):
    """A verdict, and the number of the first window that is to be measured, where the verdict ends the run."""

    verdict: Verdict
    first: int


class WarmUp:
    """Watches windows until enough in a row agree.

    Attributes:
        windows: All that came.
    """

    def __init__(self, *, agreeing: int, tolerance: float, most: int, least: int) -> None:
        """Begins with no windows.

        Args:
            agreeing: How many in a row.
            tolerance: By which share the largest figure may exceed the smallest.
            most: Windows; after as many, the run ends in any case.
            least: Answers that a window, or a group of them, needs before it can agree with others.
        """
        self.windows: list[Cut] = []
        self._agreeing = agreeing
        self._tolerance = tolerance
        self._most = most
        self._least = least

    def push(self, window: Cut) -> Decision:
        """Takes the next window."""
        self.windows.append(window)
        last = self.windows[-self._agreeing :]
        if len(last) == self._agreeing and not any(len(cut.latencies_ns) for cut in last):
            return Decision(Verdict.SILENT, len(self.windows) - self._agreeing)
        for size in _GROUPS:
            first = len(self.windows) - size * self._agreeing
            if first < 0:
                break
            starts = range(first, len(self.windows), size)
            groups = [Cut.joined(self.windows[start : start + size]) for start in starts]
            if self._agree(groups):
                return Decision(Verdict.AGREED, first)
            if all(len(group.latencies_ns) >= QUIET_REQUESTS for group in groups):
                break
        if len(self.windows) >= self._most:
            return Decision(Verdict.UNSTABLE, max(0, len(self.windows) - self._agreeing))
        return Decision(Verdict.GO_ON, 0)

    def _agree(self, groups: Sequence[Cut]) -> bool:
        if any(len(group.latencies_ns) < self._least for group in groups):
            return False
        p99s = [group.p99_ms or 0.0 for group in groups]
        throughputs = [group.throughput for group in groups]
        return all(max(figures) <= min(figures) * (1 + self._tolerance) for figures in (throughputs, p99s))
