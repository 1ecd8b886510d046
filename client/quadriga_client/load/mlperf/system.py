"""What MLPerf calls the system under test: the load generator's samples out as requests, answers back to it.

Runs in the load generator's process: `issue` in the thread that made the run, `step` in one of its own.
"""

import socket
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from quadriga_client.load.errors import LoadError

#: The longest that a step waits, and so how late requests are given up.
STEP_SECONDS: Final = 0.25

Complete = Callable[[list[int]], None]


class Ended(Protocol):
    """A request that ended, as connections tell it."""

    @property
    def request(self) -> int:
        """The number that `send` was given."""

    @property
    def code(self) -> int:
        """The status, as gRPC counts."""


class Received(Protocol):
    """Some that ended at once."""

    @property
    def ended(self) -> Sequence[Ended]:
        """In their order."""


class Connections(Protocol):
    """What is used of `quadriga_client.load.engine.pool.Pool`."""

    failure: LoadError | None

    def __len__(self) -> int:
        """How many."""

    def watch(self, fileno: int) -> None:
        """Has `wait` end early when that file has something to read."""

    def send(self, slot: int, request: int) -> None:
        """Queues the request of that number, modulo the number of requests."""

    def flush(self) -> None:
        """Sends what was queued."""

    def wait(self, until_ns: int) -> Iterable[Received]:
        """Waits for answers, or until a time; then what ended."""

    def expire(self, now_ns: int) -> Iterable[Received]:
        """Gives up what is past the timeout."""


class Query(NamedTuple):
    """Samples that were issued at once: millions, in Offline, and so not a Python object for each.

    Attributes:
        samples: The load generator's numbers.
        indexes: Their places in its set.
    """

    samples: "array[int]"
    indexes: "array[int]"


class SystemUnderTest:
    """Sends samples and tells of their ends.

    Attributes:
        complete: Told of samples that ended, well or not: the load generator waits for every one.
        answered: Requests that ended with OK.
        failures: gRPC's code -> requests that ended with it, other than OK.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        requests: int,
        timeout: float,
        most_under_way: int | None,
        complete: Complete,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Over open connections in turn.

        Args:
            connections: That were opened.
            requests: How many different ones they know.
            timeout: Seconds after which they give requests up.
            most_under_way: At once; None: no limit.
            complete: See above.
            clock: Nanoseconds.
        """
        self.complete = complete
        self.answered = 0
        self.failures: Counter[int] = Counter()
        self._connections = connections
        self._requests = requests
        self._timeout = timeout
        self._most = most_under_way
        self._clock = clock
        self._queries: deque[Query] = deque()
        self._position = 0  # in the first of them
        self._under_way: dict[int, int] = {}  # requests by their numbers -> samples
        self._sent = 0
        self._answered_ns = 0
        self._waker, self._awake = socket.socketpair()
        self._waker.setblocking(False)
        self._awake.setblocking(False)
        connections.watch(self._awake.fileno())

    @property
    def idle(self) -> bool:
        """Whether every sample has ended."""
        return not self._queries and not self._under_way

    def issue(self, samples: Iterable[int], indexes: Iterable[int]) -> None:
        """Takes samples, by the load generator's numbers and by their places in its set; from any thread.

        Raises:
            ValueError: There are more of the ones than of the others.
        """
        query = Query(array("Q", samples), array("Q", indexes))
        if len(query.samples) != len(query.indexes):
            raise ValueError(f"{len(query.samples)} samples came with {len(query.indexes)} indexes")
        if query.samples:
            self._queries.append(query)
            self.wake()

    def wake(self) -> None:
        """Ends the wait of a step; from any thread."""
        with suppress(BlockingIOError):  # as many wake-ups as the socket holds are under way already
            self._waker.send(b"\0")

    def step(self) -> None:
        """Waits for answers and samples, `STEP_SECONDS` at most, and deals with them.

        Raises:
            LoadError: The server went away, or answers nothing any more.
        """
        until_ns = self._clock() + round(STEP_SECONDS * 1e9)
        ended = [each for received in self._connections.wait(until_ns) for each in received.ended]
        # Before samples are looked for: what is issued from now on wakes the next step.
        with suppress(BlockingIOError):
            self._awake.recv(65_536)
        now = self._clock()
        if ended:
            self._answered_ns = now
        expired = [each for received in self._connections.expire(now) for each in received.ended]
        if expired and now - self._answered_ns >= self._timeout * 1e9:
            raise LoadError(f"the server has not answered anything for {self._timeout:g} s")
        if self._connections.failure is not None:
            raise self._connections.failure
        self._end(ended + expired)
        self._send()
        self._connections.flush()

    def close(self) -> None:
        """Frees what is its own."""
        self._waker.close()
        self._awake.close()

    def _send(self) -> None:
        while self._queries and (self._most is None or len(self._under_way) < self._most):
            sample, index = self._next()
            # Numbers are unique, and which request one sends is told by their remainder.
            number = self._sent * self._requests + index % self._requests
            self._under_way[number] = sample
            self._connections.send(self._sent % len(self._connections), number)
            self._sent += 1

    def _next(self) -> tuple[int, int]:
        """The sample, and its index, whose turn it is."""
        query = self._queries[0]
        found = query.samples[self._position], query.indexes[self._position]
        self._position += 1
        if self._position == len(query.samples):
            self._queries.popleft()
            self._position = 0
        return found

    def _end(self, ended: Sequence[Ended]) -> None:
        for each in ended:
            if each.code:
                self.failures[each.code] += 1
            else:
                self.answered += 1
        if ended:
            self.complete([self._under_way.pop(each.request) for each in ended])
