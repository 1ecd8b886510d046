"""What the kernel tells of generators, and when that makes a row theirs."""

import os
import sys
from pathlib import Path

import pytest

from quadriga_client.load.scheduling import Look, Scheduled, Scheduling, scheduling_of, starvation, starvation_in

SECOND = 1_000_000_000
MS = 1_000_000
BEFORE: Scheduling = {7: Scheduled(5 * SECOND, 3 * SECOND, 100)}


def after(on_cpu: float, waiting: float, turns: int = 1000, pid: int = 7) -> dict[int, Scheduled]:
    """A second later; the shares of it."""
    early = BEFORE[7]
    return {
        pid: Scheduled(
            early.on_cpu_ns + round(on_cpu * SECOND), early.waiting_ns + round(waiting * SECOND), early.turns + turns
        )
    }


@pytest.mark.parametrize(
    ("on_cpu", "waiting", "turns", "latency", "starved"),
    [
        (0.5, 0.0, 1000, 1.0, False),
        (0.89, 0.0, 1000, 1.0, False),
        (0.91, 0.0, 1000, 1.0, True),
        (0.6, 0.31, 100_000, 1.0, True),
        (0.2, 0.2, 1000, 1.9, True),  # 0.2 ms for each answer
        (0.2, 0.2, 1000, 2.1, False),
        (0.2, 0.09, 1000, 0.3, False),  # a wake-up, next to a short latency
        (0.2, 0.2, 1000, None, False),
        (0.91, 0.0, 1000, None, True),
    ],
)
def test_a_closed_loops_generator_is_busy_or_waits(
    on_cpu: float, waiting: float, turns: int, latency: float | None, starved: bool
) -> None:
    said = starvation(BEFORE, after(on_cpu, waiting, turns), SECOND, latency_ms=latency, lag_share=0.1)
    assert (said is not None) is starved
    assert said is None or said.startswith("generator saturated: process 7 of it ")


@pytest.mark.parametrize(
    ("on_cpu", "waiting", "requests", "starved"),
    [(1.0, 0.0, 5000, False), (0.9, 0.1, 5000, False), (0.1, 0.5, 1000, True), (0.1, 0.1, 100, True)],
)
def test_an_open_loops_generator_may_spin_but_not_wait(
    on_cpu: float, waiting: float, requests: int, starved: bool
) -> None:
    said = starvation(BEFORE, after(on_cpu, waiting, 10), SECOND, latency_ms=2.0, lag_share=0.1, open_requests=requests)
    assert (said is not None) is starved


def test_the_sentence_has_the_figures() -> None:
    assert starvation(BEFORE, after(0.7, 0.25), SECOND, latency_ms=5.0, lag_share=0.1) == (
        "generator saturated: process 7 of it was running 70% of the time and waited for a CPU 25% of it; the "
        "latencies are not the server's; use more processes, another machine, or less load"
    )
    said = starvation(BEFORE, after(0.1, 0.4), SECOND, latency_ms=2.0, lag_share=0.1)
    assert said is not None
    assert "waited for a CPU 40% of the time, which is 0.4 ms of a mean latency of 2 ms;" in said


def test_one_of_several_processes_is_enough() -> None:
    both: Scheduling = {7: BEFORE[7], 8: BEFORE[7]}
    late = {**after(0.1, 0.0), **after(0.95, 0.0, pid=8)}
    said = starvation(both, late, SECOND, latency_ms=1.0, lag_share=0.1)
    assert said is not None
    assert "process 8 of it" in said


@pytest.mark.parametrize(
    ("before", "late", "wall"),
    [
        ({}, {}, SECOND),
        (BEFORE, {}, SECOND),
        ({}, after(0.95, 0.0), SECOND),
        (BEFORE, after(0.95, 0.0, pid=8), SECOND),
        (BEFORE, after(-0.1, 0.0), SECOND),  # a thread has ended, and its share is gone
        (BEFORE, after(0.95, 0.0), 0),
    ],
)
def test_what_is_not_known_is_no_alarm(before: Scheduling, late: Scheduling, wall: int) -> None:
    assert starvation(before, late, wall, latency_ms=1.0, lag_share=0.1) is None


def test_a_window_without_a_cpu_is_found_among_many() -> None:
    looks = [Look(0, {7: Scheduled(0, 0, 1)})]
    for number in range(1, 11):
        at, last = looks[-1], looks[-1].scheduling[7]
        waited = SECOND if number == 4 else 0
        looks.append(
            Look(at.at_ns + SECOND, {7: Scheduled(last.on_cpu_ns + MS, last.waiting_ns + waited, last.turns + 10_000)})
        )
    assert starvation_in(looks[:4], latency_ms=9.0, lag_share=0.1) is None
    said = starvation_in(looks, latency_ms=9.0, lag_share=0.1)
    assert said is not None
    assert "waited for a CPU 100% of it" in said
    assert starvation_in(looks[:1], latency_ms=9.0, lag_share=0.1) is None
    assert starvation_in([], latency_ms=None, lag_share=0.1) is None


def test_all_threads_of_a_process_count(tmp_path: Path) -> None:
    for thread, text in ((7, "100 20 3\n"), (9, "10 5 1\n"), (10, "")):
        (tmp_path / f"7/task/{thread}").mkdir(parents=True)
        (tmp_path / f"7/task/{thread}/schedstat").write_text(text)
    assert scheduling_of([7], tmp_path) == {7: Scheduled(110, 25, 4)}


def test_a_system_that_does_not_count_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "7/task/7").mkdir(parents=True)
    (tmp_path / "7/task/7/schedstat").write_text("0 0 0\n")
    assert scheduling_of([7, 8], tmp_path) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_this_process_has_had_its_turns() -> None:
    found = scheduling_of([os.getpid()])
    if not found:
        pytest.skip("this kernel does not count")
    assert found[os.getpid()].on_cpu_ns > 0
