"""Generators as the command's process sees them, without any: their reports, and Ctrl-C at every moment."""

import os
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from load_children import FakeProcess, pretend

from quadriga_client.load.engine import fleet, messages
from quadriga_client.load.engine.fleet import FleetRun, Generator
from quadriga_client.load.engine.messages import RECORD, Begin, Kind
from quadriga_client.load.errors import LoadError
from quadriga_client.load.samples import Samples
from quadriga_client.load.target import LoadTarget

BEGIN = Begin(LoadTarget(url="peer:1", requests=(b"",), timeout=1.0), 0, 1, 1, 1)


class Started:
    """Generators, and the processes that they take for theirs."""

    def __init__(self, processes: list[FakeProcess]) -> None:
        self._processes = processes
        self.generators: list[Generator] = []

    def __call__(self) -> tuple[Generator, FakeProcess]:
        self.generators.append(Generator(BEGIN))
        return self.generators[-1], self._processes[-1]

    def run(self) -> FleetRun:
        return FleetRun(self.generators, 0, 1.0)

    def close(self) -> None:
        for each in self.generators:
            each.dismiss()
        for process in self._processes:
            process.close()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = Started(pretend(monkeypatch))
    yield started
    started.close()
    signal.signal(signal.SIGINT, before)


def samples(*ended: int) -> bytes:
    return b"".join(RECORD.pack(0, 0, each, 0) for each in ended)


def interrupted_after(call: Callable[..., bytes]) -> Callable[..., bytes]:
    """Ctrl-C comes right after the first call, before anybody has what it returned."""
    left = [True]

    def call_and_interrupt(*arguments: int) -> bytes:
        returned = call(*arguments)
        if left:
            left.clear()
            signal.raise_signal(signal.SIGINT)
        return returned

    return call_and_interrupt


def test_what_is_read_when_an_interrupt_comes_is_not_lost(start: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, process = start()
    for at in range(3):
        process.report(Kind.SAMPLES, at, samples(at))
    monkeypatch.setattr(os, "read", interrupted_after(os.read))
    with pytest.raises(KeyboardInterrupt):
        generator.read()
    generator.read()
    assert generator.samples == samples(0, 1, 2)
    assert generator.until_ns == 2


def test_what_is_collected_when_an_interrupt_comes_is_given_by_the_next_call(
    start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ended in ((1, 4), (2, 3, 5)):
        _, process = start()
        process.report(Kind.SAMPLES, 9, samples(*ended))
    run = start.run()
    unpack = messages.unpack_samples
    calls: list[int] = []

    def unpack_and_interrupt(payload: bytearray) -> Samples:
        calls.append(len(payload))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return unpack(payload)

    monkeypatch.setattr(fleet, "unpack_samples", unpack_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.collect(3)
    assert sorted(run.collect(3).ended.tolist()) == [1, 2, 3]
    assert sorted(run.collect(9).ended.tolist()) == [4, 5]
    assert run.collect(9).ended.tolist() == []


def test_finishing_gives_what_nobody_has_got(start: Started) -> None:
    _, process = start()
    process.report(Kind.SAMPLES, 3, samples(1, 2, 3))
    run = start.run()
    assert run.collect(2).ended.tolist() == [1, 2]
    process.report(Kind.SAMPLES, 9, samples(4))
    process.report(Kind.DONE)
    assert run.finish().ended.tolist() == [3, 4]
    assert np.array_equal(run.finish().ended, [])


def test_a_failure_ends_a_run_and_what_came_before_it_is_given(start: Started) -> None:
    _, process = start()
    process.report(Kind.SAMPLES, 3, samples(1))
    process.report(Kind.FAILED, 0, b"the server went away")
    run = start.run()
    with pytest.raises(LoadError, match="the server went away"):
        run.collect(9)
    assert run.finish().ended.tolist() == [1]


def test_generators_are_all_told_to_end_before_one_is_waited_for(
    start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    for name in "ab":
        generator, _ = start()
        monkeypatch.setattr(generator, "dismiss", lambda name=name: told.append(f"end {name}"))
        monkeypatch.setattr(generator, "wait_until", lambda end, name=name: told.append(f"wait for {name}"))
    whole = fleet.Fleet(BEGIN.target, connections=2, processes=2)
    whole._generators = list(start.generators)
    whole.close()
    assert told == ["end a", "end b", "wait for a", "wait for b"]
    monkeypatch.undo()
