"""Ratios of figures that took turns, and what is shown of many of them at a time. Pure.

A ratio is the geometric mean of those of the pairs (rounds, or seeds) without the lowest and the highest, so that one
wild round moves it little; its interval is K. K. Yuen's, Student's t for such a mean ("The Two-Sample Trimmed t for
Unequal Population Variances", Biometrika 61, 1974). Of fewer than five pairs, all count, and both are the usual ones.
Ranks and signs would not do: of six pairs they have no p-value below 1/32, and Holm's procedure asks for less.
Whether it lies above a bound, below it, or within it either way is tested so that one of the three at most is shown,
each where a two-sided interval would lie there as a whole (J. J. Goeman, A. Solari and T. Stijnen, "Three-sided
hypothesis testing", Statistics in Medicine 29, 2010). Of many such tests, S. Holm's step-down procedure keeps the
chance that any of them shows what is not so at 5 % ("A Simple Sequentially Rejective Multiple Test Procedure",
Scandinavian Journal of Statistics 6, 1979).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from scipy.special import stdtr, stdtrit  # type: ignore[import-untyped]

from quadriga_client.load.report import Interval

#: How often anything may be shown that is not so.
LEVEL: Final = 0.05
#: Pairs of which the lowest and the highest do not count; of fewer, too little would be left.
LEAST_TO_TRIM: Final = 5


class Relation(Enum):
    """How long something takes beside something else."""

    SLOWER = "slower"
    FASTER = "faster"
    ALIKE = "about as fast"
    UNDECIDED = "not decided"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times another's figures something's are.

    Attributes:
        mean: Of the logarithms of the pairs that count.
        error: The mean's standard error; None of one pair, which says nothing about another.
        pairs: How many count.
    """

    mean: float
    error: float | None
    pairs: int

    @property
    def value(self) -> float:
        """The geometric mean of the ratios of the pairs that count."""
        return math.exp(self.mean)

    @property
    def interval(self) -> Interval:
        """With its 95 % interval, for which no other ratio is allowed for."""
        if self.error is None:
            return Interval(value=self.value)
        reach = float(stdtrit(self.pairs - 1, 1 - LEVEL / 2)) * self.error
        return Interval(value=self.value, low=math.exp(self.mean - reach), high=math.exp(self.mean + reach))

    def evidence(self, bound: float) -> tuple[Relation, float]:
        """The relation that is nearest to being shown, and the p-value of the test that would show it.

        Args:
            bound: Within which, either way, two are alike; of 1 they never are.
        """
        if self.error is None:
            return Relation.UNDECIDED, 1.0
        edge = math.log(bound)
        over, under = self._not_over(edge), 1 - self._not_over(-edge)
        found = {
            Relation.SLOWER: over,
            Relation.FASTER: under,
            Relation.ALIKE: max(1 - over, 1 - under),
        }
        relation = min(found, key=lambda each: found[each])
        return relation, min(1.0, 2 * found[relation])

    def relation(self, bound: float) -> Relation:
        """What this ratio shows by itself, at 95 %."""
        relation, p_value = self.evidence(bound)
        return relation if p_value <= LEVEL else Relation.UNDECIDED

    def _not_over(self, edge: float) -> float:
        """How probable a mean as large as this is, or a larger one, where the true one is at the edge."""
        distance = self.mean - edge
        if not self.error:
            return 0.5 if distance == 0 else float(distance < 0)
        return float(stdtr(self.pairs - 1, -distance / self.error))


def ratio_of(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """How many times `below` `above` is, from pairs that were measured beside each other.

    Raises:
        ValueError: The lengths differ, there are no pairs, or a figure is not above 0.
    """
    if len(above) != len(below) or not above:
        raise ValueError(f"pairs of {len(above)} and {len(below)} figures")
    if min(*above, *below) <= 0:
        raise ValueError("a ratio of figures that are not above 0")
    logs = np.sort(np.log(above) - np.log(below))
    trimmed = int(len(logs) >= LEAST_TO_TRIM)
    counted = logs[trimmed : len(logs) - trimmed]
    pairs = len(counted)
    if pairs == 1:
        return Ratio(mean=float(counted[0]), error=None, pairs=1)
    # As Yuen has it: what is left out varies like the last that counts.
    winsorised = np.clip(logs, counted[0], counted[-1])
    squares = float(((winsorised - winsorised.mean()) ** 2).sum())
    return Ratio(mean=float(counted.mean()), error=math.sqrt(squares / (pairs * (pairs - 1))), pairs=pairs)


def shown(ratios: Iterable[Ratio], bound: float) -> dict[Ratio, Relation]:
    """What each of many ratios shows where all of them are asked at a time: Holm's procedure."""
    evidence = {ratio: ratio.evidence(bound) for ratio in ratios}
    found = dict.fromkeys(evidence, Relation.UNDECIDED)
    ascending = sorted(evidence.items(), key=lambda item: item[1][1])
    for left, (ratio, (relation, p_value)) in zip(range(len(ascending), 0, -1), ascending, strict=True):
        if p_value > LEVEL / left:
            break
        found[ratio] = relation
    return found
