"""Whether a backlog grows by more than chance allows."""

import numpy as np
import pytest

from quadriga_client.load.statistics.keeping_up import Account, keeps_up


@pytest.mark.parametrize(
    ("windows", "keeping"),
    [
        ([(1000, 1000)] * 5, True),
        ([(1000, 1010)] * 5, True),  # works off what was due before
        ([(1000, 965)] * 5, True),  # 140 of 5000 in the four that count: two roots of 5000 are 141
        ([(1000, 960)] * 5, False),
        ([(1000, 500)] * 5, False),
        ([(1000, 1000)] * 4 + [(1000, 600)], True),  # a pause at the end
        ([(1000, 600), (1000, 1400), *[(1000, 1000)] * 3], True),
        ([(1000, 600)], False),  # which nobody can tell from an overload in a single window
        ([(1000, 940)], True),
        ([(50, 45)] * 5, True),
        ([(50, 40)] * 5, False),
        ([(0, 0)] * 5, True),
    ],
)
def test_verdicts(windows: list[tuple[int, int]], keeping: bool) -> None:
    assert keeps_up([Account(*each) for each in windows]) is keeping


def test_a_queue_that_does_not_grow_is_told_from_one_that_does() -> None:
    """M/M/1 for five seconds at 1000 a second: at nine tenths of the load that it can bear, and ten percent above."""
    rng = np.random.default_rng(3)
    keeping = {0.9: 0, 1.1: 0}
    for load in keeping:
        for _ in range(100):
            due = np.cumsum(rng.exponential(1.0, 7000))
            services, ended, last = rng.exponential(load, 7000), np.empty(7000), 0.0
            for number, (at, service) in enumerate(zip(due, services, strict=True)):
                last = ended[number] = max(at, last) + service
            edges = 1000.0 + 1000.0 * np.arange(6)  # after a second of warm-up
            counts = zip(np.histogram(due, edges)[0], np.histogram(ended, edges)[0], strict=True)
            keeping[load] += keeps_up([Account(*each) for each in counts])
    assert keeping[0.9] >= 97
    assert keeping[1.1] <= 3
