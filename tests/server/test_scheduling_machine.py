"""Scheduling under whatever happens in whatever order: 100,000 steps, in which everything that was promised is checked.

The world is in `simulated_scheduling`: real queues, scheduler, answers, workers and slabs, a model of each promise, and
no clock. The steps are the same in each run; `make fuzz` takes others, and more.
"""

import logging
from collections.abc import Iterator

import pytest
from simulated_scheduling import SimulatedScheduling
from state_machines import SEED, STEPS, Walks, search


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Hundreds of workers die."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", range(4))
def test_every_promise_holds_in_a_hundred_thousand_steps(part: int) -> None:
    walks = Walks(SimulatedScheduling, SEED + part)
    walks.take(STEPS // 4)
    print(f"{walks.steps:,} steps in {walks.episodes:,} worlds from seed {SEED + part}")
    assert walks.steps >= STEPS // 4


def test_hypothesis_finds_nothing_either() -> None:
    steps = search(SimulatedScheduling, examples=STEPS // 500)
    print(f"{steps:,} steps by hypothesis")
    assert steps >= STEPS // 50
