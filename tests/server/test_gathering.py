"""Calls gather while many are refused, and only then; on a clock that stands where it is put."""

import pytest

from quadriga.transports.gathering import GATHER_SECONDS, MOST_SINGLE_REFUSALS, Gathering
from quadriga.units import SECOND_NS

START_NS = 7 * 3600 * SECOND_NS
TENTH_NS = SECOND_NS // 10


@pytest.mark.parametrize(
    ("per_second", "seconds"),
    [(0, 0.0), (MOST_SINGLE_REFUSALS // 2, 0.0), (MOST_SINGLE_REFUSALS * 2, GATHER_SECONDS)],
)
def test_calls_gather_from_a_rate_of_refusals_on(per_second: int, seconds: float) -> None:
    gathering = Gathering()
    assert gathering.seconds(START_NS, 0) == 0.0
    assert gathering.seconds(START_NS + TENTH_NS, per_second // 10) == seconds


def test_the_first_refusals_of_an_idle_server_are_told_one_by_one() -> None:
    gathering = Gathering()
    gathering.seconds(START_NS, 0)
    assert gathering.seconds(START_NS + 60 * SECOND_NS, MOST_SINGLE_REFUSALS) == 0.0


def test_calls_do_not_gather_any_more_once_it_is_over() -> None:
    gathering = Gathering()
    many = MOST_SINGLE_REFUSALS
    gathering.seconds(START_NS, 0)
    assert gathering.seconds(START_NS + TENTH_NS, many) == GATHER_SECONDS
    assert gathering.seconds(START_NS + TENTH_NS + 1, many) == GATHER_SECONDS, "too soon to tell"
    assert gathering.seconds(START_NS + 2 * TENTH_NS, many) == 0.0
