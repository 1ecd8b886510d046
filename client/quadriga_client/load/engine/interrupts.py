"""Ctrl-C, and a SIGTERM that raises as it does, wait until something is complete. Runs in the command's process."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keeps SIGINT and SIGTERM back until the end of the block: what is read in it is still to be read, or stored.

    Blocking the signals would not do: where there are other threads, one of them takes it, and this one is interrupted.
    """
    with _kept_back(signal.SIGINT), _kept_back(signal.SIGTERM):
        yield


@contextlib.contextmanager
def _kept_back(number: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(number)):
        yield  # no Python code of this thread's is interrupted
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = signal.signal(number, note)
    try:
        yield
    finally:
        signal.signal(number, before)
        if came:
            signal.raise_signal(number)
