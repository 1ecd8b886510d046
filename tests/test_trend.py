"""The estimate of growth: a leak is seen through noise and steps, and what only looks like one is none."""

import numpy as np
from trend import trend

AT = [float(n) for n in range(0, 30_000, 1_000)]
NOISE = np.random.default_rng(0).normal(0, 50_000, len(AT))


def test_a_leak_is_seen_through_noise() -> None:
    found = trend(AT, [50e6 + 100 * at + noise for at, noise in zip(AT, NOISE, strict=True)])
    assert 90 < found.low < found.slope < found.high < 110


def test_noise_is_no_growth() -> None:
    found = trend(AT, [50e6 + noise for noise in NOISE])
    assert found.low < 0 < found.high
    assert abs(found.slope) * AT[-1] < 50_000


def test_one_step_is_no_growth_though_a_line_of_least_squares_rises() -> None:
    values = [50e6 if at < 26_000 else 52e6 for at in AT]
    assert np.polyfit(AT, values, 1)[0] > 20
    assert trend(AT, values) == (0, 0, 0)


def test_steps_that_go_on_are_growth() -> None:
    found = trend(AT, [50e6 + 1e6 * (at // 5_000) for at in AT])
    assert found.low > 100
