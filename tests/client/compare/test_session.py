"""From options to the report over simulated servers: whatever ends the timing early, there is a report of it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparisons import comparison, contender
from simulated_source import MS, SimulatedRun, SimulatedServer, SimulatedSource, always

from quadriga_client.compare import session
from quadriga_client.compare.agreement import Answers
from quadriga_client.compare.answers import Entry
from quadriga_client.compare.awake import AllAwake
from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.contestants import Contestant, parse_contestants
from quadriga_client.compare.errors import CompareError, Disagreement
from quadriga_client.compare.formats import NAMES, json, write
from quadriga_client.compare.likeness import Agreement
from quadriga_client.compare.options import CompareOptions
from quadriga_client.compare.session import run_comparison
from quadriga_client.compare.shared_inputs import Inputs
from quadriga_client.compare.standings import Block
from quadriga_client.load.arrivals import Arrivals
from quadriga_client.load.errors import LoadError
from quadriga_client.load.target import LoadTarget

URL = "127.0.0.1:1"
CONTESTANTS = parse_contestants(["a", "b"], URL)
_OTHER = comparison({"a": 100.0, "b": 200.0})
OLD = replace(_OTHER, inputs=replace(_OTHER.inputs, tensors=("FP32[1,2]",)))


@dataclass
class World:
    """What the session meets in place of servers.

    Attributes:
        agrees: Whether the contestants do.
        breaks: Is called before every run of a load, with how many there were.
        happened: What the session did, in order.
    """

    agrees: bool = True
    breaks: Callable[[int], None] = lambda count: None
    happened: list[str] = field(default_factory=list)
    runs: int = 0

    def phase(self, text: str) -> None:
        """See `Observer`."""

    def block(self, concurrency: int, block: Block, done: int, total: int) -> None:
        """See `Observer`."""

    def left(self, text: str) -> None:
        """See `Observer`."""
        self.happened.append(f"left: {text}")

    def hold(self) -> None:
        """What `run_comparison` is given."""
        self.happened.append("hold")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Contestants of 4 and 8 ms that exist only as arithmetic."""
    world = World()

    class Roll:
        def __init__(self, options: CompareOptions, clients: object, awake: object) -> None:
            array = np.zeros((1, 2), np.float32)
            self.inputs = Inputs(requests=({"x": array},), rows=1, content="zeros")
            self.entries: list[Entry] = []

        def call(self, contestant: Contestant) -> None:
            target = LoadTarget(url=contestant.name, requests=(b"",), timeout=1.0)
            answers = Answers(contestant=contestant.name, outputs=[{}])
            described = contender(contestant.name)
            self.entries.append(
                Entry(contestant=contestant, contender=described, target=target, answers=answers, probe=None)
            )

        def agreements(self) -> tuple[Agreement, ...]:
            return (Agreement(contestant="b", agrees=world.agrees, problems=() if world.agrees else ("b differs",)),)

    class Fleet:
        def __init__(self, target: LoadTarget, *, connections: int, processes: int) -> None:
            self._source = SimulatedSource(SimulatedServer(always((4 if target.url == "a" else 8) * MS)))

        def start(self, arrivals: Arrivals) -> SimulatedRun:
            world.runs += 1
            world.breaks(world.runs)
            return self._source.start(arrivals)

        def __enter__(self) -> "Fleet":
            return self

        def __exit__(self, *exception: object) -> None:
            world.happened.append("closed")

    class One(AllAwake):
        def __init__(self, contestants: object, clients: object, left: Callable[[str], None]) -> None:
            self._left = left

        def __enter__(self) -> "One":
            return self

        def __exit__(self, *exception: object) -> None:
            world.happened.append("put back")
            self._left("a is not put back")

    monkeypatch.setattr(session, "Roll", Roll)
    monkeypatch.setattr(session, "Fleet", Fleet)
    monkeypatch.setattr(session, "OneAwake", One)
    return world


def compared(world: World, **fields: Any) -> Comparison:
    options = CompareOptions(**{"contestants": CONTESTANTS, "seconds": 24.0, **fields})
    return run_comparison(options, world, hold=world.hold)


def test_what_was_measured_is_in_the_report(world: World) -> None:
    report = compared(world, concurrencies=(1, 2))
    assert [level.concurrency for level in report.levels] == [1, 2]
    assert [level.verdicts[0].winner for level in report.levels] == ["a", "a"]
    assert (report.interrupted, report.error, report.block_seconds) == (False, "", 1.0)
    assert world.happened == ["hold", "closed", "closed", "hold"]


def test_the_cores_that_the_generators_are_allowed_are_in_the_report(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 1}, raising=False)
    assert compared(world).generator_cores == (1, 3)


def died(count: int) -> None:
    if count > 5:
        raise LoadError("127.0.0.1:1 refuses connections")


def interrupted(count: int) -> None:
    if count > 5:
        raise KeyboardInterrupt


@pytest.mark.parametrize("breaks", [died, interrupted])
@pytest.mark.parametrize("levels", [(8, 16), (16, 8)])
def test_an_early_end_beside_an_older_report_leaves_a_report(
    world: World, tmp_path: Path, breaks: Callable[[int], None], levels: tuple[int, ...]
) -> None:
    """The older one has the level of 8 alone, which may not have been reached."""
    world.breaks = breaks
    report = compared(world, concurrencies=levels, against=OLD, against_name="old.json")
    assert report.interrupted == (breaks is interrupted)
    assert bool(report.error) == (breaks is died)
    assert len(report.levels[0].blocks) == 3
    assert report.changes is not None
    assert report.changes.entries == ()
    write(report, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert json.read(tmp_path / "comparison.json") == report
    assert world.happened[0] == "hold"


def test_an_older_report_of_something_else_is_refused_before_the_timing(world: World) -> None:
    with pytest.raises(CompareError, match="the older report has the levels 8, and this one 4"):
        compared(world, concurrencies=(4,), against=OLD)
    assert world.runs == 0


def test_signals_are_held_before_anything_is_put_back(world: World) -> None:
    report = compared(world, one_awake=True)
    assert world.happened == ["hold", "closed", "closed", "hold", "put back", "left: a is not put back"]
    assert report.notes == ("a is not put back",)
    world.happened.clear()
    world.agrees = False
    with pytest.raises(Disagreement, match="b differs"):
        compared(world, one_awake=True)
    assert world.happened == ["hold", "put back", "left: a is not put back"]


def test_what_differs_is_timed_where_that_is_allowed(world: World) -> None:
    world.agrees = False
    report = compared(world, allow_different=True)
    assert (report.allowed_different, report.agreements[0].agrees) == (True, False)
    assert report.levels[0].verdicts[0].winner == "a"
