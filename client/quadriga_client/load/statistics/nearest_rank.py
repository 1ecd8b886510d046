"""Percentiles by the nearest rank: the least value at or below which so many percent of all values lie. Pure.

It is always a value that was seen, and it is the same for values and for histograms of them.
"""

import numpy as np
import numpy.typing as npt


def nearest_rank(percentile: float, count: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The rank, from 1, of a percentile among so many values; of an array of counts: each one's."""
    # 99.9 % of 1000 is 999, and 999.0000000000001 in floats.
    return np.maximum(np.ceil(np.asarray(count) * percentile / 100 - 1e-6), 1).astype(np.int64)


def percentile_of(values: npt.NDArray[np.int64], percentile: float) -> int:
    """A percentile of values, [n], in any order, at least one."""
    position = int(nearest_rank(percentile, len(values))) - 1
    return int(np.partition(values, position)[position])
