"""From blocks to medians, intervals and verdicts. Pure.

What counts is the round: a contestant's throughput in a round is the mean of its two blocks, a percentile is that of
the latencies of both together, CPU time that of both over the rows of both; its figure at a level is the median over
rounds. Two contestants are compared round by round, by the
ratio of their figures, so that a disturbance that fell on a whole round is in neither ratio.

A winner is who is better than each other by the 95 % intervals of its ratios: all of them leave out 1, on the good
side. To be named, one that is no better has to win against the best one by chance, which happens once in 40 times; that
it is compared with others as well makes it rarer. Across figures and levels nothing is corrected: each verdict stands
for itself.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final, TypeAlias

from quadriga_client.compare.factors import is_correlated, lag1, times
from quadriga_client.compare.latencies import percentile_together
from quadriga_client.compare.measures import MEASURES, Kind
from quadriga_client.compare.standings import LEAST_FOR_P99, Block, Level, Measure, Ratio, Standing, Verdict
from quadriga_client.load.report import Interval
from quadriga_client.load.statistics.intervals import LEAST_VALUES, median_interval, ratio_interval

#: From this share of saturated blocks on, a contestant's figures are taken for the generator's.
_MOST_SATURATED: Final = 0.5
#: What the percentiles of a round are, and of how many answers they are at least.
_PERCENTILES: Final[Mapping[Measure, tuple[float, int]]] = {"p50_ms": (50, 1), "p99_ms": (99, LEAST_FOR_P99)}

#: By contestant's name its figure by complete round; only of those, and of rounds, in which it is known.
Figures: TypeAlias = Mapping[str, Mapping[int, float]]


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
    """Each contestant's figure by round; rounds in which it lacks one in some block are left out."""
    figures: dict[str, dict[int, float]] = {}
    for name in names:
        by_round: dict[int, list[Block]] = {}
        for block in blocks:
            if block.contestant == name:
                by_round.setdefault(block.round, []).append(block)
        values = {number: _together(both, measure) for number, both in by_round.items()}
        known = {number: value for number, value in values.items() if value is not None}
        if known:
            figures[name] = known
    return figures


def _together(blocks: Sequence[Block], measure: Measure) -> float | None:
    """The figure of a round's blocks; None where it is not known of all."""
    if measure in _PERCENTILES:
        return percentile_together([block.latencies for block in blocks], *_PERCENTILES[measure])
    values = [value for block in blocks if (value := getattr(block, measure)) is not None]
    if len(values) < len(blocks):
        return None
    requests = [block.cpu_requests for block in blocks]
    weights = requests if measure == "cpu_ms_per_row" and any(requests) else None
    return fmean(values, weights)


def verdict(measure: Measure, standings: Sequence[Standing], figures: Figures, seed: int) -> Verdict:
    """Who is best in one figure, if that is shown.

    Args:
        measure: The figure.
        standings: Of all contestants.
        figures: Of those that have any.
        seed: Of the intervals' resampling.
    """
    kind = MEASURES[measure]
    unable = _unable(measure, standings, figures)
    left_out = _left_out(unable)
    able = [standing.contestant for standing in standings if standing.contestant not in unable]

    def undecided(why: str, ratios: tuple[Ratio, ...] = ()) -> Verdict:
        return Verdict(measure=measure, winner="", sentence=f"{why}{left_out}", ratios=ratios)

    if len(able) < 2:
        return undecided("nothing to compare")
    rounds = sorted(set.intersection(*(set(figures[name]) for name in able)))
    if len(rounds) < LEAST_VALUES:
        return undecided(f"no difference shown: {len(rounds)} complete rounds are too few, {LEAST_VALUES} are needed")
    known = {name: [figures[name][number] for number in rounds] for name in able}
    ratios = max((ratios_of(name, known, seed) for name in able), key=lambda each: _rank(each, kind))
    best = ratios[0].contestant
    saturated = [standing.contestant for standing in standings if is_saturated(standing)] if kind.of_the_client else []
    if saturated:
        return undecided(f"no difference shown: the load generator was the limit with {', '.join(saturated)}", ratios)
    if equals := [ratio.to for ratio in ratios if not _better(ratio, kind)]:
        return undecided(f"no difference shown between {best} and {', '.join(equals)}", ratios)
    leads = ", ".join(times(ratio.ratio, ratio.to, more=kind.more_is_better) for ratio in ratios)
    said = f"{best} has the {kind.best}: {leads}{_follows(ratios)}{left_out}"
    return Verdict(measure=measure, winner=best, sentence=said, ratios=ratios)


