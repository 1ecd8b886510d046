"""Bootstrap intervals on distributions that are known: how often they hold the truth, and where there are none."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from quadriga_client.load.histogram import distribution
from quadriga_client.load.intervals import (
    LEAST_BLOCKS,
    MOST_BLOCKS,
    block_count,
    blocks_of,
    mean_interval,
    median_interval,
    percentile_ranks,
    ratio_interval,
)

REPETITIONS = 100


def covered(low: float | None, high: float | None, truth: float) -> bool:
    assert low is not None
    assert high is not None
    return low <= truth <= high


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


def test_percentiles_of_independent_latencies_are_covered() -> None:
    rng = np.random.default_rng(1)
    truths = {50.0: math.log(2), 90.0: math.log(10), 99.0: math.log(100)}
    hits: dict[float, list[bool]] = {percentile: [] for percentile in truths}
    for seed in range(REPETITIONS):
        # In steps of 1/20, so that there are few bins and the test is quick.
        steps = np.ceil(rng.exponential(1.0, (20, 50)) * 20).astype(np.int64).clip(max=199)
        counts = np.stack([np.bincount(row, minlength=200) for row in steps])
        for ends, (percentile, truth) in zip(percentile_ranks(counts, list(truths), seed), truths.items(), strict=True):
            assert ends is not None
            hits[percentile].append(covered(*ends, math.ceil(truth * 20)))
    assert all(0.85 <= share(each) <= 0.995 for each in hits.values()), hits


def test_blocks_of_alike_latencies_have_intervals_as_wide_as_they_must_be() -> None:
    """Each block has its own level; resampling requests, as if they came from anywhere, trusts them far too much."""
    rng = np.random.default_rng(2)
    by_block: list[bool] = []
    by_request: list[bool] = []
    for seed in range(REPETITIONS):
        levels = rng.normal(0.0, 1.0, (20, 1)) + rng.normal(0.0, 0.3, (20, 50))
        steps = (levels * 10 + 50).round().astype(np.int64).clip(0, 99)
        torn = rng.permutation(steps.ravel()).reshape(20, 50)
        for hits, each in ((by_block, steps), (by_request, torn)):
            (ends,) = percentile_ranks(np.stack([np.bincount(row, minlength=100) for row in each]), [50.0], seed)
            assert ends is not None
            hits.append(covered(*ends, 50))
    assert 0.88 <= share(by_block) <= 0.995
    assert share(by_request) < 0.6


@pytest.mark.parametrize("blocks", [LEAST_BLOCKS, MOST_BLOCKS])
def test_means_are_covered(blocks: int) -> None:
    rng = np.random.default_rng(3)
    intervals = [mean_interval(rng.exponential(1.0, blocks), seed) for seed in range(REPETITIONS)]
    assert 0.88 <= share([covered(each.low, each.high, 1.0) for each in intervals]) <= 0.995


@pytest.mark.parametrize("count", [6, 12, 40])
def test_medians_are_covered(count: int) -> None:
    rng = np.random.default_rng(4)
    intervals = [median_interval(rng.normal(5.0, 1.0, count), seed) for seed in range(REPETITIONS)]
    assert 0.9 <= share([covered(each.low, each.high, 5.0) for each in intervals]) <= 1.0


def test_ratios_of_pairs_are_not_widened_by_what_both_suffer() -> None:
    rng = np.random.default_rng(5)
    slowness = rng.lognormal(0.0, 1.0, 20)  # of the machine, pair by pair
    a, b = 1.2 * slowness * rng.normal(1.0, 0.01, 20), slowness * rng.normal(1.0, 0.01, 20)
    found = ratio_interval(a, b)
    assert found.value == pytest.approx(1.2, rel=0.01)
    assert covered(found.low, found.high, 1.2)
    assert found.low is not None
    assert found.low > 1.15


def test_equal_figures_have_an_interval_of_no_width() -> None:
    assert median_interval([3.0] * 8).low == median_interval([3.0] * 8).high == 3.0
    assert mean_interval([3.0] * 8).low == mean_interval([3.0] * 8).high == 3.0


@pytest.mark.parametrize(("count", "given"), [(1, False), (5, False), (6, True)])
def test_a_median_of_few_figures_has_no_interval(count: int, given: bool) -> None:
    found = median_interval(list(range(count)))
    assert found.value == (count - 1) / 2
    assert (found.low is not None) is (found.high is not None) is given


@pytest.mark.parametrize(("count", "given"), [(1, False), (LEAST_BLOCKS - 1, False), (LEAST_BLOCKS, True)])
def test_a_mean_of_few_blocks_has_no_interval(count: int, given: bool) -> None:
    assert (mean_interval([1.0] * count).low is not None) is given


def test_seeds_decide() -> None:
    values = np.random.default_rng(6).normal(size=20)
    assert median_interval(values, 1) == median_interval(values, 1)
    assert mean_interval(values, 1) == mean_interval(values, 1) != mean_interval(values, 2)


@pytest.mark.parametrize(
    ("count", "given"),
    [
        (5, []),
        (71, [50.0, 90.0]),
        (72, [50.0, 90.0, 95.0]),
        (367, [50.0, 90.0, 95.0]),
        (368, [50.0, 90.0, 95.0, 99.0]),
        (3687, [50.0, 90.0, 95.0, 99.0]),
        (3688, [50.0, 90.0, 95.0, 99.0, 99.9]),
    ],
)
def test_a_percentile_of_few_requests_has_no_interval(count: int, given: list[float]) -> None:
    values = np.random.default_rng(7).integers(1000, 100_000, count)
    found = distribution(values, np.arange(count) % 10)
    assert [each.percentile for each in found.percentiles if each.ms.low is not None] == given


def test_few_blocks_give_no_interval_however_many_requests() -> None:
    values = np.random.default_rng(8).integers(1000, 100_000, 10_000)
    assert {each.ms.low for each in distribution(values, np.arange(10_000) % 7).percentiles} == {None}
    assert {each.ms.low for each in distribution(values).percentiles} == {None}


@pytest.mark.parametrize(
    ("seconds", "latency", "blocks"),
    [(3.0, 0.001, MOST_BLOCKS), (3.0, 0.1, MOST_BLOCKS), (3.0, 0.2, 15), (3.0, 0.5, 0), (3.0, 0.0, MOST_BLOCKS)],
)
def test_blocks_are_as_long_as_a_latency(seconds: float, latency: float, blocks: int) -> None:
    assert block_count(seconds, latency) == blocks


def test_blocks_are_of_equal_length() -> None:
    times: npt.NDArray[np.int64] = np.arange(1000, 2000)
    assert np.bincount(blocks_of(times, 1000, 2000, 10)).tolist() == [100] * 10


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [([1.0], [1.0, 2.0], "pairs of 1 and 2"), ([1.0, 2.0], [1.0, 0.0], "ratio to 0"), ([], [], "median of no values")],
)
def test_what_has_no_ratio_is_refused(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ratio_interval(a, b)
