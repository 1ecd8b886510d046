"""Ratios of what took turns: intervals with known ends, what is shown about a bound, and of how many at a time."""

import math

import pytest
from study.ratios import Ratio, Relation, ratio_of, shown


def test_a_ratio_is_the_geometric_mean_of_the_pairs() -> None:
    ratio = ratio_of([2.0, 8.0], [1.0, 1.0])
    assert ratio.value == pytest.approx(4.0)
    assert ratio.pairs == 2


def test_an_interval_is_students() -> None:
    # Logarithms 0, 1 and 2: mean 1, standard error 1 / sqrt(3); t of 2 degrees of freedom at 97.5 % is 4.3027.
    interval = ratio_of([1.0, math.e, math.e**2], [1.0, 1.0, 1.0]).interval
    assert interval.low is not None
    assert interval.high is not None
    assert math.log(interval.low) == pytest.approx(1 - 4.3027 / math.sqrt(3), abs=1e-4)
    assert math.log(interval.high) == pytest.approx(1 + 4.3027 / math.sqrt(3), abs=1e-4)


def test_of_five_pairs_or_more_the_lowest_and_the_highest_do_not_count() -> None:
    # Logarithms 0 to 4: those that count are 1, 2 and 3; Winsorised, 1, 1, 2, 3 and 3 have a sum of squares of 4.
    ratio = ratio_of([math.exp(each) for each in (4, 0, 3, 1, 2)], [1.0] * 5)
    assert ratio.mean == pytest.approx(2.0)
    assert ratio.pairs == 3
    assert ratio.error == pytest.approx(math.sqrt(4 / (3 * 2)))
    assert ratio_of([math.exp(each) for each in (4, 0, 3, 1)], [1.0] * 4).pairs == 4


@pytest.mark.parametrize("wild", [109.0, 0.01])
def test_one_wild_round_of_six_hides_nothing(wild: float) -> None:
    ratio = ratio_of([wild, 2.0, 2.02, 1.98, 2.01, 1.99], [1.0] * 6)
    assert ratio.value == pytest.approx(2.0, rel=0.01)
    assert ratio.interval.low is not None
    assert ratio.interval.high is not None
    assert 1.9 < ratio.interval.low < ratio.interval.high < 2.1
    assert ratio.relation(1.25) is Relation.SLOWER


def test_two_wild_rounds_on_one_side_are_no_accident() -> None:
    ratio = ratio_of([109.0, 109.0, 2.02, 1.98, 2.01, 1.99], [1.0] * 6)
    assert ratio.relation(1.25) is Relation.UNDECIDED


def test_clear_ratios_of_six_rounds_are_shown_among_thirty() -> None:
    ratios = [ratio_of([3.0, 3.1 + each / 100, 2.9, 3.05, 2.95, 60.0], [1.0] * 6) for each in range(30)]
    assert set(shown(ratios, 1.25).values()) == {Relation.SLOWER}


def test_what_slows_both_of_a_pair_is_in_no_ratio() -> None:
    ratio = ratio_of([2.0, 200.0, 20.0], [1.0, 100.0, 10.0])
    assert ratio.value == pytest.approx(2.0)
    assert ratio.interval.low == pytest.approx(2.0)


def test_one_pair_has_a_ratio_and_shows_nothing() -> None:
    ratio = ratio_of([9.0], [1.0])
    assert ratio.interval.low is None
    assert ratio.relation(1.25) is Relation.UNDECIDED


@pytest.mark.parametrize(
    ("mean", "error", "expected"),
    [
        (2.0, 0.01, Relation.SLOWER),
        (0.5, 0.01, Relation.FASTER),
        (1.1, 0.01, Relation.ALIKE),
        (1.25, 0.01, Relation.UNDECIDED),
        (0.8, 0.01, Relation.UNDECIDED),
        (1.0, 0.5, Relation.UNDECIDED),
        (1.1, 0.0, Relation.ALIKE),
    ],
)
def test_a_relation_is_shown_where_the_whole_interval_is_there(mean: float, error: float, expected: Relation) -> None:
    assert Ratio(mean=math.log(mean), error=error, pairs=6).relation(1.25) is expected


def test_the_interval_and_the_test_agree() -> None:
    # Of six pairs, t of 5 degrees of freedom at 97.5 % is 2.5706.
    for reach, expected in ((2.56, Relation.UNDECIDED), (2.58, Relation.SLOWER)):
        ratio = Ratio(mean=math.log(1.25) + reach * 0.05, error=0.05, pairs=6)
        assert ratio.relation(1.25) is expected
        assert ratio.interval.low is not None
        assert (ratio.interval.low > 1.25) is (expected is Relation.SLOWER)


def test_a_bound_of_one_asks_for_a_difference() -> None:
    ratio = Ratio(mean=math.log(1.1), error=0.01, pairs=6)
    assert ratio.relation(1.0) is Relation.SLOWER
    assert Ratio(mean=0.0, error=0.01, pairs=6).relation(1.0) is Relation.UNDECIDED


def test_of_many_ratios_the_clearest_needs_the_most_and_the_next_less() -> None:
    def with_p(p_value: float) -> Ratio:
        """Two pairs have Cauchy's distribution, whose quantiles are tangents."""
        return Ratio(mean=1 / math.tan(math.pi * p_value / 2), error=1.0, pairs=2)

    ratios = {p_value: with_p(p_value) for p_value in (0.012, 0.016, 0.024, 0.04)}
    assert [ratio.evidence(1.0)[1] for ratio in ratios.values()] == pytest.approx(list(ratios))
    # Of four: 0.012 <= 0.05 / 4, 0.016 <= 0.05 / 3, 0.024 <= 0.05 / 2, 0.04 <= 0.05.
    assert set(shown(ratios.values(), 1.0).values()) == {Relation.SLOWER}
    ratios[0.02] = with_p(0.02)
    # Of five the first has to be below 0.01.
    assert set(shown(ratios.values(), 1.0).values()) == {Relation.UNDECIDED}
    assert ratios[0.02].relation(1.0) is Relation.SLOWER


def test_what_comes_after_one_that_is_not_shown_is_not_shown_either() -> None:
    clear, unclear = Ratio(mean=9.0, error=0.01, pairs=6), Ratio(mean=0.3, error=0.2, pairs=6)
    found = shown([unclear, clear], 1.0)
    assert (found[clear], found[unclear]) == (Relation.SLOWER, Relation.UNDECIDED)


@pytest.mark.parametrize(("above", "below"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0]), ([0.0], [1.0])])
def test_what_has_no_ratio_is_refused(above: list[float], below: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pairs of|not above 0"):
        ratio_of(above, below)