def ratios_of(name: str, known: Mapping[str, Sequence[float]], seed: int) -> tuple[Ratio, ...]:
    """A contestant's figures over each other's.

    Args:
        name: The contestant's.
        known: By name, figures of the same rounds, none of them 0.
        seed: Of the intervals' resampling.
    """
    found = []
    for other, values in known.items():
        if other != name:
            follows = lag1([mine / other_s for mine, other_s in zip(known[name], values, strict=True)])
            ratio = ratio_interval(known[name], values, seed)
            correlated = is_correlated(follows, len(values))
            found.append(Ratio(contestant=name, to=other, ratio=ratio, lag1=follows, correlated=correlated))
    return tuple(found)


def _rank(ratios: Sequence[Ratio], kind: Kind) -> tuple[int, int]:
    """How many others one is shown to be better than, and how many it is ahead of; who beats all has the highest."""
    return sum(_better(ratio, kind) for ratio in ratios), sum(_ahead(ratio, kind) for ratio in ratios)


def _ahead(ratio: Ratio, kind: Kind) -> bool:
    return ratio.ratio.value > 1 if kind.more_is_better else ratio.ratio.value < 1


def _better(ratio: Ratio, kind: Kind) -> bool:
    return excludes_one(ratio.ratio) and _ahead(ratio, kind)


def _follows(ratios: Sequence[Ratio]) -> str:
    """A warning of intervals that are too narrow, as the end of a sentence."""
    named = [f"{ratio.to} ({ratio.lag1:.2f})" for ratio in ratios if ratio.correlated]
    if not named:
        return ""
    return f"; round follows round in the ratio to {', '.join(named)}, so that the interval is too narrow"


def _unable(measure: Measure, standings: Sequence[Standing], figures: Figures) -> dict[str, str]:
    """Who cannot be compared, by name, and why."""
    found: dict[str, str] = {}
    most = max(map(len, figures.values()), default=0)
    for standing in standings:
        known = figures.get(standing.contestant, {})
        if standing.errors:
            found[standing.contestant] = "whose requests failed"
        elif not known:
            few = measure == "p99_ms" and standing.p50_ms is not None
            why = f"with too few requests for p99: a round has fewer than {LEAST_FOR_P99}"
            found[standing.contestant] = why if few else "of which this is not known"
        elif not all(known.values()):
            found[standing.contestant] = "of which this is 0 in some rounds"
        elif len(known) < LEAST_VALUES <= most:
            found[standing.contestant] = f"of which this is known in {len(known)} rounds alone"
    return found


def _left_out(unable: Mapping[str, str]) -> str:
    """Who cannot win, and why, as the end of a sentence."""
    by_reason: dict[str, list[str]] = {}
    for name, why in unable.items():
        by_reason.setdefault(why, []).append(name)
    return "".join(
        f"; left out {'is' if len(names) == 1 else 'are'} {', '.join(names)}, {why}" for why, names in by_reason.items()
    )


def is_saturated(standing: Standing) -> bool:
    """Whether its figures are rather the generator's."""
    return standing.saturated_blocks > _MOST_SATURATED * standing.blocks


def excludes_one(ratio: Interval) -> bool:
    """Whether an interval shows that there is a difference."""
    return ratio.low is not None and ratio.high is not None and (ratio.low > 1 or ratio.high < 1)


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
        measure: median_interval(list(by_name[name].values()), seed) if name in by_name else None
        for measure, by_name in figures.items()
    }
    return Standing(
        contestant=name,
        blocks=len(own),
        saturated_blocks=sum(block.saturated for block in own),
        errors=dict(errors),
        **medians,
    )
