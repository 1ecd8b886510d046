"""How ratios are written, and whether rounds follow each other, with known answers."""

import random

import pytest

from quadriga_client.compare.factors import is_correlated, lag1, ratio_digits, times
from quadriga_client.load.report import Interval


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ((1.97,), ["1.97"]),
        ((33.333, 30.0, 41.7), ["33.3", "30.0", "41.7"]),
        ((1.004, 1.001, 1.02), ["1.004", "1.001", "1.020"]),
        ((0.9996, 0.9, 1.1), ["0.9996", "0.9000", "1.1000"]),
        ((1.0, 1.0, 1.0), ["1.00", "1.00", "1.00"]),
        ((1.00000001,), ["1.000000"]),
    ],
)
def test_a_ratio_has_the_digits_that_tell_it_from_one(values: tuple[float, ...], written: list[str]) -> None:
    assert ratio_digits(*values) == written


def test_where_less_is_better_it_is_said_how_many_times_lower() -> None:
    ratio = Interval(value=0.03, low=0.025, high=0.04)
    assert times(ratio, "a", more=False) == "33.3 times lower than a's (25.0 to 40.0)"
    assert times(Interval(value=2, low=1.5, high=2.5), "a", more=True) == "2.00 times a's (1.50 to 2.50)"
    with pytest.raises(ValueError, match="says nothing"):
        times(Interval(value=2), "a", more=True)


@pytest.mark.parametrize(
    ("ratios", "found"),
    [((1.0, 1.0, 1.0, 1.0), None), ((2.0, 3.0), None), ((2, 8, 2, 8), -0.75), ((2, 2, 8, 8), 0.25)],
)
def test_the_correlation_is_that_of_neighbouring_rounds(ratios: tuple[float, ...], found: float | None) -> None:
    assert lag1(ratios) == (None if found is None else pytest.approx(found))


@pytest.mark.parametrize("rounds", [6, 12, 20])
def test_independent_rounds_are_rarely_called_correlated(rounds: int) -> None:
    lot = random.Random(rounds)
    alarms = sum(is_correlated(lag1([lot.lognormvariate(0, 0.1) for _ in range(rounds)]), rounds) for _ in range(1000))
    assert alarms < 30


def test_rounds_that_drift_are_called_correlated() -> None:
    assert is_correlated(lag1([1.1**number for number in range(10)]), 10)
    assert not is_correlated(None, 10)
