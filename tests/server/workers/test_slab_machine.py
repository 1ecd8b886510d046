"""The slab under whatever both of its sides do: contents, sizes, states, descriptors, pins; also short of memory.

The world is in `simulated_slab`; see `test_scheduling_machine`.
"""

from simulated_slab import SimulatedSlab
from state_machines import SEED, STEPS, Walks, search


def test_both_sides_of_a_slab_agree_in_twenty_thousand_steps() -> None:
    walks = Walks(SimulatedSlab, SEED)
    walks.take(STEPS // 5)
    print(f"{walks.steps:,} steps on {walks.episodes:,} slabs from seed {SEED}")
    assert walks.steps >= STEPS // 5


def test_hypothesis_finds_nothing_either() -> None:
    steps = search(SimulatedSlab, examples=STEPS // 2_000)
    print(f"{steps:,} steps by hypothesis")
    assert steps >= STEPS // 200
