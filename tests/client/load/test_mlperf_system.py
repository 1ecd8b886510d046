"""What MLPerf's load generator calls its system under test, over connections that the tests play."""

import select
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

import pytest

from quadriga_client.load.errors import LoadError
from quadriga_client.load.mlperf.process import rehearse
from quadriga_client.load.mlperf.system import Complete, SystemUnderTest

SECOND = 1_000_000_000
NOT_FOUND, DEADLINE_EXCEEDED, UNAVAILABLE = 5, 4, 14


class Answer(NamedTuple):
    """A request's end."""

    request: int
    code: int = 0


class Answers(NamedTuple):
    """What came at once."""

    ended: list[Answer]


class FakeConnections:
    """Two connections that answer what the test tells them to; waiting takes no time."""

    def __init__(self) -> None:
        self.failure: LoadError | None = None
        self.sent: list[tuple[int, int]] = []
        self.queued: list[tuple[int, int]] = []
        self.answers: list[Answer] = []
        self.overdue: list[Answer] = []
        self.watched = -1

    def __len__(self) -> int:
        return 2

    def watch(self, fileno: int) -> None:
        self.watched = fileno

    def called(self) -> bool:
        """Whether the watched file would have ended a wait."""
        return bool(select.select([self.watched], [], [], 0)[0])

    def send(self, slot: int, request: int) -> None:
        self.queued.append((slot, request))

    def flush(self) -> None:
        self.sent += self.queued
        self.queued.clear()

    def wait(self, until_ns: int) -> Iterable[Answers]:
        answers, self.answers = self.answers, []
        return [Answers([answer]) for answer in answers]

    def expire(self, now_ns: int) -> Iterable[Answers]:
        overdue, self.overdue = self.overdue, []
        return [Answers(overdue)] if overdue else []


def system_over(
    connections: FakeConnections,
    requests: int = 1,
    most_under_way: int | None = None,
    complete: Complete = lambda samples: None,
    clock: Callable[[], int] = lambda: 0,
) -> SystemUnderTest:
    return SystemUnderTest(
        connections, requests=requests, timeout=5.0, most_under_way=most_under_way, complete=complete, clock=clock
    )


class Harness:
    """A system under test over fake connections, with a clock that the test turns."""

    def __init__(self, *, requests: int, most_under_way: int | None) -> None:
        self.now = 1000 * SECOND
        self.completed: list[list[int]] = []
        self.connections = FakeConnections()
        self.system = system_over(self.connections, requests, most_under_way, self.completed.append, lambda: self.now)


@pytest.fixture
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    harness = Harness(**{"requests": 1, "most_under_way": None, **getattr(request, "param", {})})
    yield harness
    harness.system.close()


@pytest.mark.parametrize("harness", [{"requests": 3}], indirect=True)
def test_a_sample_sends_the_request_at_its_index(harness: Harness) -> None:
    harness.system.issue([900, 901, 902, 903], [2, 0, 1, 5])
    harness.system.step()
    assert [number % 3 for _, number in harness.connections.sent] == [2, 0, 1, 2]
    assert [slot for slot, _ in harness.connections.sent] == [0, 1, 0, 1]
    assert len({number for _, number in harness.connections.sent}) == 4


def test_samples_wake_a_step_that_waits(harness: Harness) -> None:
    assert not harness.connections.called()
    harness.system.issue([900], [0])
    assert harness.connections.called()
    harness.system.step()
    assert not harness.connections.called()
    assert harness.connections.sent == [(0, 0)]


def test_more_wake_ups_than_a_socket_holds_do_not_block(harness: Harness) -> None:
    for _ in range(5000):
        harness.system.wake()
    harness.system.step()


def test_answers_complete_their_samples(harness: Harness) -> None:
    harness.system.issue([900, 901, 902], [0, 0, 0])
    harness.system.step()
    harness.connections.answers = [Answer(2), Answer(0)]
    harness.system.step()
    assert harness.completed == [[902, 900]]
    assert not harness.system.idle
    harness.connections.answers = [Answer(1)]
    harness.system.step()
    assert harness.system.idle
    assert harness.system.failures == {}


def test_a_failed_request_completes_its_sample_and_is_counted(harness: Harness) -> None:
    harness.system.issue([900], [0])
    harness.system.step()
    harness.connections.answers = [Answer(0, NOT_FOUND)]
    harness.system.step()
    assert harness.completed == [[900]]
    assert harness.system.failures == {NOT_FOUND: 1}


@pytest.mark.parametrize("harness", [{"most_under_way": 2}], indirect=True)
def test_no_more_than_so_many_are_under_way(harness: Harness) -> None:
    harness.system.issue(range(5), range(5))
    harness.system.step()
    assert harness.connections.sent == [(0, 0), (1, 1)]
    harness.connections.answers = [Answer(1)]
    harness.system.step()
    assert harness.connections.sent == [(0, 0), (1, 1), (0, 2)]


def test_a_request_that_is_given_up_completes_its_sample(harness: Harness) -> None:
    harness.system.issue([900, 901], [0, 0])
    harness.system.step()
    harness.now += 4 * SECOND
    harness.connections.answers = [Answer(1)]
    harness.system.step()
    harness.now += 2 * SECOND
    harness.connections.overdue = [Answer(0, DEADLINE_EXCEEDED)]
    harness.system.step()
    assert harness.completed == [[901], [900]]
    assert harness.system.failures == {DEADLINE_EXCEEDED: 1}


def test_a_server_that_answers_nothing_ends_the_run(harness: Harness) -> None:
    harness.system.issue([900], [0])
    harness.system.step()
    harness.now += 6 * SECOND
    harness.connections.overdue = [Answer(0, DEADLINE_EXCEEDED)]
    with pytest.raises(LoadError, match="has not answered anything for 5 s"):
        harness.system.step()


def test_a_server_that_cannot_be_reached_any_more_ends_the_run(harness: Harness) -> None:
    harness.system.issue([900], [0])
    harness.system.step()
    harness.connections.answers = [Answer(0, UNAVAILABLE)]
    harness.connections.failure = LoadError("nobody listens there")
    with pytest.raises(LoadError, match="nobody listens there"):
        harness.system.step()


def test_a_rehearsal_counts_answers_after_its_first_half() -> None:
    now = 0.0

    class Slow(FakeConnections):
        """Take 10 ms for each request, by the test's clock."""

        def send(self, slot: int, request: int) -> None:
            nonlocal now
            super().send(slot, request)
            now += 0.01
            self.answers.append(Answer(request))

    connections = Slow()
    with closing(system_over(connections)) as system:
        rate = rehearse(system, 1, seconds=2.0, clock=lambda: now)
        assert system.idle
    assert rate == pytest.approx(100.0, rel=0.02)
    assert len(connections.sent) == pytest.approx(200, abs=2)
