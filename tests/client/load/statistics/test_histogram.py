"""Histograms against HdrHistogram's own recording and numpy's percentiles, merging, and damage."""

import base64
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hdrh.histogram import HdrHistogram

from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import PERCENTILES
from quadriga_client.load.statistics.histogram import HIGHEST_NS, bins_of, distribution, longest_ns, merged
from quadriga_client.load.statistics.nearest_rank import percentile_of


def durations(count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """From microseconds to seconds."""
    return np.random.default_rng(seed).lognormal(14.0, 1.5, count).astype(np.int64)


def empty() -> HdrHistogram:
    return HdrHistogram(1, HIGHEST_NS, 3)


def edges() -> npt.NDArray[np.int64]:
    """Around each power of two up to the limit, where bins change their width."""
    powers = 2 ** np.arange(42, dtype=np.int64)
    values = np.concatenate([[0, HIGHEST_NS - 1, HIGHEST_NS], *(powers + offset for offset in (-1, 0, 1))])
    return values[(values >= 0) & (values <= HIGHEST_NS)]


@pytest.mark.parametrize("values", [edges(), durations(2000)], ids=["edges", "latencies"])
def test_bins_are_those_of_hdrhistogram(values: npt.NDArray[np.int64]) -> None:
    histogram = empty()
    assert bins_of(values).tolist() == [histogram.get_counts_array_index(value) for value in values.tolist()]
    longest = [histogram.get_highest_equivalent_value(value) for value in values.tolist()]
    assert longest_ns(bins_of(values)).tolist() == longest


def test_the_encoding_is_that_of_values_recorded_one_by_one() -> None:
    values = durations(5000)
    histogram = empty()
    for value in values.tolist():
        histogram.record_value(value)
    assert distribution(values).histogram == histogram.encode().decode()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100, 1000, 20_000])
def test_percentiles_are_nearest_ranks_within_a_thousandth(count: int) -> None:
    values = durations(count, seed=count)
    found = distribution(values)
    for percentile in PERCENTILES:
        # In whole numbers: numpy's own method "inverted_cdf" takes rank 1000 for 99.9 % of 1000.
        rank_ns = int(np.sort(values)[-(-count * round(percentile * 10) // 1000) - 1])
        assert rank_ns <= found.percentile_ms(percentile) * 1e6 * (1 + 1e-12)
        assert found.percentile_ms(percentile) * 1e6 <= rank_ns * 1.001
        assert percentile_of(values, percentile) == rank_ns
    assert found.count == count
    assert found.mean_ms == pytest.approx(values.mean() / 1e6)
    assert found.max_ms == values.max() / 1e6


@pytest.mark.parametrize("percentile", PERCENTILES)
def test_percentiles_of_many_are_those_of_numpy(percentile: float) -> None:
    values = durations(200_000)
    expected_ms = np.percentile(values, percentile) / 1e6
    assert distribution(values).percentile_ms(percentile) == pytest.approx(expected_ms, rel=0.001)


def test_no_percentile_exceeds_the_largest_duration() -> None:
    found = distribution(np.full(10, 1_000_000_001))
    assert {each.ms.value for each in found.percentiles} == {found.max_ms} == {1000.000001}


def test_no_durations_are_a_distribution_too() -> None:
    found = distribution(np.empty(0, np.int64))
    assert (found.count, found.mean_ms, found.max_ms) == (0, 0.0, 0.0)
    assert [each.percentile for each in found.percentiles] == list(PERCENTILES)
    assert merged([found, found]) == found
    assert merged([]) == found


def test_durations_above_an_hour_count_as_an_hour_in_percentiles() -> None:
    found = distribution(np.array([1000, 2 * HIGHEST_NS]))
    assert found.percentile_ms(99.0) == pytest.approx(HIGHEST_NS / 1e6, rel=1e-3)
    assert found.max_ms == 2 * HIGHEST_NS / 1e6
    assert merged([found]).count == 2


def test_merging_is_the_histogram_of_all_durations() -> None:
    parts = [durations(3000, seed) for seed in range(3)]
    together = distribution(np.concatenate(parts))
    found = merged([distribution(part) for part in parts])
    assert found.histogram == together.histogram
    assert found.percentiles == together.percentiles
    assert (found.count, found.max_ms) == (together.count, together.max_ms)
    assert found.mean_ms == pytest.approx(together.mean_ms)


def test_merging_has_no_intervals() -> None:
    values = durations(4000)
    with_intervals = distribution(values, np.arange(4000) // 200)
    assert with_intervals.percentiles[0].ms.low is not None
    assert {each.ms.low for each in merged([with_intervals]).percentiles} == {None}


def test_intervals_hold_the_value_and_are_the_same_each_time() -> None:
    values, blocks = durations(4000), np.arange(4000) // 200
    found = distribution(values, blocks, seed=3)
    assert found == distribution(values, blocks, seed=3)
    assert found != distribution(values, blocks, seed=4)
    for each in found.percentiles:
        assert each.ms.low is not None
        assert each.ms.high is not None
        assert each.ms.low <= each.ms.value <= each.ms.high <= found.max_ms


def damaged(encoded: str) -> dict[str, str]:
    """Histograms that were hurt on the way."""
    data = base64.b64decode(encoded)
    flipped = bytearray(data)
    flipped[40] ^= 0xFF
    return {
        "empty": "",
        "no base64": "not a histogram",
        "no ASCII": "µ",
        "cut off": encoded[: len(encoded) // 8 * 4],
        "no header": base64.b64encode(b"1234").decode(),
        "foreign": base64.b64encode(b"\0" * 64).decode(),
        "flipped": base64.b64encode(flipped).decode(),
        "of another test": distribution(durations(11)).histogram,
    }


@pytest.mark.parametrize("damage", list(damaged(distribution(durations(10)).histogram)))
def test_a_damaged_histogram_is_refused(damage: str) -> None:
    whole = distribution(durations(10))
    with pytest.raises(LoadError, match=r"^a histogram is damaged.*; measure again$"):
        merged([whole, replace(whole, histogram=damaged(whole.histogram)[damage])])


def test_a_histogram_of_other_limits_is_refused() -> None:
    other = HdrHistogram(1000, 10_000_000, 2)
    other.record_value(5000)
    foreign = replace(distribution(durations(1)), histogram=other.encode().decode())
    with pytest.raises(LoadError, match="from 1000 to 10000000 with 2 significant digits cannot be merged"):
        merged([foreign])
