"""SIGINT and SIGTERM of a command that has something to put back and to write. Runs in the command's own process."""

import signal
from types import FrameType, TracebackType
from typing import Final, Self

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


class Endings:
    """Has the first signal end the work, and none disturb what comes after it; a context manager.

    The first one raises KeyboardInterrupt, whichever it is. Later ones, and all after `hold`, do nothing: what ends a
    command cleanly takes seconds, and a second Ctrl-C would leave a server as it should not be.

    Attributes:
        received: The signal that ended the work; None where none did.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._held = False

    @property
    def status(self) -> int:
        """The exit status of a command that a signal ended, as shells have it."""
        return 128 + (signal.SIGINT if self.received is None else self.received)

    def hold(self) -> None:
        """From now on, signals do nothing."""
        self._held = True

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._hear) for number in _ENDING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self._held:
            self._held = True
            self.received = number
            raise KeyboardInterrupt
