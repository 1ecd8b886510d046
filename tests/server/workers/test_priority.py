"""Niceness while a worker loads, in this process: it is given back, also by threads that were started meanwhile."""

import os
import threading
from collections.abc import Iterator

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


@pytest.mark.skipif(not priority._may_return(), reason="this process may not take niceness back")
def test_niceness_is_taken_on_and_given_back_by_every_thread(going: threading.Event) -> None:
    usual = niceness(0)
    yielded = max(usual, NICENESS)
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
    monkeypatch.setattr(priority, "_may_return", lambda: False)
    usual = niceness(0)
    with yielding():
        assert niceness(0) == usual


def test_a_failure_gives_it_back() -> None:
    usual = niceness(0)
    with pytest.raises(ValueError, match="bad"), yielding():
        raise ValueError("bad")
    assert niceness(0) == usual
