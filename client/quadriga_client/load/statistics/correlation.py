"""How far values in a row are alike, and how many independent ones they are worth. Pure.

Requests that queue behind each other are slow together. The mean of n such values varies as that of n / t independent
ones, where t = 1 + 2 (r1 + r2 + ...) is the sum of their autocorrelations, here called their correlation time. The sum
is taken up to a lag of five times what it has come to: beyond, there is only noise (A. Sokal, "Monte Carlo Methods in
Statistical Mechanics: Foundations and New Algorithms", 1997, section 3).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

_REACH: Final = 5.0
#: Of fewer values, no correlation is to be known.
_LEAST: Final = 8


def correlation_time(values: npt.NDArray[np.floating] | npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> float:
    """How many values in a row are worth one independent one: at least 1, at most as many as there are.

    Args:
        values: [n], in the order of time. Where all are equal, or there are few, none is like another.
    """
    count = len(values)
    apart = values - np.mean(values) if count else values
    if count < _LEAST or not np.any(apart):
        return 1.0
    # By the Wiener-Khinchin theorem; padded, so that the end does not meet the begin.
    spectrum = np.fft.rfft(apart, 2 ** (2 * count - 1).bit_length())
    covariances = np.fft.irfft(spectrum * spectrum.conj())[:count]
    times = 2 * np.cumsum(covariances / covariances[0]) - 1
    over = np.flatnonzero(np.arange(count) >= _REACH * times)
    return float(min(max(times[over[0]] if len(over) else count, 1.0), count))


def latency_correlation(latencies_ns: npt.NDArray[np.int64]) -> float:
    """The correlation time of latencies, [n], in the order in which they were due.

    That of their ranks: of the latencies themselves the few longest would say almost all, and next time others.
    """
    ordered = np.sort(latencies_ns)
    # Equal ones have the same rank, in the middle of theirs.
    ranks = np.searchsorted(ordered, latencies_ns, "left") + np.searchsorted(ordered, latencies_ns, "right")
    return correlation_time(ranks)
