"""The timing of all contestants over simulated servers, and its early ends."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from simulated_source import MS, SECOND, SimulatedRun, SimulatedServer, SimulatedSource, always

from quadriga_client.compare.blocks import schedule
from quadriga_client.compare.contest import Contest
from quadriga_client.compare.contestants import Contestant
from quadriga_client.compare.errors import CompareError
from quadriga_client.compare.neighbours import Traffic
from quadriga_client.compare.standings import Block
from quadriga_client.compare.timing import Lane
from quadriga_client.compare.verdict import level
from quadriga_client.load.arrivals import Arrivals
from quadriga_client.load.errors import LoadError
from quadriga_client.load.server_reading import ServerReading, Sums

CONTESTANTS = tuple(Contestant(name=name, model=name, version="", url="127.0.0.1:8001") for name in "ab")
SECONDS = 24.0
ROUNDS = 6


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

    def left(self, text: str) -> None:
        """See `Observer`."""
        self.phases.append(text)


def made(
    sources: list[SimulatedSource], awake: Waking, heard: Heard, seconds: float = SECONDS, **fields: Any
) -> Contest:
    lanes = [
        Lane(name=contestant.name, source=source, probe=None, neighbours=None, rows=1)
        for contestant, source in zip(CONTESTANTS, sources, strict=True)
    ]
    return Contest(contestants=CONTESTANTS, lanes=lanes, seconds=seconds, seed=5, awake=awake, observer=heard, **fields)


def servers(slow: int = 4) -> list[SimulatedSource]:
    return [SimulatedSource(SimulatedServer(always(MS))), SimulatedSource(SimulatedServer(always(slow * MS)))]


def test_all_are_timed_in_the_order_of_the_schedule() -> None:
    heard = Heard()
    timed = made(servers(), Waking(), heard).run([1, 4])
    assert (timed.interrupted, timed.error, timed.notes) == (False, "", [])
    assert list(timed.blocks) == [1, 4]
    for index, blocks in enumerate(timed.blocks.values()):
        turns = schedule(2, ROUNDS, 5 + index)
        assert [(block.contestant, block.round) for block in blocks] == [
            (CONTESTANTS[turn.contestant].name, turn.round) for turn in turns
        ]
    assert heard.blocks[0] == (1, 1, 24)
    assert heard.blocks[-1] == (4, 24, 24)


def test_each_is_warmed_up_once_for_each_level() -> None:
    heard = Heard()
    made(servers(), Waking(), heard).run([1, 4])
    assert sorted(text for text in heard.phases if text.startswith("warming")) == [
        "warming up a with 1 caller",
        "warming up a with 4 callers",
        "warming up b with 1 caller",
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
    assert timed.notes == ["b was not steady after its warm-up with 1 caller"]


def test_a_warm_up_that_takes_too_long_is_cut_and_noted() -> None:
    sources = servers(slow=300)
    timed = made(sources, Waking(), Heard(), seconds=6.0).run([1])
    assert timed.notes[0] == ("the warm-up of b with 1 caller was cut after 1 s, before it was seen to be steady")
    warm_up = sources[1].runs[0]
    assert warm_up.finished == 1


def test_one_that_is_slow_has_blocks_that_hold_enough() -> None:
    sources = [SimulatedSource(SimulatedServer(always(slow * MS))) for slow in (140, 160)]
    timed = made(sources, Waking(), Heard(), seconds=6.0).run([1])
    assert {(block.contestant, block.seconds) for block in timed.blocks[1]} == {("a", 4.2), ("b", 4.8)}
    assert timed.notes[-1] == (
        "with 1 caller, blocks are longer than the 0.25 s of --duration, because these would hold too few answers:"
        " a's 4.2 s, b's 4.8 s"
    )
    found = level(["a", "b"], 1, timed.blocks[1], 0)
    verdict = found.verdicts[0]
    assert (verdict.measure, verdict.winner) == ("throughput", "a")
    assert verdict.ratios[0].ratio.value == pytest.approx(160 / 140)
    assert "1.14 times b's" in verdict.sentence


def test_cpu_time_that_was_left_out_is_noted() -> None:
    contest = made(servers(), Waking(), Heard())
    shared = replace(contest.lanes[1], probe=Counting(), neighbours=Moving())
    timed = replace(contest, lanes=(contest.lanes[0], shared)).run([4])
    assert timed.notes == [
        "the CPU time of b with 4 callers is left out of 12 of 12 blocks: its server had other requests meanwhile, or"
        " may have had"
    ]


class Counting:
    """Counters of a server: a hundred requests more at each reading."""

    def __init__(self) -> None:
        self._answered = 0.0

    def read(self) -> ServerReading:
        """See `ServerProbe`."""
        self._answered += 100
        sums: dict[str, Any] = dict.fromkeys(Sums.__dataclass_fields__, self._answered)
        return ServerReading(
            source="", sums=Sums(**sums), per_batch=True, worker_cpu={"0": self._answered / 1000}, server_cpu=0.0
        )


class Moving:
    """Other models that are called all the time."""

    def __init__(self) -> None:
        self._ended = 0.0

    def read(self) -> Traffic:
        """See `Neighbours`."""
        self._ended += 1
        return Traffic(self._ended, 0)


def test_ctrl_c_leaves_the_blocks_so_far() -> None:
    awake = Waking()

    def interrupt(contestant: Contestant) -> bool:
        if len(awake.woken) == 2 + 5:  # two are woken for their warm-ups
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
    timed = made(servers(), Waking(fails_at=2 + 3), Heard()).run([1])
    assert (timed.interrupted, timed.error, len(timed.blocks[1])) == (False, "no memory left", 3)


def test_the_one_that_dies_is_named() -> None:
    sources = servers()
    contest = made(sources, Waking(), Heard())

    class Dying:
        def start(self, arrivals: Arrivals) -> SimulatedRun:
            if len(sources[1].runs) == 3:
                raise LoadError("127.0.0.1:8001 refuses connections")
            return sources[1].start(arrivals)

    lanes = (contest.lanes[0], replace(contest.lanes[1], source=Dying()))
    timed = replace(contest, lanes=lanes).run([1])
    assert timed.error == "b could not be timed any more: 127.0.0.1:8001 refuses connections"
    assert [block.contestant for block in timed.blocks[1]].count("b") == 2


def test_signals_are_held_when_all_is_timed() -> None:
    held: list[int] = []
    heard = Heard()
    made(servers(), Waking(), heard, hold=lambda: held.append(len(heard.blocks))).run([1])
    assert held == [24]
