"""Signals of a command: the first one ends its work, none its end. The process signals itself."""

import signal

import pytest

from quadriga.commands.endings import Endings


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_ends_the_work_and_later_ones_do_nothing(number: signal.Signals, status: int) -> None:
    with Endings() as endings:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert (endings.received, endings.status) == (number, status)


def test_once_signals_are_held_not_even_the_first_one_does_anything() -> None:
    with Endings() as endings:
        endings.hold()
        signal.raise_signal(signal.SIGTERM)
    assert endings.received is None


def test_what_signals_did_before_they_do_again() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Endings():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
