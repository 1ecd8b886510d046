"""Percentiles of several blocks' latencies together, with known answers."""

import numpy as np
import pytest

from quadriga_client.compare.latencies import kept, percentile_together
from quadriga_client.load.errors import LoadError
from quadriga_client.load.statistics.nearest_rank import percentile_of

MS = 1_000_000


def of(*ms: float) -> str:
    return kept(np.array([each * MS for each in ms], np.int64))


def test_the_percentile_of_the_whole_is_not_the_mean_of_the_parts() -> None:
    """The parts' p99 are 10 ms and 100 ms, their mean 55 ms; of all 200, the 198th is one of the three of 100 ms."""
    calm, stalled = of(*[10.0] * 100), of(*[10.0] * 97, *[100.0] * 3)
    assert percentile_together([calm], 99) == pytest.approx(10.0, rel=0.001)
    assert percentile_together([stalled], 99) == pytest.approx(100.0, rel=0.001)
    assert percentile_together([calm, stalled], 99) == pytest.approx(100.0, rel=0.001)


def test_a_block_counts_by_its_requests() -> None:
    """The parts' medians are 10 ms and 40 ms; three in four requests are the first one's."""
    assert percentile_together([of(*[10.0] * 300), of(*[40.0] * 100)], 50) == pytest.approx(10.0, rel=0.001)


@pytest.mark.parametrize("percentile", [1, 50, 99])
def test_it_is_never_less_and_at_most_a_thousandth_more_than_exact(percentile: int) -> None:
    random = np.random.default_rng(0)
    parts = [random.lognormal(15, 1, count).astype(np.int64) for count in (100, 333)]
    exact = percentile_of(np.concatenate(parts), percentile) / MS
    found = percentile_together([kept(part) for part in parts], percentile)
    assert found is not None
    assert exact <= found <= exact * 1.001


@pytest.mark.parametrize(("counts", "known"), [((50, 50), True), ((50, 49), False), ((150, 0), False)])
def test_too_few_have_none_and_neither_has_a_block_without_any(counts: tuple[int, int], known: bool) -> None:
    assert (percentile_together([of(*[1.0] * count) for count in counts], 99, least=100) is not None) == known


def test_what_was_changed_by_hand_is_told() -> None:
    with pytest.raises(LoadError, match="a histogram is damaged"):
        percentile_together(["nonsense"], 50)
