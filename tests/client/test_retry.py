"""The retry policy, against a clock that the tests turn."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from quadriga_client.errors import InputError, InvalidArgument, NotFound, RpcFailed, Unavailable
from quadriga_client.retry import Deadline, RetryPolicy, call, call_async
from quadriga_proto.conventions import PUSHBACK_TRAILER

STEADY = RetryPolicy(attempts=5, initial_backoff=0.1, multiplier=2.0, max_backoff=0.3, jitter=0.0)


class Clock:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


class Attempts:
    """Fails as told, then answers "done"; remembers the seconds that each attempt was given."""

    def __init__(self, *failures: RpcFailed) -> None:
        self._failures = iter(failures)
        self.given: list[float | None] = []

    def __call__(self, remaining: float | None) -> str:
        self.given.append(remaining)
        for failure in self._failures:
            raise failure
        return "done"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def run(request: pytest.FixtureRequest, clock: Clock) -> Callable[..., str]:
    """The loop under test, with the fake clock."""

    def run_sync(attempts: Attempts, policy: RetryPolicy, timeout: float | None = None, random: float = 0.5) -> str:
        return call(attempts, policy, Deadline(timeout, clock), sleep=clock.sleep, random=lambda: random)

    def run_async(attempts: Attempts, policy: RetryPolicy, timeout: float | None = None, random: float = 0.5) -> str:
        async def attempt(remaining: float | None) -> str:
            return attempts(remaining)

        async def sleep(seconds: float) -> None:
            clock.sleep(seconds)

        return asyncio.run(call_async(attempt, policy, Deadline(timeout, clock), sleep=sleep, random=lambda: random))

    return run_async if request.param else run_sync


def unavailable(count: int = 1, *trailers: tuple[str, str]) -> list[RpcFailed]:
    return [Unavailable(f"failure {number}", trailers) for number in range(count)]


def test_waits_grow_up_to_their_limit(run: Callable[..., str], clock: Clock) -> None:
    assert run(Attempts(*unavailable(4)), STEADY) == "done"
    assert clock.sleeps == pytest.approx([0.1, 0.2, 0.3, 0.3])


def test_the_last_failure_is_raised(run: Callable[..., str], clock: Clock) -> None:
    attempts = Attempts(*unavailable(9))
    with pytest.raises(Unavailable, match="failure 4"):
        run(attempts, STEADY)
    assert len(attempts.given) == STEADY.attempts
    assert len(clock.sleeps) == STEADY.attempts - 1


def test_one_attempt_is_no_retry(run: Callable[..., str], clock: Clock) -> None:
    with pytest.raises(Unavailable):
        run(Attempts(*unavailable()), RetryPolicy(attempts=1))
    assert clock.sleeps == []


@pytest.mark.parametrize("failure", [InvalidArgument("wrong"), NotFound("nobody")])
def test_other_codes_are_raised_at_once(run: Callable[..., str], clock: Clock, failure: RpcFailed) -> None:
    with pytest.raises(type(failure)):
        run(Attempts(failure), STEADY)
    assert clock.sleeps == []


def test_codes_are_the_callers_choice(run: Callable[..., str]) -> None:
    policy = RetryPolicy(codes=frozenset({grpc.StatusCode.NOT_FOUND}))
    assert run(Attempts(NotFound("not yet")), policy) == "done"
    with pytest.raises(Unavailable):
        run(Attempts(*unavailable()), policy)


@pytest.mark.parametrize(("random", "wait"), [(0.0, 0.05), (0.5, 0.1), (1.0, 0.15)])
def test_jitter_varies_the_wait(run: Callable[..., str], clock: Clock, random: float, wait: float) -> None:
    policy = RetryPolicy(initial_backoff=0.1, jitter=0.5)
    run(Attempts(*unavailable()), policy, random=random)
    assert clock.sleeps == pytest.approx([wait])


@pytest.mark.parametrize("key", [PUSHBACK_TRAILER, "grpc-retry-pushback-ms"])
def test_the_server_says_when_to_come_back(run: Callable[..., str], clock: Clock, key: str) -> None:
    run(Attempts(*unavailable(2, (key, "750"))), STEADY)
    assert clock.sleeps == [0.75, 0.75]


@pytest.mark.parametrize("value", ["-1", "soon", ""])
def test_the_server_says_not_to_come_back(run: Callable[..., str], clock: Clock, value: str) -> None:
    with pytest.raises(Unavailable):
        run(Attempts(*unavailable(1, (PUSHBACK_TRAILER, value))), STEADY)
    assert clock.sleeps == []


def test_no_wait_goes_past_the_deadline(run: Callable[..., str], clock: Clock) -> None:
    attempts = Attempts(*unavailable(9))
    with pytest.raises(Unavailable, match="failure 2"):
        run(attempts, STEADY, timeout=0.5)
    assert clock.sleeps == pytest.approx([0.1, 0.2])
    assert attempts.given == pytest.approx([0.5, 0.4, 0.2])


def test_a_pushback_past_the_deadline_ends_it(run: Callable[..., str], clock: Clock) -> None:
    with pytest.raises(Unavailable):
        run(Attempts(*unavailable(1, (PUSHBACK_TRAILER, "5000"))), STEADY, timeout=1.0)
    assert clock.sleeps == []


def test_without_a_deadline_attempts_have_no_timeout(run: Callable[..., str]) -> None:
    attempts = Attempts(*unavailable(2))
    run(attempts, STEADY)
    assert attempts.given == [None, None, None]


def test_remaining_time_is_never_negative(clock: Clock) -> None:
    deadline = Deadline(1.0, clock)
    clock.sleep(3.0)
    assert deadline.remaining() == 0.0


def test_many_attempts_do_not_overflow(clock: Clock) -> None:
    failures = itertools.repeat(Unavailable("never"), 2999)
    policy = RetryPolicy(attempts=3000, multiplier=10.0, jitter=0.0)
    assert call(Attempts(*failures), policy, Deadline(None, clock), sleep=clock.sleep) == "done"
    assert max(clock.sleeps) == policy.max_backoff


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, "attempts"),
        ({"initial_backoff": -1.0}, "initial_backoff"),
        ({"initial_backoff": 3.0, "max_backoff": 1.0}, "max_backoff"),
        ({"multiplier": 0.5}, "multiplier"),
        ({"jitter": 1.5}, "jitter"),
    ],
)
def test_policies_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RetryPolicy(**options)
