"""The division of time: rounds of ABBA, drawn by lot."""

from collections import Counter

import pytest

from quadriga_client.compare.blocks import LEAST_BLOCK, LEAST_ROUNDS, MOST_ROUNDS, plan, schedule
from quadriga_client.compare.errors import CompareError


@pytest.mark.parametrize("contestants", [2, 3, 5])
def test_each_round_is_an_order_of_all_and_then_its_reverse(contestants: int) -> None:
    turns = schedule(contestants, rounds=8, seed=3)
    for number in range(8):
        order = [turn.contestant for turn in turns[2 * contestants * number : 2 * contestants * (number + 1)]]
        assert sorted(order[:contestants]) == list(range(contestants))
        assert order[contestants:] == order[:contestants][::-1]


def test_all_have_as_many_blocks_in_each_round() -> None:
    turns = schedule(3, rounds=7, seed=0)
    assert set(Counter((turn.round, turn.contestant) for turn in turns).values()) == {2}
    assert [turn.round for turn in turns] == sorted(turn.round for turn in turns)


def test_an_even_drift_falls_on_all_alike() -> None:
    """The mean place of a contestant's two blocks in a round is the same for all."""
    for turns in (schedule(4, rounds=1, seed=seed) for seed in range(20)):
        places = [[place for place, turn in enumerate(turns) if turn.contestant == each] for each in range(4)]
        assert {sum(both) for both in places} == {7}


def test_the_order_is_drawn_and_the_same_for_the_same_seed() -> None:
    assert schedule(3, 10, seed=1) == schedule(3, 10, seed=1)
    assert schedule(3, 10, seed=1) != schedule(3, 10, seed=2)
    firsts = Counter(schedule(2, 200, seed=5)[4 * number].contestant for number in range(200))
    assert min(firsts.values()) > 60  # a fair lot misses this once in 10^8


@pytest.mark.parametrize(
    ("contestants", "seconds", "rounds", "block"),
    [
        (2, 60.0, 15, 1.0),
        (4, 60.0, 7, 60 / 56),
        (2, 6.0, LEAST_ROUNDS, LEAST_BLOCK),
        (2, 400.0, MOST_ROUNDS, 5.0),
    ],
)
def test_time_is_divided_into_rounds_of_about_a_second_a_block(
    contestants: int, seconds: float, rounds: int, block: float
) -> None:
    found = plan(contestants, seconds)
    assert found.rounds == rounds
    assert found.block_seconds == pytest.approx(block)
    assert 2 * contestants * found.rounds * found.block_seconds == pytest.approx(seconds)


def test_too_little_time_is_refused_with_the_least_that_is_needed() -> None:
    with pytest.raises(CompareError, match=r"5 s are too few for 2 models: .* the shortest --duration is 6$"):
        plan(2, 5.0)
