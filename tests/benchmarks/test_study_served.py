"""Servers under load: what a turn's samples say, which rates are asked, and how long turns are."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from studies import served
from study.blocks import Block, block_of, time_block
from study.errors import StudyError
from study.served import Contestant, Level, capacities, length_for, measure_level, of_round, rates, summary, targets
from target import Target

from quadriga_client.load.arrivals import Arrivals, ClosedLoop, Poisson
from quadriga_client.load.samples import Samples, Times
from quadriga_client.load.scheduling import Look, Scheduled, Scheduling

MS = 1_000_000
SECOND = 1_000 * MS


def samples(*requests: tuple[float, float, float, int]) -> Samples:
    """Requests as (due, begun, ended, code), in ms."""
    due, begun, ended, codes = zip(*requests, strict=True)
    return Samples(_ns(due), _ns(begun), _ns(ended), np.array(codes, np.uint8))


def _ns(times_ms: tuple[float, ...]) -> Times:
    return np.array([round(each * MS) for each in times_ms], np.int64)


def block(latency_ms: float = 1.0, count: int = 400, **figures: Any) -> Block:
    usual = Block(
        throughput=100.0, latencies_ms=np.full(count, latency_ms), cpu_ms=0.5, errors=0, lag_p99_ms=0.1, saturated=False
    )
    return usual._replace(**figures)


def contestant(name: str, *, naive: bool = False) -> Contestant:
    tree: Any = SimpleNamespace(cpu_seconds=iter(range(1000)).__next__)
    return Contestant(name=name, naive=naive, threads=None, url="127.0.0.1:1", model="same", tree=tree)


def test_latencies_are_of_what_was_due_and_throughput_of_what_ended() -> None:
    seen = samples(
        (50, 50, 90, 0),  # settling
        (90, 90, 110, 0),  # due before, ends within
        (120, 120, 140, 0),
        (150, 150, 160, 14),  # refused
        (190, 190, 240, 0),  # due within, ends after
        (220, 220, 230, 0),
    )
    found = block_of(seen, ClosedLoop(1), 0, 100 * MS, 200 * MS, cpu_seconds=0.004)
    assert found.latencies_ms.tolist() == [20.0, 50.0]
    assert found.throughput == pytest.approx(20.0)
    assert found.errors == 1
    assert found.cpu_ms == pytest.approx(2.0)


def test_a_turn_without_answers_has_no_latencies_and_no_cost() -> None:
    found = block_of(samples((120, 120, 140, 14)), ClosedLoop(1), 0, 100 * MS, 200 * MS, cpu_seconds=0.004)
    assert (found.throughput, found.cpu_ms, found.errors) == (0.0, None, 1)
    assert len(found.latencies_ms) == 0
    assert block_of(Samples.none(), ClosedLoop(1), 0, 0, SECOND, 0.0).lag_p99_ms == 0.0


def test_a_generator_that_fell_behind_is_told() -> None:
    late = samples(*((at, at + 5, at + 6, 0) for at in range(100)))
    assert block_of(late, ClosedLoop(1), 0, 0, 100 * MS, 0.0).saturated
    prompt = samples(*((at, at, at + 6, 0) for at in range(100)))
    assert not block_of(prompt, ClosedLoop(1), 0, 0, 100 * MS, 0.0).saturated
    assert block_of(prompt, Poisson(5000.0), 0, 0, 100 * MS, 0.0).saturated


@pytest.mark.parametrize(("waiting_ms", "expected"), [(1, False), (60, True)])
@pytest.mark.parametrize("arrivals", [ClosedLoop(1), Poisson(100.0)])
def test_a_generator_that_got_no_cpu_is_told(arrivals: ClosedLoop | Poisson, waiting_ms: int, expected: bool) -> None:
    prompt = samples(*((at, at, at + 6, 0) for at in range(0, 100, 10)))
    looks = [Look(0, {7: Scheduled(0, 0, 1)}), Look(100 * MS, {7: Scheduled(5 * MS, waiting_ms * MS, 11)})]
    assert block_of(prompt, arrivals, 0, 0, 100 * MS, 0.0, looks).saturated is expected


def test_cpu_time_is_that_of_the_counted_part_of_a_turn() -> None:
    asked: list[int] = []

    class Run:
        started_ns = 7 * SECOND

        def collect(self, until_ns: int) -> Samples:
            asked.append(until_ns)
            return samples((7500, 7500, 7600, 0)) if len(asked) == 2 else Samples.none()

        def scheduling(self) -> Scheduling:
            return {7: Scheduled(0, len(asked) * 600 * MS, len(asked))}

        def finish(self) -> Samples:
            return Samples.none()

    class Source:
        def start(self, arrivals: Arrivals) -> Run:
            return Run()

    clock = iter([round(7.25 * SECOND), round(8.25 * SECOND)]).__next__
    found = time_block(Source(), ClosedLoop(1), 1.0, contestant("onnx").tree, clock)
    assert found.saturated
    assert asked == [round(7.25 * SECOND), round(8.25 * SECOND)]
    assert found.cpu_ms == pytest.approx(1000.0)


def test_rates_are_shares_of_what_quadrigas_slowest_model_answers() -> None:
    measured = [
        served("onnx", 9000.0, level=32),
        served("onnx", 1000.0, level=1),
        served("pytorch", 2000.0, level=32),
        served("pytorch", 9999.0, level=8, rows=8),
        served("keras: model.predict(x)", 20.0, naive=True),
    ]
    peaks = capacities(measured)
    assert peaks == pytest.approx({"onnx": 9000.0, "pytorch": 2000.0, "keras: model.predict(x)": 20.0})
    everyone = [contestant("onnx"), contestant("pytorch"), contestant("keras: model.predict(x)", naive=True)]
    assert rates(everyone, peaks) == pytest.approx([400.0, 1000.0, 1600.0])


@pytest.mark.parametrize(("latency_ms", "expected"), [(1.0, 0.5), (250.0, 0.5), (1000.0, 2.0)])
def test_turns_of_slow_servers_are_longer(latency_ms: float, expected: float) -> None:
    assert length_for(block(latency_ms), 0.5) == pytest.approx(expected)


def test_turns_of_a_server_that_did_not_answer_are_long() -> None:
    assert length_for(block(count=0), 0.5) > 1.0


def test_a_p99_needs_enough_requests_of_all_rounds_together() -> None:
    for count, known in ((367, False), (368, True)):
        level = Level(rows=1, arrivals=Poisson(50.0), seen={"onnx": [block(count=count - 100), block(count=100)]})
        found = summary(contestant("onnx"), level)
        assert (found.p99_ms is not None) is known
        assert (found.mode, found.level, found.requests) == ("open", 50.0, count)


def test_a_server_is_saturated_where_half_of_its_turns_were() -> None:
    for saturated, expected in ((1, False), (2, True)):
        blocks = [block(saturated=number < saturated) for number in range(4)]
        level = Level(rows=1, arrivals=ClosedLoop(8), seen={"onnx": blocks})
        assert summary(contestant("onnx"), level).saturated is expected


def test_turns_that_were_the_generators_do_not_count() -> None:
    limited = block(50.0, throughput=10.0, saturated=True)
    level = Level(rows=1, arrivals=ClosedLoop(8), seen={"onnx": [block(), limited, block(), block()]})
    found = summary(contestant("onnx"), level)
    assert (found.limited, found.p50_ms, found.p99_ms, found.requests) == ((1,), (1.0, 1.0, 1.0), 1.0, 1600)
    assert found.rate().value == 100.0
    other = Level(rows=1, arrivals=ClosedLoop(8), seen={"b": [block(throughput=each) for each in (50, 1, 50, 50)]})
    assert found.times(summary(contestant("b"), other)).value == pytest.approx(2.0)
    # Where they are half, there is nothing else to tell.
    level = Level(rows=1, arrivals=ClosedLoop(8), seen={"onnx": [limited, block()]})
    assert summary(contestant("onnx"), level).p50_ms == (50.0, 1.0)


def test_every_server_has_a_turn_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    class FakeFleet:
        def __init__(self, target: Any, **_: object) -> None:
            self.name = target.url

        def __enter__(self) -> "FakeFleet":
            return self

        def __exit__(self, *_: object) -> None:
            turns.append(f"{self.name} ended")

    def turn(fleet: FakeFleet, *_: object) -> Block:
        turns.append(fleet.name)
        return block()

    monkeypatch.setattr("study.served.Fleet", FakeFleet)
    monkeypatch.setattr("study.served.time_block", turn)
    monkeypatch.setattr(
        "study.served.targets", lambda all_, rows: [SimpleNamespace(address=each.name, request=b"") for each in all_]
    )
    everyone = [contestant("a"), contestant("b"), contestant("c")]
    found = list(measure_level(everyone, Level(rows=1, arrivals=ClosedLoop(1)), 4, 0.1))
    assert [len(each.throughput) for each in found] == [4, 4, 4]
    assert turns[:3] == ["a", "b", "c"]
    assert turns[3:6] == turns[8:5:-1]
    assert turns[-3:] == ["c ended", "b ended", "a ended"]


def test_arrivals_are_alike_within_a_round_and_others_in_the_next() -> None:
    assert of_round(Poisson(50.0), 3) == of_round(Poisson(50.0), 3) != of_round(Poisson(50.0), 4)
    assert of_round(ClosedLoop(8), 3) == ClosedLoop(8)


def test_servers_that_do_not_answer_alike_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.served.request_for", lambda address, model, rows: b"")
    monkeypatch.setattr("study.served.target", lambda address, request: Target(address, request, b""))
    answers = iter([[0.1, 0.9], [0.1, 0.9], [0.1, 0.9], [0.2, 0.8]])
    monkeypatch.setattr("study.served.first_output", lambda answer: np.array(next(answers)))
    assert len(targets([contestant("a"), contestant("b")], 1)) == 2
    with pytest.raises(StudyError, match=r"c answers something else than a: by up to 0\.1"):
        targets([contestant("a"), contestant("c")], 1)
