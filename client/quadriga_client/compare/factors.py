"""Ratios for people: how many times, and how far rounds follow the ones before. Pure."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from quadriga_client.load.formats.digits import digits
from quadriga_client.load.report import Interval

_USUAL_PLACES: Final = 2
_MOST_PLACES: Final = 6
#: The normal distribution's quantile.
_ONE_PER_CENT: Final = 2.326


def ratio_digits(*values: float) -> list[str]:
    """Ratios with as many digits as it takes to tell them from 1; a ratio that is 1 stays so."""
    for places in range(_USUAL_PLACES, _MOST_PLACES + 1):
        if all(value == 1 or float(f"{value:.{places}f}") != 1 for value in values):
            break
    return [digits(value) if places == _USUAL_PLACES else f"{value:.{places}f}" for value in values]


def times(ratio: Interval, of: str, *, more: bool) -> str:
    """A ratio in words, "1.97 times a's (1.92 to 2.03)"; where less is better, how many times lower it is.

    Args:
        ratio: With its interval.
        of: To whose figure.
        more: Whether more is better.

    Raises:
        ValueError: It has no interval.
    """
    if ratio.low is None or ratio.high is None:
        raise ValueError("a ratio without an interval says nothing")
    ends = (ratio.value, ratio.low, ratio.high)
    value, low, high = ratio_digits(*(ends if more else (1 / ends[0], 1 / ends[2], 1 / ends[1])))
    return f"{value} times {'' if more else 'lower than '}{of}'s ({low} to {high})"


def lag1(ratios: Sequence[float]) -> float | None:
    """The correlation of the ratios' logarithms with those one before; None of fewer than three, or all alike."""
    logs = np.log(np.asarray(ratios, np.float64))
    away = logs - logs.mean()
    spread = float(away @ away)
    if len(ratios) < 3 or spread <= 1e-18 * len(ratios):
        return None
    return float(away[:-1] @ away[1:]) / spread


def is_correlated(found: float | None, count: int) -> bool:
    """Whether a correlation of so many values is above what independent ones exceed once in a hundred times.

    R. L. Anderson, "Distribution of the Serial Correlation Coefficient", Annals of Mathematical Statistics 13, 1942.
    """
    return found is not None and count > 2 and found > (_ONE_PER_CENT * math.sqrt(count - 2) - 1) / (count - 1)
