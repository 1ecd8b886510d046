"""The timing of all contestants, block after block. Runs in the command's process."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from quadriga_client.compare.awake import Awake
from quadriga_client.compare.blocks import Plan, Turn, plan, schedule
from quadriga_client.compare.contestants import Contestant
from quadriga_client.compare.errors import CompareError
from quadriga_client.compare.names import callers
from quadriga_client.compare.standings import Block
from quadriga_client.compare.timing import Lane, time_block
from quadriga_client.compare.warm_up import Warmed, warm_up
from quadriga_client.errors import QuadrigaClientError


class Observer(Protocol):
    """Is told how a comparison goes."""

    def phase(self, text: str) -> None:
        """What is being done now."""

    def block(self, concurrency: int, block: Block, done: int, total: int) -> None:
        """A block is over; `done` of the level's `total` are."""

    def left(self, text: str) -> None:
        """Something of a server could not be put back as it was."""


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
        seconds: Of each level, of all contestants together.
        seed: Of the blocks' order.
        awake: Loads contestants.
        observer: Is told how it goes.
        hold: Is called when all is timed, or no more will be: from then on, nothing may interrupt.
    """

    contestants: Sequence[Contestant]
    lanes: Sequence[Lane]
    seconds: float
    seed: int
    awake: Awake
    observer: Observer
    hold: Callable[[], None] = lambda: None

    def run(self, concurrencies: Sequence[int]) -> Timed:
        """Times all at all levels; ends early with what there is on Ctrl-C, or when a server goes away."""
        timed = Timed()
        try:
            for index, concurrency in enumerate(concurrencies):
                self._level(concurrency, self.seed + index, timed)
        except KeyboardInterrupt:
            timed.interrupted = True
        except QuadrigaClientError as error:
            timed.error = str(error)
        finally:
            self.hold()
        for concurrency, blocks in timed.blocks.items():
            self._note_shared(concurrency, blocks, timed)
        return timed

    def _level(self, concurrency: int, seed: int, timed: Timed) -> None:
        blocks = timed.blocks[concurrency] = []
        bound = plan([0.0] * len(self.lanes), self.seconds).warm_up_seconds
        latencies = [self._warm(index, concurrency, bound, timed).latency for index in range(len(self.lanes))]
        planned = plan(latencies, self.seconds, concurrency)
        self._note_slow(concurrency, planned, timed)
        turns = schedule(len(self.contestants), planned.rounds, seed)
        for turn in turns:
            if self.awake.wake(self.contestants[turn.contestant]):
                self._warm(turn.contestant, concurrency, bound, timed)
            block = self._block(turn, concurrency, planned)
            blocks.append(block)
            self.observer.block(concurrency, block, len(blocks), len(turns))

    def _warm(self, index: int, concurrency: int, seconds: float, timed: Timed) -> Warmed:
        lane = self.lanes[index]
        self.awake.wake(self.contestants[index])
        self.observer.phase(f"warming up {lane.name} with {callers(concurrency)}")
        with _named(lane):
            warmed = warm_up(lane.source, concurrency, seconds)
        if warmed.cut:
            timed.note(
                f"the warm-up of {lane.name} with {callers(concurrency)} was cut after {seconds:g} s, before it was"
                " seen to be steady"
            )
        elif not warmed.steady:
            timed.note(f"{lane.name} was not steady after its warm-up with {callers(concurrency)}")
        return warmed

    def _block(self, turn: Turn, concurrency: int, planned: Plan) -> Block:
        lane = self.lanes[turn.contestant]
        self.observer.phase(f"timing {lane.name} with {callers(concurrency)}")
        with _named(lane):
            return time_block(lane, concurrency, planned.block_seconds[turn.contestant], turn.round)

    def _note_slow(self, concurrency: int, planned: Plan, timed: Timed) -> None:
        slow = [
            f"{lane.name}'s {seconds:.3g} s"
            for lane, seconds in zip(self.lanes, planned.block_seconds, strict=True)
            if seconds > planned.share
        ]
        if slow:
            timed.note(
                f"with {callers(concurrency)}, blocks are longer than the {planned.share:.3g} s of --duration, because"
                f" these would hold too few answers: {', '.join(slow)}"
            )

    def _note_shared(self, concurrency: int, blocks: Sequence[Block], timed: Timed) -> None:
        for lane in self.lanes:
            own = [block for block in blocks if block.contestant == lane.name]
            if shared := sum(block.cpu_shared for block in own):
                timed.note(
                    f"the CPU time of {lane.name} with {callers(concurrency)} is left out of {shared} of"
                    f" {len(own)} blocks: its server had other requests meanwhile, or may have had"
                )


@contextmanager
def _named(lane: Lane) -> Iterator[None]:
    """Says with which contestant it was that a load could not be made any more."""
    try:
        yield
    except QuadrigaClientError as error:
        raise CompareError(f"{lane.name} could not be timed any more: {error}") from error
