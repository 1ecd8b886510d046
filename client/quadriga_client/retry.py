"""When a failed call is tried again: the policy as a value, the deadline, and the two loops that apply them.

Runs in the user's process. Trying an inference twice is safe, since a model keeps nothing of a request.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc

from quadriga_client.errors import InputError, RpcFailed
from quadriga_proto.conventions import PUSHBACK_TRAILER

Result = TypeVar("Result")

_PUSHBACK_TRAILERS: Final = (PUSHBACK_TRAILER, f"grpc-{PUSHBACK_TRAILER}")

#: A year, in seconds: gRPC's own arithmetic overflows somewhere beyond, and takes the deadline as passed.
LONGEST_TIMEOUT: Final = 365 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and when a call that failed is tried again. `RetryPolicy(attempts=1)` never tries again.

    The wait doubles (or grows by `multiplier`) from one failure to the next. A server that says when to come back, by
    the trailing metadata `retry-pushback-ms` or gRPC's own `grpc-retry-pushback-ms`, is believed. No wait goes past the
    call's deadline: where it would, the last failure is raised at once.

    Attributes:
        attempts: The first one included.
        initial_backoff: Seconds before the second attempt.
        multiplier: From one wait to the next.
        max_backoff: The longest wait, in seconds, before jitter.
        jitter: Share of a wait by which it varies at random, up or down: 0.2 is 80 % to 120 %.
        codes: The statuses that are worth another attempt. CANCELLED is one: a call that this side gives up ends here,
            and a server on grpcio says it of calls that come in the moment in which it stops.

    Raises:
        InputError: One of them is out of its range.
    """

    attempts: int = 4
    initial_backoff: float = 0.1
    multiplier: float = 2.0
    max_backoff: float = 2.0
    jitter: float = 0.2
    codes: frozenset[grpc.StatusCode] = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"RetryPolicy.attempts counts the first one and is at least 1, got {self.attempts}")
        if not 0 <= self.initial_backoff <= self.max_backoff:
            raise InputError(
                f"RetryPolicy needs 0 <= initial_backoff <= max_backoff, got {self.initial_backoff} and"
                f" {self.max_backoff}"
            )
        if self.multiplier < 1:
            raise InputError(f"RetryPolicy.multiplier is at least 1, got {self.multiplier}")
        if not 0 <= self.jitter <= 1:
            raise InputError(f"RetryPolicy.jitter is between 0 and 1, got {self.jitter}")


class Deadline:
    """The instant by which a call, all its attempts included, must have ended."""

    __slots__ = ("_at", "_clock")

    def __init__(self, timeout: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """`timeout` seconds from now by `clock`; None, like anything beyond `LONGEST_TIMEOUT`, is never."""
        self._clock = clock
        self._at = None if timeout is None or timeout > LONGEST_TIMEOUT else clock() + timeout

    def remaining(self) -> float | None:
        """Seconds that are left, never below 0; None when there is no end."""
        return None if self._at is None else max(self._at - self._clock(), 0.0)


class Backoff:
    """The waits between the attempts of one call."""

    __slots__ = ("_attempts", "_deadline", "_policy", "_random", "_wait")

    def __init__(self, policy: RetryPolicy, deadline: Deadline, random: Callable[[], float]) -> None:
        """`random` gives numbers from 0 to 1."""
        self._policy = policy
        self._deadline = deadline
        self._random = random
        self._attempts = 0
        self._wait = policy.initial_backoff

    def after(self, failure: RpcFailed) -> float | None:
        """Seconds to wait before the next attempt; None when `failure` was the last."""
        self._attempts += 1
        if self._attempts >= self._policy.attempts or failure.code not in self._policy.codes:
            return None
        wait = self._wait * (1 + self._policy.jitter * (2 * self._random() - 1))
        self._wait = min(self._wait * self._policy.multiplier, self._policy.max_backoff)
        pushback = next(filter(lambda value: value is not None, map(failure.trailer, _PUSHBACK_TRAILERS)), None)
        if pushback is not None:
            if not pushback.isdecimal():
                return None
            wait = int(pushback) / 1000
        remaining = self._deadline.remaining()
        return wait if remaining is None or wait < remaining else None


def call(
    attempt: Callable[[float | None], Result],
    policy: RetryPolicy,
    deadline: Deadline,
    *,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = random.random,
) -> Result:
    """Runs `attempt` with the seconds that are left, as often as the policy says.

    Raises:
        RpcFailed: The last attempt's.
    """
    backoff = Backoff(policy, deadline, random)
    while True:
        try:
            return attempt(deadline.remaining())
        except RpcFailed as failure:
            wait = backoff.after(failure)
            if wait is None:
                raise
        sleep(wait)


async def call_async(
    attempt: Callable[[float | None], Awaitable[Result]],
    policy: RetryPolicy,
    deadline: Deadline,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    random: Callable[[], float] = random.random,
) -> Result:
    """`call`, for coroutines."""
    backoff = Backoff(policy, deadline, random)
    while True:
        try:
            return await attempt(deadline.remaining())
        except RpcFailed as failure:
            wait = backoff.after(failure)
            if wait is None:
                raise
        await sleep(wait)
