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


def firsts(contestants: int, rounds: int, seed: int) -> list[int]:
    """Who is first in each round."""
    turns = schedule(contestants, rounds, seed)
    return [turns[2 * contestants * number].contestant for number in range(rounds)]


@pytest.mark.parametrize("contestants", [2, 3, 4, 7])
@pytest.mark.parametrize("rounds", [6, 7, 20])
def test_all_are_first_equally_often(contestants: int, rounds: int) -> None:
    for seed in range(20):
        counts = Counter(firsts(contestants, rounds, seed))
        often = [counts[contestant] for contestant in range(contestants)]
        assert max(often) - min(often) <= 1


def test_in_as_many_rounds_as_there_are_contestants_each_has_each_place() -> None:
    turns = schedule(4, 4, seed=2)
    places = {(turn.contestant, place % 8) for place, turn in enumerate(turns) if place % 8 < 4}
    assert len(places) == 16


def test_the_order_is_drawn_and_the_same_for_the_same_seed() -> None:
    assert schedule(3, 10, seed=1) == schedule(3, 10, seed=1)
    assert schedule(3, 10, seed=1) != schedule(3, 10, seed=2)
    assert {tuple(firsts(2, 6, seed)) for seed in range(50)} >= {(0, 1, 0, 1, 0, 1), (0, 1, 1, 0, 0, 1)}


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
    found = plan([0.001] * contestants, seconds)
    assert found.rounds == rounds
    assert found.share == pytest.approx(block)
    assert found.block_seconds == (found.share,) * contestants
    assert 2 * contestants * found.rounds * found.share == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("latencies", "seconds", "callers", "rounds", "blocks"),
    [
        ([0.001, 0.05], 60.0, 1, 12, (1.25, 1.5)),  # fewer rounds, and 30 requests of the slow one
        ([0.1, 0.1], 60.0, 1, 6, (3.0, 3.0)),  # 30 requests, longer than was asked for
        ([0.14, 0.16], 6.0, 1, 6, (4.2, 4.8)),
        ([0.14, 0.16], 60.0, 8, 6, (2.5, 2.5)),  # four of each caller are in that
        ([0.001, 2.0], 60.0, 8, 6, (2.5, 8.0)),  # and here they are not
    ],
)
def test_one_that_is_slow_gets_as_long_as_it_needs(
    latencies: list[float], seconds: float, callers: int, rounds: int, blocks: tuple[float, ...]
) -> None:
    found = plan(latencies, seconds, callers)
    assert found.rounds == rounds
    assert found.block_seconds == pytest.approx(blocks)


@pytest.mark.parametrize(("seconds", "most"), [(6.0, 1.0), (60.0, 4.0), (600.0, 5.0)])
def test_a_warm_up_is_bounded_by_the_blocks_it_is_for(seconds: float, most: float) -> None:
    assert plan([0.0] * 2, seconds).warm_up_seconds == pytest.approx(most)


def test_too_little_time_is_refused_with_the_least_that_is_needed() -> None:
    with pytest.raises(CompareError, match=r"5 s are too few for 2 models: .* the shortest --duration is 6$"):
        plan([0.0] * 2, 5.0)
