"""What a generator makes of answers."""

import time
from collections.abc import Iterator
from typing import cast

import pytest

from quadriga_client.load.arrivals import ClosedLoop
from quadriga_client.load.engine.generator import Run
from quadriga_client.load.engine.messages import Begin
from quadriga_client.load.engine.pool import Pool, Received
from quadriga_client.load.engine.recorder import Recorder
from quadriga_client.load.engine.streams import Ended
from quadriga_client.load.status_codes import DEADLINE_EXCEEDED, OK
from quadriga_client.load.target import LoadTarget

BEGIN = Begin(LoadTarget(url="peer:1", requests=(b"",), timeout=1.0), 0, 1, 1, 1)


class Answering:
    """A pool whose answers are known beforehand."""

    failure = None

    def __init__(self, *received: Received) -> None:
        self._received = list(received)
        self.sent: list[int] = []

    def __len__(self) -> int:
        return 1

    def send(self, slot: int, request: int) -> None:
        self.sent.append(request)

    def flush(self) -> None:
        pass

    def wait(self, until_ns: int) -> Iterator[Received]:
        yield self._received.pop(0)


class Noting:
    """A recorder that keeps everything."""

    def __init__(self) -> None:
        self.samples: list[tuple[int, int, int, int]] = []

    def add(self, due: int, begun: int, ended: int, code: int) -> None:
        self.samples.append((due, begun, ended, code))


def test_each_answer_has_its_own_time_and_so_has_the_request_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 1000)
    pool = Answering(
        Received(0, [Ended(0, OK, 5, 1200), Ended(1, DEADLINE_EXCEEDED, 0, 1300)]),
        Received(0, [Ended(3, OK, 5, 1400), Ended(2, OK, 5, 1500)]),
    )
    recorder = Noting()
    run = Run(BEGIN, ClosedLoop(2), cast("Pool", pool), cast("Recorder", recorder))
    run.start(900)
    run.step(2000)
    run.step(2000)
    assert recorder.samples == [
        (900, 1000, 1200, OK),
        (900, 1000, 1300, DEADLINE_EXCEEDED),
        (1300, 1000, 1400, OK),
        (1200, 1000, 1500, OK),
    ]
    assert pool.sent == [0, 1, 2, 3, 4, 5]
