"""Requests that are due and have not ended."""

import numpy as np
import pytest

from quadriga_client.load.arrivals import ClosedLoop, Constant
from quadriga_client.load.samples import Samples
from quadriga_client.load.statistics.accounts import under_way

SECOND = 1_000_000_000
START = 7 * SECOND


def samples(*requests: tuple[float, float]) -> Samples:
    """Of when they were due and ended, in seconds from the start."""
    due, ended = (np.array(each) for each in zip(*requests, strict=True))
    due, ended = (START + (each * SECOND).astype(np.int64) for each in (due, ended))
    return Samples(due, due, ended, np.zeros(len(due), np.uint8))


@pytest.mark.parametrize(("at", "left"), [(0.0, 0), (0.5, 0), (1.5, 1), (2.0, 1), (2.5, 2)])
def test_an_open_loop_knows_what_is_due(at: float, left: int) -> None:
    """One request a second; that of the first second has not ended."""
    seen = samples((0.0, 0.1))
    assert under_way(Constant(1.0), seen, START, START + round(at * SECOND)) == left


def test_a_callers_request_is_under_way_until_its_answer_is_there() -> None:
    seen = samples((0.0, 0.4), (0.0, 0.9), (0.4, 1.1), (1.1, 1.2))
    assert under_way(ClosedLoop(3), seen, START, START + SECOND) == 2
    assert under_way(ClosedLoop(3), samples((0.0, 0.4)), START, START + SECOND) == 3
    late = Samples.joined([seen, samples((0.9, 1.3), (0.0, 1.9))])
    assert under_way(ClosedLoop(3), late, START, START + SECOND) == 0
