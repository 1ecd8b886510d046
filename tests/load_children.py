"""Child processes of the load tester that are not there: the test writes their reports."""

import os
from typing import IO

import pytest

from quadriga_client.load.engine import child
from quadriga_client.load.engine.messages import Kind, pack_report


class FakeProcess:
    """Stands for the process behind a `Child`, once `spawn` has made it.

    Attributes:
        pid: Its number.
        reports: Where it would write them.
    """

    pid = 4711

    def __init__(self, files: tuple[int, ...]) -> None:
        self.reports = os.dup(files[0])
        reading, writing = os.pipe()
        self.stdin: IO[bytes] = os.fdopen(writing, "wb", buffering=0)
        self._orders = reading

    def report(self, kind: Kind, until_ns: int = 0, payload: bytes = b"") -> None:
        os.write(self.reports, pack_report(kind, until_ns, payload))

    def wait(self, timeout: float | None = None) -> int:
        return 0

    def close(self) -> None:
        for each in (self.reports, self._orders):
            os.close(each)


def pretend(monkeypatch: pytest.MonkeyPatch) -> list[FakeProcess]:
    """Has the load tester start nothing; those that it would have started. They are to be closed."""
    started: list[FakeProcess] = []

    def spawn(module: str, *arguments: str, stdout: int, buffer_bytes: int, files: tuple[int, ...]) -> FakeProcess:
        started.append(FakeProcess(files))
        return started[-1]

    monkeypatch.setattr(child, "spawn", spawn)
    return started
