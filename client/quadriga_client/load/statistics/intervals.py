"""95 % confidence intervals by the bootstrap, over blocks of time. Pure.

Latencies that follow each other are alike: a burst or a pause of the server hits many requests in a row. Resampling
single requests would take them for independent and give intervals that are too narrow, so whole blocks of time are
resampled (H. R. Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics
17, 1989). Of the resampled figures the percentile interval is taken (B. Efron and R. J. Tibshirani, "An Introduction
to the Bootstrap", 1993, chapter 13), a little expanded, because few blocks vary less among themselves than what they
were drawn from (T. Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69, 2015).

The few slowest requests decide a high percentile, and where a sample happens to lack them, resampling does not find
them either. So an interval reaches at least as far as the score interval of the percentile's rank does, for as many
independent requests as there are (E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
Journal of the American Statistical Association 22, 1927).

Where too little was seen, there is no interval:
- Blocks are as long as the median latency at least, and as `_BLOCK_CORRELATIONS` times what the latencies' correlation
  time (`correlation.py`) says are alike, so that requests that waited together are in one block or two; at most
  `MOST_BLOCKS` are made. Below `LEAST_BLOCKS` of them there is no interval.
- A percentile p needs n requests with p^n <= 2.5 %: otherwise even the largest of them lies below the percentile too
  often to be its upper limit (H. A. David and H. N. Nagaraja, "Order Statistics", 2003, section 7.1). That is 72 for
  p95, 368 for p99 and 3688 for p99.9. With a correlation time of t it needs 2 t - 1 times as many: t requests are
  worth one, and t itself is an estimate, too small just where a quiet time was seen, which is taken into account twice.
- A median needs `LEAST_VALUES` values, by the same rule on both sides.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from quadriga_client.load.report import Interval
from quadriga_client.load.statistics.nearest_rank import nearest_rank

MOST_BLOCKS: Final = 30
LEAST_BLOCKS: Final = 8
LEAST_VALUES: Final = 6
_RESAMPLES: Final = 1000
#: Correlation times in a block: blocks that are much longer are as good as independent.
_BLOCK_CORRELATIONS: Final = 5.0
#: What may lie outside on each side.
_TAIL: Final = 0.025

Counts = npt.NDArray[np.int64]
Figures: TypeAlias = Sequence[float] | npt.NDArray[np.floating]


def block_count(seconds: float, latency_seconds: float, independent: float = math.inf) -> int:
    """Into how many blocks a measured time is cut; 0: into none, there is no interval.

    Args:
        seconds: Measured.
        latency_seconds: The median.
        independent: How many independent requests those measured are worth: their number by their correlation time.
    """
    longest = seconds / latency_seconds if latency_seconds else math.inf
    count = int(min(MOST_BLOCKS, longest, independent / _BLOCK_CORRELATIONS))
    return count if count >= LEAST_BLOCKS else 0


def blocks_of(times_ns: Counts, begin_ns: int, end_ns: int, blocks: int) -> Counts:
    """The block of each time, [n], all of which lie in [begin, end)."""
    return (times_ns - begin_ns) * blocks // (end_ns - begin_ns)


def least_requests(percentile: float, correlation: float = 1.0) -> int:
    """How many requests a percentile's interval needs, see the module.

    Args:
        percentile: Between 0 and 100.
        correlation: The requests' correlation time, at least 1.
    """
    share = max(percentile, 100 - percentile) / 100
    return math.ceil(math.ceil(math.log(_TAIL) / math.log(share)) * (2 * correlation - 1))


def percentile_ranks(
    counts: Counts, percentiles: Sequence[float], seed: int = 0, correlation: float = 1.0
) -> tuple[tuple[int, int] | None, ...]:
    """Intervals of percentiles, as positions in a list of values.

    Args:
        counts: [blocks, values]: how often each value was seen in each block; values ascend.
        percentiles: Each between 0 and 100.
        seed: Of the resampling.
        correlation: The values' correlation time.

    Returns:
        For each percentile the positions of its interval's ends; None where too little was seen.
    """
    blocks, values = counts.shape
    requests = int(counts.sum())
    enough = [requests >= least_requests(percentile, correlation) for percentile in percentiles]
    if blocks < LEAST_BLOCKS or not any(enough):
        return (None,) * len(percentiles)
    # Sums of whole numbers below 2^53 are exact in floats, whose matrix product is the fast one.
    sums = np.cumsum(counts, axis=1)
    cumulative = _weights(blocks, seed).astype(np.float64) @ sums.astype(np.float64)
    totals = sums.sum(axis=0)
    ends: list[tuple[int, int] | None] = []
    for percentile, given in zip(percentiles, enough, strict=True):
        if not given:
            ends.append(None)
            continue
        ranks = nearest_rank(percentile, cumulative[:, -1])
        found = [row.searchsorted(rank) for row, rank in zip(cumulative, ranks, strict=True)]
        positions = np.minimum(found, values - 1)  # resampled blocks may be empty, all of them
        low, high = np.quantile(positions, _ends(blocks), method="nearest")
        shares = _score_interval(percentile / 100, requests / (2 * correlation - 1))
        least, most = (int(totals.searchsorted(nearest_rank(100 * share, requests))) for share in shares)
        ends.append((min(int(low), least), max(int(high), most)))
    return tuple(ends)


def mean_interval(values: Figures, seed: int = 0) -> Interval:
    """The mean of blocks' figures, such as their throughputs; no limits below `LEAST_BLOCKS` of them."""
    array = np.asarray(values, np.float64)
    mean = float(array.mean())
    if len(array) < LEAST_BLOCKS:
        return Interval(value=mean)
    low, high = np.quantile(_weights(len(array), seed) @ array / len(array), _ends(len(array)))
    return Interval(value=mean, low=float(low), high=float(high))


