"""How a comparison's time is divided: rounds of ABBA blocks, in an order that is drawn by lot. Pure.

In a round every contestant has two blocks: all of them in a random order, and then in the reverse of it. Whatever gets
slowly better or worse meanwhile (a clock that throttles, a neighbour on the machine) falls on all alike: where it
changes evenly, the mean of a contestant's two blocks is free of it (a counterbalanced order; Cochran and Cox,
Experimental Designs, 1957, chapter 4). The lot keeps what comes and goes with a period of its own from meeting the same
contestant each time.
"""

import random
from dataclasses import dataclass
from typing import Final

from quadriga_client.compare.errors import CompareError

#: A 95 % interval of a median needs six values: of fewer, even their whole range holds the median less often.
LEAST_ROUNDS: Final = 6
#: More time makes longer blocks then, whose p99 is of more requests.
MOST_ROUNDS: Final = 20
#: What rounds are made for, and the least that a block may have, in seconds.
USUAL_BLOCK: Final = 1.0
LEAST_BLOCK: Final = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """How one level of concurrency is timed.

    Attributes:
        rounds: How many.
        block_seconds: Of each of a contestant's two blocks in a round.
    """

    rounds: int
    block_seconds: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A contestant's block: its round, from 0, and its index."""

    round: int
    contestant: int


def plan(contestants: int, seconds: float) -> Plan:
    """Divides the timed seconds of a level.

    Raises:
        CompareError: They are too few for intervals.
    """
    pair = 2 * contestants
    rounds = min(max(int(seconds / (pair * USUAL_BLOCK)), LEAST_ROUNDS), MOST_ROUNDS)
    block_seconds = seconds / (pair * rounds)
    if block_seconds < LEAST_BLOCK:
        least = pair * LEAST_ROUNDS * LEAST_BLOCK
        raise CompareError(
            f"{seconds:g} s are too few for {contestants} models: with at least {LEAST_ROUNDS} rounds of two blocks of"
            f" {LEAST_BLOCK:g} s each, the shortest --duration is {least:g}"
        )
    return Plan(rounds=rounds, block_seconds=block_seconds)


def schedule(contestants: int, rounds: int, seed: int) -> tuple[Turn, ...]:
    """All blocks in their order; the same seed gives the same one."""
    lot = random.Random(seed)
    turns: list[Turn] = []
    for number in range(rounds):
        order = lot.sample(range(contestants), contestants)
        turns += [Turn(number, contestant) for contestant in (*order, *reversed(order))]
    return tuple(turns)
