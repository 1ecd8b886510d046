"""Samples into windows. Pure.

A window is a piece of time; what ended in it is in it. It is `window_seconds` long, and is lengthened by as much again
until `least_requests` ended in it, at most to `LONGEST` times that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from quadriga_client.load.arrivals import Arrivals, ClosedLoop
from quadriga_client.load.samples import Samples
from quadriga_client.load.statistics.nearest_rank import percentile_of
from quadriga_client.load.status_codes import OK

#: Of a window, where nothing else says how many; the p99 of fewer is little more than a guess.
LEAST_REQUESTS: Final = 50
#: Times the length that was asked for.
LONGEST: Final = 20
_SECOND_NS: Final = 1e9
_MS_NS: Final = 1e6


@dataclass(frozen=True, slots=True)
class Cut:
    """A window, and the latencies of what was answered in it.

    Attributes:
        begin_ns: Its begin.
        end_ns: Its end, where the next one begins.
        latencies_ns: [n], of those that were answered with OK, in the order of their ends.
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
        latencies_ns = (answered.ended - answered.due)[np.argsort(answered.ended, kind="stable")]
        cut = Cut(self.begin_ns, self.until_ns, latencies_ns)
        self._samples = self._samples.where(~inside)
        self.begin_ns = self.until_ns
        return cut
