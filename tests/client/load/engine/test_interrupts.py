"""Ctrl-C that comes at the wrong moment."""

import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from quadriga_client.load.engine import interrupts


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Whatever a test does, the handler is that of before."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(done: list[str]) -> None:
    with interrupts.held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("what it was in")


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(done)
    assert done == ["what it was in"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_goes_before_an_error() -> None:
    def fail() -> None:
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
            raise OSError

    with pytest.raises(KeyboardInterrupt) as caught:
        fail()
    assert isinstance(caught.value.__context__, OSError)


def test_a_sigterm_that_raises_waits_likewise_and_another_one_is_left_alone() -> None:
    done: list[str] = []

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def work() -> None:
        with interrupts.held():
            signal.raise_signal(signal.SIGTERM)
            done.append("what it was in")

    default = signal.getsignal(signal.SIGTERM)
    with interrupts.held():
        assert signal.getsignal(signal.SIGTERM) == default
    signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert (done, signal.getsignal(signal.SIGTERM)) == (["what it was in"], end)
    finally:
        signal.signal(signal.SIGTERM, default)


def test_without_an_interrupt_nothing_happens() -> None:
    with interrupts.held():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_blocks_may_stand_in_one_another() -> None:
    done: list[str] = []

    def work() -> None:
        with interrupts.held():
            interrupted(done)
            done.append("and the one around it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["what it was in", "and the one around it"]


def test_other_threads_are_not_interrupted_anyway() -> None:
    done: list[object] = []

    def hold() -> None:
        with interrupts.held():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]


def test_a_handler_that_is_not_pythons_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    set_handlers: list[Callable[..., object]] = []
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    monkeypatch.setattr(signal, "signal", lambda number, handler: set_handlers.append(handler))
    with interrupts.held():
        pass
    assert set_handlers == []
