"""From blocks to medians, intervals and verdicts. Pure.

What counts is the round: a contestant's figure in a round is the mean of its two blocks, and its figure at a level the
median over rounds. Two contestants are compared round by round, by the ratio of their figures, so that a disturbance
that fell on a whole round is in neither ratio. A winner is named where the 95 % intervals of its ratios to each other
contestant leave out 1. Each verdict stands for itself: of twenty verdicts over equals, one may name a winner.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final, TypeAlias

from quadriga_client.compare.measures import MEASURES
from quadriga_client.compare.standings import Block, Level, Measure, Ratio, Standing, Verdict
from quadriga_client.load.intervals import LEAST_VALUES, median_interval, ratio_interval
from quadriga_client.load.report import Interval

#: From this share of saturated blocks on, a contestant's figures are taken for the generator's.
_MOST_SATURATED: Final = 0.5

#: By contestant's name its figure in each complete round; only those that have one in all.
Figures: TypeAlias = Mapping[str, Sequence[float]]


def level(names: Sequence[str], concurrency: int, blocks: Sequence[Block], seed: int) -> Level:
    """What one level's blocks come to.

    Args:
        names: The contestants'.
        concurrency: The level.
        blocks: In their order; rounds that are not complete are left out of all figures.
        seed: Of the intervals' resampling.
    """
    counted = _of_complete_rounds(names, blocks)
    figures = {measure: figures_of(names, counted, measure) for measure in MEASURES}
    standings = tuple(_standing(name, blocks, counted, figures, seed) for name in names)
    return Level(
        concurrency=concurrency,
        rounds=len({block.round for block in counted}),
        standings=standings,
        verdicts=tuple(verdict(measure, standings, figures[measure], seed) for measure in MEASURES),
        blocks=tuple(blocks),
    )


def figures_of(names: Sequence[str], blocks: Sequence[Block], measure: Measure) -> Figures:
    """Each contestant's figure by round; one that lacks a figure in some block, or has a 0, is left out."""
    figures: dict[str, list[float]] = {}
    for name in names:
        by_round: dict[int, list[float | None]] = {}
        for block in blocks:
            if block.contestant == name:
                by_round.setdefault(block.round, []).append(getattr(block, measure))
        values = [[value for value in pair if value] for pair in by_round.values()]
        if values and all(len(known) == len(pair) for known, pair in zip(values, by_round.values(), strict=True)):
            figures[name] = [fmean(known) for known in values]
    return figures


def verdict(measure: Measure, standings: Sequence[Standing], figures: Figures, seed: int) -> Verdict:
    """Who is best in one figure, if that is shown.

    Args:
        measure: The figure.
        standings: Of all contestants.
        figures: Of those that have any.
        seed: Of the intervals' resampling.
    """
    kind = MEASURES[measure]
    able = {standing.contestant for standing in standings if not standing.errors} & figures.keys()
    saturated = [standing.contestant for standing in standings if is_saturated(standing)] if kind.of_the_client else []
    left_out = _left_out(standings, figures)

    def undecided(why: str, ratios: tuple[Ratio, ...] = ()) -> Verdict:
        return Verdict(measure=measure, winner="", sentence=f"{why}{left_out}", ratios=ratios)

    if len(able) < 2:
        return undecided("nothing to compare")
    known = {name: values for name, values in figures.items() if name in able}
    rounds = len(next(iter(known.values())))
    if rounds < LEAST_VALUES:
        return undecided(f"no difference shown: {rounds} complete rounds are too few, {LEAST_VALUES} are needed")
    best = _best(known, more_is_better=kind.more_is_better, seed=seed)
    ratios = tuple(
        Ratio(contestant=best, to=name, ratio=ratio_interval(known[best], values, seed))
        for name, values in known.items()
        if name != best
    )
    if saturated:
        return undecided(f"no difference shown: the load generator was the limit with {', '.join(saturated)}", ratios)
    equals = [ratio.to for ratio in ratios if not excludes_one(ratio.ratio)]
    if equals:
        return undecided(f"no difference shown between {best} and {', '.join(equals)}", ratios)
    said = f"{best} has the {kind.best}: {_lead(ratios)}{left_out}"
    return Verdict(measure=measure, winner=best, sentence=said, ratios=ratios)


def _left_out(standings: Sequence[Standing], figures: Figures) -> str:
    """Who cannot win, and why, as the end of a sentence."""
    failed = [standing.contestant for standing in standings if standing.errors]
    missing = [each.contestant for each in standings if each.contestant not in (*figures, *failed)]
    return "".join(
        f"; left out {'is' if len(names) == 1 else 'are'} {', '.join(names)}, {why}"
        for names, why in ((failed, "whose requests failed"), (missing, "of which this is not known"))
        if names
    )


def is_saturated(standing: Standing) -> bool:
    """Whether its figures are rather the generator's."""
    return standing.saturated_blocks > _MOST_SATURATED * standing.blocks


def excludes_one(ratio: Interval) -> bool:
    """Whether an interval shows that there is a difference."""
    return ratio.low is not None and ratio.high is not None and (ratio.low > 1 or ratio.high < 1)


def _best(figures: Figures, *, more_is_better: bool, seed: int) -> str:
    medians = {name: median_interval(values, seed).value for name, values in figures.items()}
    return (max if more_is_better else min)(medians, key=lambda name: medians[name])


def _lead(ratios: Sequence[Ratio]) -> str:
    return ", ".join(
        f"{ratio.ratio.value:.2f} times {ratio.to}'s ({ratio.ratio.low:.2f} to {ratio.ratio.high:.2f})"
        for ratio in ratios
    )


def _of_complete_rounds(names: Sequence[str], blocks: Sequence[Block]) -> list[Block]:
    """The blocks of rounds in which every contestant had both of its own."""
    counts = Counter(block.round for block in blocks)
    return [block for block in blocks if counts[block.round] == 2 * len(names)]


def _standing(
    name: str, blocks: Sequence[Block], counted: Sequence[Block], figures: Mapping[Measure, Figures], seed: int
) -> Standing:
    """A contestant's figures of complete rounds; its errors are those of all blocks."""
    own = [block for block in counted if block.contestant == name]
    errors: Counter[str] = Counter()
    for block in blocks:
        if block.contestant == name:
            errors.update(block.errors)
    medians: dict[str, Interval | None] = {
        measure: median_interval(by_name[name], seed) if name in by_name else None
        for measure, by_name in figures.items()
    }
    return Standing(
        contestant=name,
        blocks=len(own),
        saturated_blocks=sum(block.saturated for block in own),
        errors=dict(errors),
        **medians,
    )
