"""Niceness while a worker loads: it is given back, also by threads that were started meanwhile."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quadriga.workers import priority
from quadriga.workers.priority import NICENESS, yielding


@pytest.fixture
def going() -> Iterator[threading.Event]:
    """Ends the threads of a test."""
    event = threading.Event()
    yield event
    event.set()


def niceness(task: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, task)


MAY_RETURN = pytest.mark.skipif(
    not priority._may_return_to(niceness(0)), reason="this process may not take niceness back"
)


@MAY_RETURN
def test_niceness_is_taken_on_and_given_back_by_every_thread(going: threading.Event) -> None:
    usual = niceness(os.getppid())
    yielded = max(niceness(0), NICENESS)
    started = threading.Event()
    tasks: list[int] = []

    def work() -> None:
        tasks.append(threading.get_native_id())
        started.set()
        going.wait()

    with yielding():
        assert niceness(0) == yielded
        threading.Thread(target=work).start()
        started.wait()
        assert niceness(tasks[0]) == yielded
    assert niceness(0) == niceness(tasks[0]) == usual


def test_where_it_could_not_be_given_back_it_is_not_taken_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "_may_return_to", lambda niceness: False)
    usual = niceness(0)
    with yielding():
        assert niceness(0) == usual


@MAY_RETURN
def test_a_process_is_told_to_as_it_starts_and_becomes_like_the_one_that_started_it() -> None:
    program = f"""
from {priority.__name__} import yielding
input()
with yielding():
    pass
print("left", flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        priority.yield_at_once(process.pid)
        assert niceness(process.pid) == max(niceness(0), NICENESS)
        process.stdin.write(b"go\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"left\n"
        assert niceness(process.pid) == niceness(0)
        process.stdin.write(b"go\n")


def test_one_that_has_ended_is_left_alone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    priority.yield_at_once(process.pid)


@MAY_RETURN
def test_a_failure_gives_it_back() -> None:
    usual = niceness(os.getppid())
    with pytest.raises(ValueError, match="bad"), yielding():
        raise ValueError("bad")
    assert niceness(0) == usual


@pytest.mark.parametrize(
    ("limit", "niceness", "returns"),
    [(20, 0, True), (19, 0, False), (15, 5, True), (20, -5, False), (resource.RLIM_INFINITY, -20, True)],
)
def test_a_limit_lets_return_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: int, niceness: int, returns: bool
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    in_namespace = tmp_path / "uid_map"
    in_namespace.write_text("         0       1000          1\n")
    monkeypatch.setattr(priority, "_UID_MAP", in_namespace)
    assert priority._may_return_to(niceness) is returns


def test_where_it_may_not_be_given_back_after_all_the_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a capability turns out not to be for this."""
    monkeypatch.setattr(priority, "_may_return_to", lambda niceness: True)

    def refuse(which: int, who: int, niceness: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(priority, "_yield", lambda pid: None)
    monkeypatch.setattr(os, "setpriority", refuse)
    with yielding():
        pass