def median_interval(values: Figures, seed: int = 0) -> Interval:
    """The median of independent figures, such as those of blocks of a comparison.

    Args:
        values: At least one; there are no limits below `LEAST_VALUES`.
        seed: Of the resampling.

    Raises:
        ValueError: There are no values.
    """
    array = np.asarray(values, np.float64)
    if array.size == 0:
        raise ValueError("the median of no values")
    median = float(np.median(array))
    if len(array) < LEAST_VALUES:
        return Interval(value=median)
    drawn = np.random.default_rng(seed).integers(0, len(array), (_RESAMPLES, len(array)))
    low, high = np.quantile(np.median(array[drawn], axis=1), _ends(len(array)))
    return Interval(value=median, low=float(low), high=float(high))


def ratio_interval(a: Figures, b: Figures, seed: int = 0) -> Interval:
    """How many times b's figures a's are: the median of the pairs' ratios.

    Pairs are resampled, never torn apart: what slowed the machine down while a pair was measured is in both of it, and
    leaves its ratio alone.

    Args:
        a: One figure per pair.
        b: Likewise, none of them 0.
        seed: Of the resampling.

    Raises:
        ValueError: The lengths differ, there are no pairs, or one of b is 0.
    """
    above, below = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if above.shape != below.shape:
        raise ValueError(f"pairs of {len(above)} and {len(below)} figures")
    if not below.all():
        raise ValueError("a ratio to 0")
    return median_interval(above / below, seed)


def _score_interval(share: float, count: float) -> tuple[float, float]:
    """Between which shares of all values a percentile may lie, that a share of so many independent ones is below."""
    z = -NormalDist().inv_cdf(_TAIL)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return middle - reach, middle + reach


def _weights(blocks: int, seed: int) -> Counts:
    """How often each block is drawn, [resamples, blocks]."""
    return np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), _RESAMPLES)


def _ends(count: int) -> tuple[float, float]:
    """Where the interval ends among the resampled figures, as shares; Hesterberg's expanded percentile interval."""
    freedom = count - 1
    z = -NormalDist().inv_cdf(_TAIL)
    # Student's t by its Cornish-Fisher expansion: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5.
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    tail = NormalDist().cdf(-t * math.sqrt(count / freedom))
    return tail, 1 - tail
