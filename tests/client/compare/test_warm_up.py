"""Warm-ups over a simulated server: they end where windows agree, or where their time is over."""

from collections.abc import Callable

import pytest
from simulated_source import MS, SECOND, START, SimulatedServer, SimulatedSource, always

from quadriga_client.compare.warm_up import warm_up


def ever_slower() -> Callable[[int], int]:
    """By a fifth every quarter of a second."""
    return lambda since_start: round(MS * 1.2 ** min(since_start / (SECOND / 4), 100.0))


def test_it_ends_where_windows_agree() -> None:
    source = SimulatedSource(SimulatedServer(always(MS)))
    found = warm_up(source, 4, 5.0)
    assert (found.steady, found.cut, found.latency) == (True, False, 0.004)
    assert source.runs[0].finished == 1


def test_it_ends_where_windows_never_would_agree() -> None:
    found = warm_up(SimulatedSource(SimulatedServer(ever_slower())), 4, 60.0)
    assert (found.steady, found.cut) == (False, False)


@pytest.mark.parametrize("service", [150 * MS, 20 * SECOND])
def test_it_is_cut_when_its_time_is_over(service: int) -> None:
    """Windows wait for fifty answers, of which one that is slow has few: what is under way is waited for, no more."""
    source = SimulatedSource(SimulatedServer(always(service)))
    found = warm_up(source, 1, 2.0)
    assert (found.steady, found.cut, found.latency) == (False, True, service / SECOND)
    assert source.clock.now - START <= 2 * SECOND + service


def test_the_latency_is_that_of_its_later_half() -> None:
    source = SimulatedSource(SimulatedServer(lambda since_start: 500 * MS if since_start < SECOND else 10 * MS))
    assert warm_up(source, 1, 1.1).latency == 0.01


def test_one_that_answers_nothing_has_no_latency() -> None:
    assert warm_up(SimulatedSource(SimulatedServer(silent=True)), 2, 1.0).latency == 0.0
