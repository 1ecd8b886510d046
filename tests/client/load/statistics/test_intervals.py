"""Bootstrap intervals on distributions that are known: how often they hold the truth, and where there are none."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from quadriga_client.load.statistics.correlation import correlation_time, latency_correlation
from quadriga_client.load.statistics.histogram import distribution
from quadriga_client.load.statistics.intervals import (
    LEAST_BLOCKS,
    MOST_BLOCKS,
    block_count,
    blocks_of,
    least_requests,
    mean_interval,
    median_interval,
    percentile_ranks,
    ratio_interval,
)

REPETITIONS = 100

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


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


def queue(load: float, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """When the requests of an M/M/1 queue were due, in units of their mean gap, and how long each took."""
    gaps, services = rng.exponential(1.0, 2000 + count), rng.exponential(load, 2000 + count)
    walk = np.cumsum(services[:-1] - gaps[1:])  # by Lindley's recursion
    waits = np.append(0.0, walk - np.minimum(np.minimum.accumulate(walk), 0.0))
    return np.cumsum(gaps)[2000:], (waits + services)[2000:]


@pytest.mark.parametrize(("load", "count"), [(0.3, 2500), (0.6, 10_000), (0.8, 10_000)])
def test_percentiles_of_requests_that_queue_are_covered(load: float, count: int) -> None:
    """Their latencies are exponential with a mean of load / (1 - load), and the more alike the higher the load.

    They are counted in tenths of that mean, so that there are few bins and the test is quick.
    """
    rng = np.random.default_rng(9)
    hits: dict[float, list[bool]] = {}
    naive: list[bool] = []
    for seed in range(50):
        due, latencies = queue(load, count, rng)
        steps = np.ceil(latencies * 10 * (1 - load) / load).astype(np.int64)
        found, independent = intervals_of(due, steps, seed)
        for percentile, interval in found.items():
            truth = math.ceil(-math.log(1 - percentile / 100) * 10)
            if interval is not None:
                hits.setdefault(percentile, []).append(interval[0] <= truth <= interval[1])
            if percentile == 90.0:
                spread = 1.96 * math.sqrt(0.9 * 0.1 / count)
                low, high = np.quantile(steps, [0.9 - spread, 0.9 + spread])
                naive.append(bool(low <= truth <= high))
        assert independent < count / 1.5
    for percentile, each in hits.items():
        if len(each) >= 40:  # where the requests are nearly too few for it, it is those of a quiet time that have one
            assert 0.86 <= share(each) <= 1.0, percentile
    assert 90.0 in hits
    assert (99.0 in hits) is (load < 0.8)  # p99 needs some 70 times 368 requests there
    assert share(naive) < 0.9 if load > 0.5 else True


def intervals_of(due: Floats, latencies: Integers, seed: int) -> tuple[dict[float, tuple[int, int] | None], float]:
    """The intervals of percentiles, by blocks of time as rows have them; how many independent requests there are."""
    times = (due * 1e6).astype(np.int64)
    correlation = latency_correlation(latencies)
    blocks = block_count(float(due[-1] - due[0]), 1.0, len(due) / correlation)
    of_block = blocks_of(times, int(times[0]), int(times[-1]) + 1, blocks) if blocks else None
    found = distribution(latencies, of_block, seed=seed, correlation=correlation)
    ends = {
        each.percentile: None
        if each.ms.low is None or each.ms.high is None
        else (round(each.ms.low * 1e6), round(each.ms.high * 1e6))
        for each in found.percentiles
    }
    return ends, len(due) / correlation


def test_a_mean_of_an_autoregressive_series_is_covered_by_blocks_that_its_correlation_makes() -> None:
    """x[k] = 0.9 x[k-1] + noise: 4000 values are worth 210."""
    rng = np.random.default_rng(10)
    hits: list[bool] = []
    naive: list[bool] = []
    for seed in range(100):
        noise, values, last = rng.normal(size=4000), np.empty(4000), 0.0
        for number, step in enumerate(noise.tolist()):
            values[number] = last = 0.9 * last + step
        blocks = block_count(4000.0, 1.0, 4000 / correlation_time(values))
        means = [float(part.mean()) for part in np.array_split(values, blocks)]
        found = mean_interval(means, seed)
        hits.append(covered(found.low, found.high, 0.0))
        naive.append(bool(abs(values.mean()) <= 1.96 * values.std() / math.sqrt(4000)))
    assert 0.88 <= share(hits) <= 0.995
    assert share(naive) < 0.5


@pytest.mark.parametrize(
    ("percentile", "correlation", "requests"),
    [(50.0, 1.0, 6), (95.0, 1.0, 72), (99.0, 1.0, 368), (99.9, 1.0, 3688), (99.0, 3.0, 1840), (95.0, 1.5, 144)],
)
def test_how_many_requests_a_percentile_needs(percentile: float, correlation: float, requests: int) -> None:
    assert least_requests(percentile, correlation) == requests


def test_the_document_has_the_numbers_of_the_code() -> None:
    document = " ".join((Path(__file__).parents[4] / "docs/load.md").read_text().split())
    p95, p99, p999 = map(least_requests, (95.0, 99.0, 99.9))
    assert f"An interval of p95 needs {p95} independent requests, of p99 {p99} and of p99.9 {p999}" in document
    queue = least_requests(99.0, correlation=9.0)
    assert f"with t = 9, as where random arrivals take 60 % of a server's capacity, {queue} for p99" in document
    assert f"fewer than {['seven', 'eight', 'nine'][LEAST_BLOCKS - 7]} of them" in document


def test_correlated_requests_that_are_too_few_give_no_interval() -> None:
    values = np.random.default_rng(11).integers(1000, 100_000, 1839)
    for count, given in ((1839, False), (1840, True)):
        found = distribution(np.resize(values, count), np.arange(count) % 10, correlation=3.0)
        assert (found.percentiles[3].ms.low is not None) is given


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


@pytest.mark.parametrize(("independent", "blocks"), [(1000.0, MOST_BLOCKS), (100.0, 20), (40.0, 8), (39.0, 0)])
def test_blocks_are_longer_than_what_correlates(independent: float, blocks: int) -> None:
    assert block_count(3.0, 0.001, independent) == blocks


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
