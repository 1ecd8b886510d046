"""Memory is stable: a million mixed requests leave every process as large as it was, and with what it had open."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from figures import Figures
from process_figures import History, check_growth
from running_server import ON_CPU, RunningServer, wait_for, write_fake
from soak_traffic import DEMO, FAKE, RAISING, Bulk, odd_ones

pytestmark = pytest.mark.soak

PROMISE = "Memory is stable"
#: Over both transports.
REQUESTS = int(os.environ.get("QUADRIGA_SOAK_REQUESTS", "1000000"))
#: Where memory rests after the least warm-up. In each the generators, and their connections, are new.
SHIFTS = 5
#: Those in which memory is measured, and those before. One that leaks never rests: it is measured after the most.
MEASURED, LEAST_WARM_UP, MOST_WARM_UP = 3, 2, 6
#: So often within a shift, memory is looked at.
ROUNDS = 6
#: Of a process's memory, and at least so many bytes: what it may grow by while it is measured. A short soak ends before
#: allocators have taken all that they keep.
MOST_GROWTH, ALWAYS_ALLOWED = 0.02, 3_000_000 if REQUESTS >= 200_000 else 5_000_000
#: A thread's pool, or a descriptor that has just been closed by its client.
FEW = 2
START_SECONDS = 600


def start_soaked(
    start: Callable[..., RunningServer], demo: Path, tmp_path: Path
) -> tuple[RunningServer, dict[str, int]]:
    """A server of the demo models and a fake one, and the pids of its processes."""
    behaviour = {"raise_on": RAISING}
    write_fake(tmp_path, FAKE, behaviour, "max_batch_size = 8")
    names = [argument for model in (*DEMO, FAKE) for argument in ("--load-model", model)]
    repositories = ("--repository", str(demo), "--repository", str(tmp_path))
    server = start(*repositories, "--model-control", "explicit", *names, env=ON_CPU)
    ready = [f"template of {backend} is ready" for backend in ("torchscript", "tensorflow", "keras")]
    wait_for(lambda: all(line in server.log for line in ready), "the templates", START_SECONDS)
    pids = {"server": server.process.pid, **{f"worker of {model}": server.worker_of(model) for model in (*DEMO, FAKE)}}
    templates = {process.pid for process in server.workers()} - set(pids.values())
    return server, pids | {f"template {number}": pid for number, pid in enumerate(sorted(templates), 1)}


class Soak:
    """Shifts of generators at one server.

    Attributes:
        sent: Requests so far.
        outcomes: Of them.
    """

    def __init__(self, server: RunningServer, history: History) -> None:
        self.sent = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._server = server
        self._history = history

    def shift(self) -> float:
        """Sends a part of the requests; returns which share of them was bad."""
        with Bulk(self._server.grpc) as bulk:
            for _ in range(ROUNDS):
                self.sent += bulk.send(REQUESTS // 2 // SHIFTS // ROUNDS)
                self._server.get("/metrics")
                self._history.sample(self.sent)
        self.outcomes += bulk.outcomes
        return bulk.bad_share

    def warm_up(self) -> list[str]:
        """Sends until no process's memory grows any more; returns those of which it still does, after the most shifts.

        What is free in an allocator's arenas counts as the process's own, and grows by megabytes over the first tens of
        thousands of requests, while what is in use stays as it is.
        """
        growing: list[str] = []
        for number in range(1, MOST_WARM_UP + 1):
            self.shift()
            growing = self._history.growing(ROUNDS)
            if not growing and number >= LEAST_WARM_UP:
                break
        return growing


def test_memory_is_stable(
    start: Callable[..., RunningServer], demo_repository: Path, tmp_path: Path, transport: str, figures: Figures
) -> None:
    server, pids = start_soaked(start, demo_repository, tmp_path)
    history = History(pids)
    soak = Soak(server, history)
    with odd_ones(server.grpc) as odd:
        growing = soak.warm_up()
        figures.add(PROMISE, f"warm-up, {transport}", f"{soak.sent:,} requests; still growing: {growing or 'none'}")
        history.begin()
        bad_share = [soak.shift() for _ in range(MEASURED)][-1]
    assert {process.pid for process in server.workers()} | {server.process.pid} == set(pids.values())
    figures.add(PROMISE, f"requests, {transport}", f"{soak.sent:,} of generators, {odd.total():,} odd ones")
    check_growth(figures, PROMISE, transport, history.growths(), MOST_GROWTH, ALWAYS_ALLOWED)
    assert history.more(lambda holding: holding.descriptors, FEW) == {}
    assert history.more(lambda holding: holding.threads, FEW) == {}
    check_outcomes(soak.outcomes, odd, bad_share)


def check_outcomes(outcomes: Counter[tuple[str, str]], odd: Counter[str], bad_share: float) -> None:
    """The requests did what they were to do: a soak of refusals would show nothing."""
    by_kind = {name: {code: count for (kind, code), count in outcomes.items() if kind == name} for name, _ in outcomes}
    unary = by_kind["unary"]
    assert set(unary) == {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL"}
    assert unary["OK"] / sum(unary.values()) == pytest.approx(1 - bad_share, abs=0.02)
    assert set(by_kind["stream"]) == {"OK"}
    assert set(by_kind["hasty"]) <= {"OK", "DEADLINE_EXCEEDED"}
    assert by_kind["hasty"]["DEADLINE_EXCEEDED"] > 0
    assert set(odd) == {"OK", "CANCELLED", "DEADLINE_EXCEEDED", "messages of a stream"}
