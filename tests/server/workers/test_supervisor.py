"""Back-off between restarts, and restarts that fail; on real workers supervision is shown by the system tests."""

import asyncio
from typing import Any

import pytest

from quadriga.backends.base import ModelSource
from quadriga.specs import ModelSpec
from quadriga.workers import supervisor
from quadriga.workers.messages import Load, Loaded
from quadriga.workers.supervisor import LONGEST_BACKOFF_SECONDS, SOUND_SECONDS, Backoff, Lifecycle, Supervisor
from quadriga.workers.templates import Templates
from quadriga.workers.worker import Events, Loss, TimeLimits

LOAD = Load(backend="fake", source=ModelSource(path="model.fake"), slots=2, max_batch_size=1)
LOADED = Loaded(spec=ModelSpec(inputs=(), outputs=(), batches=False), device="cpu", load_ns=1, warm_up_ns=1)


def test_the_first_restart_is_immediate_and_further_ones_wait_longer() -> None:
    backoff = Backoff()
    assert [backoff.next_delay(1.0) for _ in range(4)] == [0.0, 0.5, 1.0, 2.0]


def test_the_wait_has_a_limit() -> None:
    backoff = Backoff()
    delays = [backoff.next_delay(0.0) for _ in range(2000)]
    assert max(delays) == delays[-1] == LONGEST_BACKOFF_SECONDS


def test_a_worker_that_lived_long_starts_anew() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.next_delay(0.0)
    assert backoff.next_delay(SOUND_SECONDS) == 0.0
    assert backoff.next_delay(1.0) == 0.5


class StandInWorker:
    """A worker that is up, without a process."""

    name = "m/1"
    pid = 1

    async def stop(self) -> None:
        """Nothing is there to stop."""


@pytest.mark.parametrize(("explained", "delays"), [(True, 0), (False, 3)])
def test_losses_that_are_put_down_to_what_was_run_delay_nothing(
    monkeypatch: pytest.MonkeyPatch, explained: bool, delays: int
) -> None:
    class Boot:
        def __init__(self, *_: object) -> None: ...

        async def wait_until_ready(self, *_: object) -> tuple[StandInWorker, Loaded]:
            return StandInWorker(), LOADED

    monkeypatch.setattr(supervisor, "UnreadyWorker", Boot)
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF_SECONDS", 1e-6)
    told: list[str] = []

    async def scenario() -> Supervisor[Any]:
        ready = asyncio.Queue[Any]()
        verdicts = [False, explained, explained, explained]
        lifecycle = Lifecycle[Any](
            ready=ready.put_nowait, lost=lambda worker, loss, held: verdicts.pop(0), recovery_failed=told.append
        )
        events = Events[Any](done=lambda *_: None, failed=lambda *_: None, lost=lambda *_: None)
        watched = Supervisor[Any]("m/1", [LOAD], events, lifecycle, Templates(enabled=False))
        await watched.start()
        for reason in ("died", "hung", "died", "died"):
            watched._on_lost(await ready.get(), Loss(reason, "by the test"), [])
        await asyncio.wait_for(ready.get(), 10)
        await watched.stop()
        return watched

    watched = asyncio.run(scenario())
    assert len(told) == delays
    assert watched.restarts == 4
    assert watched.deaths == {"died": 3, "hung": 1}


def test_a_machine_that_is_short_for_a_while_costs_no_worker_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = []
    yields: list[bool] = []

    class Boot:
        def __init__(self, name: str, load: Load, forked: object) -> None:
            yields.append(load.yields)
            if failures:
                raise failures.pop()

        async def wait_until_ready(self, events: Events[Any], limits: TimeLimits) -> tuple[StandInWorker, Loaded]:
            return StandInWorker(), LOADED

    monkeypatch.setattr(supervisor, "UnreadyWorker", Boot)
    monkeypatch.setattr(Backoff, "next_delay", lambda self, lived: 0.0)
    told: list[str] = []

    async def scenario() -> int:
        ready = asyncio.Queue[Any]()
        lifecycle = Lifecycle[Any](
            ready=ready.put_nowait, lost=lambda worker, loss, held: False, recovery_failed=told.append
        )
        events = Events[Any](done=lambda *_: None, failed=lambda *_: None, lost=lambda *_: None)
        watched = Supervisor[Any]("m/1", [LOAD], events, lifecycle, Templates(enabled=False))
        await watched.start()
        worker = await ready.get()
        failures.extend([RuntimeError("a bug"), OSError(24, "too many open files")])
        watched._on_lost(worker, Loss("died", "killed by SIGKILL"), [])
        await asyncio.wait_for(ready.get(), 10)
        await watched.stop()
        return watched.restarts

    assert asyncio.run(scenario()) == 3
    assert yields == [True, False, False, False]  # a model that nobody serves is in a hurry
    assert any("too many open files" in text for text in told)
    assert any("a bug" in text for text in told)


def test_a_replacement_lets_others_run_first_while_another_worker_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, bool]] = []

    class Boot:
        def __init__(self, name: str, load: Load, forked: object) -> None:
            started.append((name, load.yields))
            self.worker = StandInWorker()
            self.worker.name = name

        async def wait_until_ready(self, events: Events[Any], limits: TimeLimits) -> tuple[StandInWorker, Loaded]:
            return self.worker, LOADED

    monkeypatch.setattr(supervisor, "UnreadyWorker", Boot)
    monkeypatch.setattr(Backoff, "next_delay", lambda self, lived: 0.0)

    async def scenario() -> None:
        ready = asyncio.Queue[Any]()
        lifecycle = Lifecycle[Any](
            ready=ready.put_nowait, lost=lambda worker, loss, held: False, recovery_failed=lambda _: None
        )
        events = Events[Any](done=lambda *_: None, failed=lambda *_: None, lost=lambda *_: None)
        watched = Supervisor[Any]("m/1", [LOAD, LOAD], events, lifecycle, Templates(enabled=False))
        await watched.start()
        first, _ = await ready.get(), await ready.get()
        died = Loss("died", "killed by SIGKILL")
        watched._on_lost(first, died, [])
        await asyncio.wait_for(ready.get(), 10)
        for worker in watched.workers:
            watched._on_lost(worker, died, [])
        await asyncio.wait_for(ready.get(), 10)
        await asyncio.wait_for(ready.get(), 10)
        await watched.stop()

    asyncio.run(scenario())
    assert started[:3] == [("m/1#0", True), ("m/1#1", True), ("m/1#0", True)]
    assert started[3][1] is False, "nobody serves"
