"""How a comparison's time is divided: rounds of ABBA blocks, in an order that is drawn by lot. Pure.

In a round every contestant has two blocks: all of them in an order, and then in the reverse of it. Whatever gets slowly
better or worse meanwhile (a clock that throttles, a neighbour on the machine) falls on all alike: where it changes
evenly, the mean of a contestant's two blocks is free of it (a counterbalanced order; Cochran and Cox, Experimental
Designs, 1957, chapter 4). A high percentile of both together is not quite: whose blocks are further apart spans more of
the drift, and the lot gives each its turn at that. The orders are rows of Latin squares, drawn by lot: of as many
rounds as there are contestants each is first in one, and what comes and goes with a period of its own does not meet the
same one each time.

A block is long enough to tell what it is to tell: it holds `BLOCK_REQUESTS` requests, and some of each caller's.
"""

import random
from collections.abc import Sequence
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
#: Requests of a block: of each caller where the time allows that, of all together in any case.
BLOCK_REQUESTS: Final = 30
#: Requests of each caller in a block, in any case: what is still queueing up at its begin is then a small part of it.
_CALLER_REQUESTS: Final = 4
#: A warm-up's bounds, in seconds, and in the blocks that follow it.
_LEAST_WARM_UP: Final = 1.0
_MOST_WARM_UP: Final = 5.0
_WARM_UP_BLOCKS: Final = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """How one level of concurrency is timed.

    Attributes:
        rounds: How many.
        share: Seconds of a block where all contestants have the same.
        block_seconds: Of each of a contestant's two blocks in a round, in the contestants' order; of one that is slow,
            more than its share.
    """

    rounds: int
    share: float
    block_seconds: tuple[float, ...]

    @property
    def warm_up_seconds(self) -> float:
        """The most that a warm-up may take, besides what is under way then."""
        return max(_LEAST_WARM_UP, min(_WARM_UP_BLOCKS * self.share, _MOST_WARM_UP))


@dataclass(frozen=True, slots=True)
class Turn:
    """A contestant's block: its round, from 0, and its index."""

    round: int
    contestant: int


def plan(latencies: Sequence[float], seconds: float, concurrency: int = 1) -> Plan:
    """Divides the timed seconds of a level.

    Args:
        latencies: The contestants' medians in seconds; 0 where nothing is known.
        seconds: To divide. Where they are too few for contestants as slow as that, the plan takes longer.
        concurrency: Callers.

    Raises:
        CompareError: They are too few for intervals.
    """
    pair = 2 * len(latencies)
    usual = 2 * sum(max(USUAL_BLOCK, BLOCK_REQUESTS * latency) for latency in latencies)
    rounds = min(max(int(seconds / usual), LEAST_ROUNDS), MOST_ROUNDS)
    share = seconds / (pair * rounds)
    if not share >= LEAST_BLOCK:
        least = pair * LEAST_ROUNDS * LEAST_BLOCK
        raise CompareError(
            f"{seconds:g} s are too few for {len(latencies)} models: with at least {LEAST_ROUNDS} rounds of two blocks"
            f" of {LEAST_BLOCK:g} s each, the shortest --duration is {least:g}"
        )
    requests = max(BLOCK_REQUESTS / concurrency, _CALLER_REQUESTS)
    return Plan(rounds, share, tuple(max(share, requests * latency) for latency in latencies))


def schedule(contestants: int, rounds: int, seed: int) -> tuple[Turn, ...]:
    """All blocks in their order; the same seed gives the same one."""
    lot = random.Random(seed)
    orders: list[list[int]] = []
    while len(orders) < rounds:
        row = lot.sample(range(contestants), contestants)
        orders += [row[shift:] + row[:shift] for shift in lot.sample(range(contestants), contestants)]
    turns: list[Turn] = []
    for number, order in enumerate(orders[:rounds]):
        turns += [Turn(number, contestant) for contestant in (*order, *reversed(order))]
    return tuple(turns)
