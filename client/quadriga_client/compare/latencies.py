"""The latencies of a block, kept with it, and percentiles of several blocks' latencies together. Pure.

The percentile of a round is not the mean of its blocks' percentiles: where one of two blocks stalls, that mean is a
latency that hardly any request had. So a block keeps its latencies, as an HdrHistogram of
`load/statistics/histogram.py`, whose bins are at most 0.1 % wide: about a kilobyte in a report.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from quadriga_client.load.samples import Times
from quadriga_client.load.statistics.histogram import counts_in, distribution, longest_ns
from quadriga_client.load.statistics.nearest_rank import nearest_rank

_MS_NS: Final = 1e6


def kept(latencies_ns: Times) -> str:
    """Latencies, [n] in ns, as HdrHistogram's compressed encoding; empty where there are none."""
    return distribution(latencies_ns).histogram if len(latencies_ns) else ""


def percentile_together(histograms: Sequence[str], percentile: float, least: int = 1) -> float | None:
    """A percentile of all latencies of several blocks, in ms, by the nearest rank.

    Args:
        histograms: Of at least one block, as `kept` has them.
        percentile: From 0 to 100.
        least: Of so many latencies, of all blocks together.

    Returns:
        The upper end of the bin that holds it; None of fewer than `least`, and where a block has none: what it would
        have had, nobody knows, and the others' alone would be too good.

    Raises:
        LoadError: A histogram is damaged.
    """
    if not all(histograms):
        return None
    cumulative = np.cumsum(sum(map(counts_in, histograms)))
    total = int(cumulative[-1])
    if total < least:
        return None
    found = np.searchsorted(cumulative, nearest_rank(percentile, total))
    return float(longest_ns(found)) / _MS_NS
