"""Correlation times of series whose truth is known."""

import numpy as np
import numpy.typing as npt
import pytest

from quadriga_client.load.statistics.correlation import correlation_time, latency_correlation


def autoregressive(phi: float, count: int, seed: int) -> npt.NDArray[np.floating]:
    """x[k] = phi x[k-1] + noise, whose correlation time is (1 + phi) / (1 - phi)."""
    noise = np.random.default_rng(seed).normal(size=count)
    values = np.empty(count)
    last = noise[0] / np.sqrt(1 - phi**2)
    for number in range(count):
        values[number] = last = phi * last + noise[number]
    return values


@pytest.mark.parametrize(("phi", "truth"), [(0.0, 1.0), (0.5, 3.0), (0.8, 9.0), (0.9, 19.0)])
def test_an_autoregressive_series(phi: float, truth: float) -> None:
    found = [correlation_time(autoregressive(phi, 20_000, seed)) for seed in range(5)]
    assert found == pytest.approx([truth] * 5, rel=0.25)


def test_what_is_in_blocks_of_equal_values_is_worth_one_each() -> None:
    """Such blocks of length n correlate by 1 - k / n at a lag of k, which sums up to n."""
    values = np.repeat(np.random.default_rng(1).normal(size=2000), 10)
    assert correlation_time(values) == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize("values", [[], [1.0], [5.0] * 1000, [0.0, 1.0] * 500, [1, 2, 3]])
def test_what_does_not_correlate_is_worth_itself(values: list[float]) -> None:
    assert correlation_time(np.asarray(values)) == 1.0


def test_truths_are_values_too() -> None:
    assert correlation_time(np.repeat(np.random.default_rng(2).random(4000) < 0.05, 20)) == pytest.approx(20, rel=0.3)


def test_a_trend_is_worth_very_little() -> None:
    assert correlation_time(np.arange(1000.0)) > 100


def test_equal_latencies_are_not_alike_in_the_order_in_which_they_came() -> None:
    assert latency_correlation(np.full(1000, 5, np.int64)) == 1.0
    assert latency_correlation(np.tile(np.array([5, 5, 7], np.int64), 500)) == 1.0


def test_the_ranks_of_latencies_count_and_not_how_long_the_longest_is() -> None:
    latencies = np.random.default_rng(3).permutation(5000).astype(np.int64)
    latencies[:2] = 10**15
    assert latency_correlation(latencies) < 1.3
    assert latency_correlation(np.sort(latencies)) > 500
