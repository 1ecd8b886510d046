"""The timing of all contestants over simulated servers, and its early ends."""

from dataclasses import dataclass, field

from simulated_source import MS, SECOND, SimulatedServer, SimulatedSource, always

from quadriga_client.compare.blocks import Plan, schedule
from quadriga_client.compare.contest import Contest
from quadriga_client.compare.contestants import Contestant
from quadriga_client.compare.errors import CompareError
from quadriga_client.compare.standings import Block
from quadriga_client.compare.timing import Lane

CONTESTANTS = tuple(Contestant(name=name, model=name, version="", url="127.0.0.1:8001") for name in "ab")
PLAN = Plan(rounds=6, block_seconds=1.0)


@dataclass
class Waking:
    """An `Awake` that remembers; every change of the contestant is a load where `one` is set."""

    one: bool = False
    fails_at: int = -1
    woken: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def wake(self, contestant: Contestant) -> bool:
        """See `Awake`."""
        if len(self.woken) == self.fails_at:
            raise CompareError("no memory left")
        cold = self.one and self.woken[-1:] != [contestant.name]
        self.woken.append(contestant.name)
        return cold

    def load_ms(self, contestant: Contestant) -> float | None:
        """See `Awake`."""
        return None


@dataclass
class Heard:
    """An `Observer` that remembers."""

    phases: list[str] = field(default_factory=list)
    blocks: list[tuple[int, int, int]] = field(default_factory=list)

    def phase(self, text: str) -> None:
        """See `Observer`."""
        self.phases.append(text)

    def block(self, concurrency: int, block: Block, done: int, total: int) -> None:
        """See `Observer`."""
        self.blocks.append((concurrency, done, total))


def made(sources: list[SimulatedSource], awake: Waking, heard: Heard) -> Contest:
    lanes = [
        Lane(name=contestant.name, source=source, probe=None, rows=1)
        for contestant, source in zip(CONTESTANTS, sources, strict=True)
    ]
    return Contest(contestants=CONTESTANTS, lanes=lanes, plan=PLAN, seed=5, awake=awake, observer=heard)


def servers(slow: int = 4) -> list[SimulatedSource]:
    return [SimulatedSource(SimulatedServer(always(MS))), SimulatedSource(SimulatedServer(always(slow * MS)))]


def test_all_are_timed_in_the_order_of_the_schedule() -> None:
    heard = Heard()
    timed = made(servers(), Waking(), heard).run([1, 4])
    assert (timed.interrupted, timed.error, timed.notes) == (False, "", [])
    assert list(timed.blocks) == [1, 4]
    for index, blocks in enumerate(timed.blocks.values()):
        turns = schedule(2, PLAN.rounds, 5 + index)
        assert [(block.contestant, block.round) for block in blocks] == [
            (CONTESTANTS[turn.contestant].name, turn.round) for turn in turns
        ]
    assert heard.blocks[0] == (1, 1, 48)
    assert heard.blocks[-1] == (4, 48, 48)


def test_each_is_warmed_up_once_for_each_level() -> None:
    heard = Heard()
    made(servers(), Waking(), heard).run([1, 4])
    assert sorted(text for text in heard.phases if text.startswith("warming")) == [
        "warming up a with 1 callers",
        "warming up a with 4 callers",
        "warming up b with 1 callers",
        "warming up b with 4 callers",
    ]


def test_one_that_was_loaded_just_now_is_warmed_up_again() -> None:
    heard, awake = Heard(), Waking(one=True)
    made(servers(), awake, heard).run([1])
    loads = sum(before != now for before, now in zip(["", *awake.woken], awake.woken, strict=False))
    assert sum(text.startswith("warming") for text in heard.phases) == loads
    assert loads < len(awake.woken)  # in ABBA, the one in the middle is timed twice in a row


def test_one_that_never_settles_is_noted_once() -> None:
    def ever_slower(since_start: int) -> int:
        return int(MS * 1.2 ** min(since_start / (SECOND / 4), 100.0))

    sources = [SimulatedSource(SimulatedServer(always(MS))), SimulatedSource(SimulatedServer(ever_slower))]
    timed = made(sources, Waking(one=True), Heard()).run([1])
    assert timed.notes == ["b was not steady after its warm-up with 1 callers"]


def test_ctrl_c_leaves_the_blocks_so_far() -> None:
    awake = Waking()

    def interrupt(contestant: Contestant) -> bool:
        if len(awake.woken) == 5:
            raise KeyboardInterrupt
        awake.woken.append(contestant.name)
        return False

    awake.wake = interrupt  # type: ignore[method-assign]
    timed = made(servers(), awake, Heard()).run([1, 4])
    assert (timed.interrupted, timed.error) == (True, "")
    assert [len(blocks) for blocks in timed.blocks.values()] == [5]


def test_ctrl_c_in_a_warm_up_ends_the_timing_as_well() -> None:
    sources = servers()
    for source in sources:
        source.interrupts = [SECOND // 2]
    timed = made(sources, Waking(), Heard()).run([1])
    assert (timed.interrupted, timed.blocks) == (True, {1: []})


def test_a_server_that_fails_leaves_the_blocks_so_far_and_the_reason() -> None:
    timed = made(servers(), Waking(fails_at=3), Heard()).run([1])
    assert (timed.interrupted, timed.error, len(timed.blocks[1])) == (False, "no memory left", 3)
