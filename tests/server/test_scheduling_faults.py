"""Whether the tests of scheduling can fail: each fault that is put into the real classes here has to be found.

Most show within some hundred steps; none may need more than the steps that are taken anyway. The faults are in
`scheduling_faults`.
"""

import logging
from collections.abc import Iterator
from typing import Any, Final

import pytest
from scheduling_faults import answers, batches, deadlines, limits, retries, slab
from scheduling_faults.table import Fault, Patch
from simulated_scheduling import SimulatedScheduling
from simulated_slab import SimulatedSlab
from state_machines import Walks

STEPS: Final = 100_000
SEED: Final = 6

SCHEDULING: Final = [fault for table in (answers, deadlines, batches, retries, limits) for fault in table.FAULTS]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("fault", SCHEDULING, ids=lambda fault: fault.__name__)
def test_a_fault_of_scheduling_is_found(fault: Fault, monkeypatch: Patch) -> None:
    expect_found(fault, SimulatedScheduling, monkeypatch)


@pytest.mark.parametrize("fault", slab.FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_slab_is_found(fault: Fault, monkeypatch: Patch) -> None:
    expect_found(fault, SimulatedSlab, monkeypatch)


def expect_found(fault: Fault, world: Any, monkeypatch: Patch) -> None:
    walks = Walks(world, SEED, shortens=False)
    with monkeypatch.context() as patch:
        fault(patch)
        with pytest.raises(Exception) as found:  # noqa: PT011 - whatever tells of it
            walks.take(STEPS)
    assert "episode" in found.value.__notes__[0]
    print(f"{fault.__name__}: found after {walks.steps} steps: {str(found.value)[:150]!r}")
