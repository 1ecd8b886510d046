"""When a row is the generator's and not the server's."""

from pathlib import Path

import pytest

from quadriga_client.load.arrivals import ClosedLoop, Constant, OpenLoop, Poisson, Trace, schedule
from quadriga_client.load.saturation import due_between, saturation

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("lag", "latency", "begun", "due", "saturated"),
    [
        (0.0, 5.0, 1000, 1000, False),
        (0.5, 5.0, 1000, 1000, False),
        (0.51, 5.0, 1000, 1000, True),
        (0.09, 0.2, 1000, 1000, False),  # a wake-up, next to a short latency
        (0.11, 0.2, 1000, 1000, True),
        (0.0, 5.0, 969, 1000, False),  # 3 % short, and one request
        (0.0, 5.0, 968, 1000, True),
        (0.0, 5.0, 0, 1, False),  # which was begun just after the end
        (0.0, 5.0, 12, 0, False),  # a closed loop
        (0.0, None, 10, 1000, True),
        (9.0, None, 1000, 1000, False),  # no latency to compare with
    ],
)
def test_verdicts(lag: float, latency: float | None, begun: int, due: int, saturated: bool) -> None:
    sentence = saturation(lag_p99_ms=lag, latency_p99_ms=latency, lag_share=0.1, begun=begun, due=due)
    assert (sentence is not None) is saturated
    assert sentence is None or sentence.startswith("generator saturated: ")


@pytest.mark.parametrize(
    "arrivals", [Constant(3.0), Poisson(40.0, seed=5), Trace((0, SECOND // 3, SECOND), Path("trace.txt"))]
)
def test_what_is_due_is_counted_in_the_schedule(arrivals: OpenLoop) -> None:
    first = [due for due, _ in zip(schedule(arrivals), range(1000), strict=False)]
    begin, end = first[7], first[50]
    assert due_between(arrivals, begin, end) == len([due for due in first if begin <= due < end])
    assert due_between(arrivals, begin, begin) == 0


def test_nothing_is_due_in_a_closed_loop() -> None:
    assert due_between(ClosedLoop(8), 0, SECOND) == 0
