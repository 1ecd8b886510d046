"""The timing of all contestants, block after block. Runs in the command's process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from quadriga_client.compare.awake import Awake
from quadriga_client.compare.blocks import Plan, Turn, schedule
from quadriga_client.compare.contestants import Contestant
from quadriga_client.compare.standings import Block
from quadriga_client.compare.timing import Lane, time_block, warm_up
from quadriga_client.errors import QuadrigaClientError
from quadriga_client.load.measurement import Interrupted


class Observer(Protocol):
    """Is told how a comparison goes."""

    def phase(self, text: str) -> None:
        """What is being done now."""

    def block(self, concurrency: int, block: Block, done: int, total: int) -> None:
        """A block is over; `done` of all levels' `total` are."""


@dataclass(slots=True)
class Timed:
    """What was timed until now.

    Attributes:
        blocks: By concurrency, in their order.
        notes: What a reader must know, in sentences.
        interrupted: Whether the user ended it early.
        error: What else did; empty where nothing did.
    """

    blocks: dict[int, list[Block]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
    error: str = ""

    def note(self, text: str) -> None:
        """Adds a note, once."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Who is timed, and how.

    Attributes:
        contestants: All.
        lanes: Theirs, in the same order.
        plan: How each level is divided.
        seed: Of the blocks' order.
        awake: Loads contestants.
        observer: Is told how it goes.
    """

    contestants: Sequence[Contestant]
    lanes: Sequence[Lane]
    plan: Plan
    seed: int
    awake: Awake
    observer: Observer

    def run(self, concurrencies: Sequence[int]) -> Timed:
        """Times all at all levels; ends early with what there is on Ctrl-C, or when a server goes away."""
        timed = Timed()
        total = 2 * self.plan.rounds * len(self.contestants) * len(concurrencies)
        try:
            for index, concurrency in enumerate(concurrencies):
                turns = schedule(len(self.contestants), self.plan.rounds, self.seed + index)
                self._level(concurrency, turns, timed, total)
        except (KeyboardInterrupt, Interrupted):
            timed.interrupted = True
        except QuadrigaClientError as error:
            timed.error = str(error)
        return timed

    def _level(self, concurrency: int, turns: Sequence[Turn], timed: Timed, total: int) -> None:
        timed.blocks[concurrency] = []
        warm: set[int] = set()
        for turn in turns:
            lane = self.lanes[turn.contestant]
            if self.awake.wake(self.contestants[turn.contestant]):
                warm.discard(turn.contestant)
            if turn.contestant not in warm:
                self.observer.phase(f"warming up {lane.name} with {concurrency} callers")
                if not warm_up(lane, concurrency):
                    timed.note(f"{lane.name} was not steady after its warm-up with {concurrency} callers")
                warm.add(turn.contestant)
            self.observer.phase(f"timing {lane.name} with {concurrency} callers")
            block = time_block(lane, concurrency, self.plan.block_seconds, turn.round)
            timed.blocks[concurrency].append(block)
            self.observer.block(concurrency, block, sum(map(len, timed.blocks.values())), total)
