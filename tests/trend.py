"""Whether a series of samples grows: the line through it that single steps and outliers do not turn."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: Of a normal distribution, on both sides of which 2.5 % lie.
_NORMAL_95 = 1.96


class Trend(NamedTuple):
    """The slope of a line through samples, and the interval that holds the true one in 95 of 100 cases."""

    slope: float
    low: float
    high: float


def trend(at: Sequence[float], values: Sequence[float]) -> Trend:
    """Theil and Sen's estimate: the median of the slopes between all pairs of samples.

    An allocator takes memory in steps and keeps it, so that least squares would make much of the one step that lies
    at an end. The interval is Sen's own, by the distribution that Kendall's statistic has where nothing grows.

    Args:
        at: Where the samples were taken, ascending, at least 3.
        values: The samples.
    """
    x, y = np.asarray(at, np.float64), np.asarray(values, np.float64)
    first, second = np.triu_indices(len(x), 1)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    n, pairs = len(x), len(slopes)
    reach = _NORMAL_95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low, high = max(int((pairs - reach) / 2), 0), min(math.ceil((pairs + reach) / 2), pairs - 1)
    return Trend(float(np.median(slopes)), float(slopes[low]), float(slopes[high]))
