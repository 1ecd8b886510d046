"""Distributions of durations as HdrHistograms, and their merging. Pure.

A histogram holds ns with three significant digits, from 1 ns to `HIGHEST_NS`; what is longer counts as that. Each of
its bins is at most 0.1 % wide, and a percentile is the upper end of its bin, at most the largest duration: never less
than what was seen. Means and maxima are exact.
"""

import binascii
import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from hdrh.codec import HdrCookieException, HdrHistogramEncoder, HdrLengthException
from hdrh.histogram import HdrHistogram

from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import PERCENTILES, Distribution, Interval, Percentile
from quadriga_client.load.statistics.intervals import percentile_ranks
from quadriga_client.load.statistics.nearest_rank import nearest_rank

#: An hour.
HIGHEST_NS: Final = 3_600_000_000_000
_LOWEST_NS: Final = 1
_DIGITS: Final = 3
#: Values up to 2^11 ns have bins of their own; above, each doubling has 2^10 bins.
_HALF_BITS: Final = 10
_MS_NS: Final = 1e6

Integers = npt.NDArray[np.int64]


def distribution(
    durations_ns: Integers, blocks: Integers | None = None, *, seed: int = 0, correlation: float = 1.0
) -> Distribution:
    """What durations are like.

    Args:
        durations_ns: [n], in any order; none are below 0.
        blocks: [n], the block of time that each belongs to, from 0; without it there are no intervals.
        seed: Of the intervals' resampling.
        correlation: The durations' correlation time, see `intervals.py`.

    Returns:
        The distribution; of no durations: all figures 0, and `count` says that they mean nothing.
    """
    if len(durations_ns) == 0:
        return _of_bins(np.empty(0, np.int64), np.empty((0, 0), np.int64), mean_ns=0.0, max_ns=0)
    occupied, position = np.unique(bins_of(durations_ns), return_inverse=True)
    block_number = np.zeros_like(position) if blocks is None else blocks
    block_total = int(block_number.max()) + 1
    counts = np.bincount(block_number * len(occupied) + position, minlength=block_total * len(occupied))
    return _of_bins(
        occupied,
        counts.reshape(block_total, len(occupied)),
        mean_ns=float(durations_ns.mean()),
        max_ns=int(durations_ns.max()),
        seed=seed,
        correlation=correlation,
    )


def merged(distributions: Sequence[Distribution]) -> Distribution:
    """One distribution of all durations of several; without intervals, as nobody knows their blocks.

    Raises:
        LoadError: A histogram is damaged, or not one of these.
    """
    counts = sum((counts_of(each) for each in distributions), np.zeros(_bin_count(), np.int64))
    occupied = np.flatnonzero(counts)
    total = int(counts.sum())
    mean_ms = sum(each.mean_ms * each.count for each in distributions) / total if total else 0.0
    max_ms = max((each.max_ms for each in distributions), default=0.0)
    return _of_bins(occupied, counts[np.newaxis, occupied], mean_ns=mean_ms * _MS_NS, max_ns=round(max_ms * _MS_NS))


def counts_of(of: Distribution) -> Integers:
    """How many durations are in each bin, [bins].

    Raises:
        LoadError: The histogram is damaged, or not one of these.
    """
    counts = counts_in(of.histogram)
    if counts.sum() != of.count:
        raise LoadError(
            f"a histogram is damaged: it holds {counts.sum()} durations, where {of.count} were measured; measure again"
        )
    return counts


def counts_in(histogram: str) -> Integers:
    """How many durations are in each bin of an encoded histogram, [bins].

    Raises:
        LoadError: It is damaged, or not one of these.
    """
    try:
        header = HdrHistogramEncoder.decode(histogram).payload
        limits = (header.lowest_trackable_value, header.highest_trackable_value, header.significant_figures)
        if limits != (_LOWEST_NS, HIGHEST_NS, _DIGITS):
            raise LoadError(
                f"a histogram from {limits[0]} to {limits[1]} with {limits[2]} significant digits cannot be merged; "
                f"it takes one of ns from {_LOWEST_NS} to {HIGHEST_NS} with {_DIGITS}"
            )
        return np.array(HdrHistogram.decode(histogram).counts, np.int64)
    except (HdrCookieException, HdrLengthException, binascii.Error, zlib.error, ValueError, IndexError) as error:
        raise LoadError(f"a histogram is damaged ({str(error) or type(error).__name__}); measure again") from None


def bins_of(durations_ns: Integers) -> Integers:
    """The index of each duration's bin, as HdrHistogram has it; longer ones than `HIGHEST_NS` are in its bin."""
    clipped = np.clip(durations_ns, 0, HIGHEST_NS)
    # The exponent of a float is its bits before the point; whole numbers below 2^53 are exact in floats.
    bits = np.frexp(clipped.astype(np.float64))[1].astype(np.int64)
    doublings = np.maximum(bits - (_HALF_BITS + 1), 0)
    return (doublings << _HALF_BITS) + (clipped >> doublings)


def longest_ns(bins: Integers) -> Integers:
    """The longest duration that each bin holds."""
    doublings = np.maximum((bins >> _HALF_BITS) - 1, 0)
    longest: Integers = ((bins - (doublings << _HALF_BITS) + 1) << doublings) - 1
    return longest


def _of_bins(
    occupied: Integers, counts: Integers, *, mean_ns: float, max_ns: int, seed: int = 0, correlation: float = 1.0
) -> Distribution:
    """A distribution of the bins that hold something, [bins] in ascending order; counts are [blocks, bins]."""
    totals = counts.sum(axis=0)
    values = np.minimum(longest_ns(occupied), max_ns)
    histogram = _empty()
    for value, count in zip(longest_ns(occupied).tolist(), totals.tolist(), strict=True):
        histogram.record_value(value, count)
    return Distribution(
        count=int(totals.sum()),
        mean_ms=mean_ns / _MS_NS,
        max_ms=max_ns / _MS_NS,
        percentiles=_percentiles(values, counts, seed, correlation) if len(values) else _no_percentiles(),
        histogram=histogram.encode().decode("ascii"),
    )


def _percentiles(values: Integers, counts: Integers, seed: int, correlation: float) -> tuple[Percentile, ...]:
    cumulative = np.cumsum(counts.sum(axis=0))
    ranks = [int(nearest_rank(percentile, cumulative[-1])) for percentile in PERCENTILES]
    found = values[np.searchsorted(cumulative, ranks)] / _MS_NS
    percentiles = []
    ranks_of_ends = percentile_ranks(counts, PERCENTILES, seed, correlation)
    for percentile, value, ends in zip(PERCENTILES, found.tolist(), ranks_of_ends, strict=True):
        low, high = (None, None) if ends is None else (values[list(ends)] / _MS_NS).tolist()
        percentiles.append(Percentile(percentile=percentile, ms=Interval(value=value, low=low, high=high)))
    return tuple(percentiles)


def _no_percentiles() -> tuple[Percentile, ...]:
    return tuple(Percentile(percentile=percentile, ms=Interval(value=0.0)) for percentile in PERCENTILES)


def _empty() -> Any:  # noqa: ANN401
    return HdrHistogram(_LOWEST_NS, HIGHEST_NS, _DIGITS)


def _bin_count() -> int:
    return int(_empty().counts_len)
