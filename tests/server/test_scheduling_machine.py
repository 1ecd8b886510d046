"""Scheduling under whatever happens in whatever order: 100,000 steps, in which everything that was promised is checked.

The world is in `simulated_scheduling`: real queues, scheduler, answers, workers and slabs, a model of each promise, and
no clock. The steps are the same in each run; `make fuzz` takes others, and more.
"""

import logging
import os
import random
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from simulated_scheduling import SimulatedScheduling
from state_machines import Walks, machine_of

#: Steps at random, and how many hypothesis takes besides.
STEPS: Final = int(os.environ.get("QUADRIGA_FUZZ_STEPS", "100000"))
SEED: Final = random.SystemRandom().randrange(2**32) if "QUADRIGA_FUZZ_STEPS" in os.environ else 6
EXAMPLES: Final = max(STEPS // 1_000, 20)
STEPS_PER_EXAMPLE: Final = 100


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Hundreds of workers die."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_every_promise_holds_in_a_hundred_thousand_steps() -> None:
    walks = Walks(SimulatedScheduling, SEED)
    walks.take(STEPS)
    print(f"{walks.steps:,} steps in {walks.episodes:,} worlds from seed {SEED}")
    assert walks.steps >= STEPS


def test_hypothesis_finds_nothing_either() -> None:
    machine = machine_of(SimulatedScheduling)
    options = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS_PER_EXAMPLE,
        derandomize="QUADRIGA_FUZZ_STEPS" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=options)
    print(f"{machine.taken:,} steps by hypothesis")
    assert machine.taken >= EXAMPLES * STEPS_PER_EXAMPLE // 10
