"""A load generator and a server that exist only as arithmetic, for tests of measurements: time passes at once.

The server is a queue: requests are taken in the order in which they came, by the first of its workers that is free.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from quadriga_client.load.arrivals import Arrivals, ClosedLoop, schedule
from quadriga_client.load.errors import LoadError
from quadriga_client.load.samples import Samples
from quadriga_client.load.scheduling import Scheduled, Scheduling
from quadriga_client.load.status_codes import OK

MS = 1_000_000
SECOND = 1_000_000_000
#: When simulations begin: no test may take 0 for it.
START = 7 * SECOND
DEADLINE_EXCEEDED, UNAVAILABLE = 4, 14


class SimulatedClock:
    """A clock that goes on when a simulation says so.

    Attributes:
        now: In ns.
    """

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


def always(nanoseconds: int) -> Callable[[int], int]:
    """A service time that does not change."""
    return lambda since_start: nanoseconds


@dataclass
class SimulatedServer:
    """How requests fare.

    Attributes:
        service: From when a request's work begins, in ns from the start, to how long it takes, in ns.
        workers: How many requests it works on at once.
        stalls: (begin, end) in ns from the start, in which nothing goes on; ascending.
        code: Of its answers.
        silent: Whether it never answers.
    """

    service: Callable[[int], int] = field(default_factory=lambda: always(MS))
    workers: int = 1
    stalls: Sequence[tuple[int, int]] = ()
    code: int = OK
    silent: bool = False

    def done(self, begin: int) -> int:
        """When work that begins then is done, both from the start."""
        left = self.service(begin)
        for stall_begin, stall_end in self.stalls:
            if stall_end <= begin:
                continue
            if begin + left <= stall_begin:
                break
            left -= max(0, stall_begin - begin)
            begin = stall_end
        return begin + left


@dataclass
class SimulatedSource:
    """A `LoadSource`.

    Attributes:
        server: Where its load goes.
        clock: Moved on by `collect` and `finish`.
        gap: Time that the generator needs for each request before it can come to the next one, in ns.
        timeout: Time after which a request is given up, in ns.
        interrupts: Times from the start at which Ctrl-C comes, ascending.
        fails_at: Time from the start at which the server goes away for good, in ns: what is under way then is lost.
        busy: Of the generator process: its shares of the time on a CPU and waiting for one; None: nobody knows.
        turn: Its time between two turns on a CPU, in ns.
        runs: All that were started.
    """

    server: SimulatedServer
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    gap: int = 0
    timeout: int = 30 * SECOND
    interrupts: list[int] = field(default_factory=list)
    fails_at: int | None = None
    busy: tuple[float, float] | None = None
    turn: int = MS
    runs: "list[SimulatedRun]" = field(default_factory=list)

    def start(self, arrivals: Arrivals) -> "SimulatedRun":
        """See `LoadSource`."""
        self.runs.append(SimulatedRun(self, arrivals))
        return self.runs[-1]


class SimulatedRun:
    """A `Run`.

    Attributes:
        started_ns: See `Run`.
        finished: How often `finish` was called.
        finished_at: When, in ns.
    """

    def __init__(self, source: SimulatedSource, arrivals: Arrivals) -> None:
        self.started_ns = source.clock.now
        self.finished = self.finished_at = 0
        self._failed = False
        self._source = source
        self._generator_free = 0
        self._workers_free = [0] * source.server.workers
        self._ended: list[tuple[int, int, int, int]] = []  # a heap of ended, due, begun and code
        # Of a closed loop: when each caller is due; of an open one: the next request alone.
        self._due = [0] * arrivals.concurrency if isinstance(arrivals, ClosedLoop) else []
        self._schedule = iter(()) if isinstance(arrivals, ClosedLoop) else schedule(arrivals)
        self._closed = isinstance(arrivals, ClosedLoop)
        self._due += itertools.islice(self._schedule, 1)

    def collect(self, until_ns: int) -> Samples:
        """See `Run`; one that is late returns at once."""
        until = until_ns - self.started_ns
        self._interrupt(until)
        self._source.clock.now = max(self._source.clock.now, until_ns)
        self._send(until)
        failing = self._source.fails_at
        if failing is not None and failing < until:
            self._failed = True
            raise LoadError("the server went away")
        return self._take(until)

    def scheduling(self) -> Scheduling:
        """See `Run`."""
        if self._source.busy is None:
            return {}
        now = self._source.clock.now
        running, waiting = self._source.busy
        return {4711: Scheduled(round(running * now), round(waiting * now), now // self._source.turn)}

    def finish(self) -> Samples:
        """See `Run`."""
        self.finished += 1
        self.finished_at = self._source.clock.now
        now = self._source.clock.now - self.started_ns
        if self._failed:
            return self._lost(self._source.fails_at or 0)
        self._send(now)
        last = max((ended for ended, *_ in self._ended), default=now)
        self._interrupt(last)
        self._source.clock.now = max(self._source.clock.now, self.started_ns + last)
        return self._take(last + 1)

    def _lost(self, at: int) -> Samples:
        """What ended before the server went away, and what was under way then."""
        self._ended = [each if each[0] < at else (at, *each[1:3], UNAVAILABLE) for each in self._ended if each[2] < at]
        heapq.heapify(self._ended)
        return self._take(at + 1)

    def _interrupt(self, until: int) -> None:
        """Ctrl-C, where it comes before then."""
        if self._source.interrupts and self._source.interrupts[0] <= until:
            self._source.clock.now = self.started_ns + self._source.interrupts.pop(0)
            raise KeyboardInterrupt

    def _send(self, until: int) -> None:
        """All requests that the generator comes to before then."""
        while self._due and max(self._due[0], self._generator_free) < until:
            due = heapq.heappop(self._due)
            begun = max(due, self._generator_free)
            self._generator_free = begun + self._source.gap
            ended, code = self._answer(begun)
            heapq.heappush(self._ended, (ended, due, begun, code))
            if self._closed:
                heapq.heappush(self._due, ended)
            else:
                self._due += itertools.islice(self._schedule, 1)

    def _answer(self, begun: int) -> tuple[int, int]:
        given_up = begun + self._source.timeout
        if self._source.server.silent:
            return given_up, DEADLINE_EXCEEDED
        done = self._source.server.done(max(begun, self._workers_free[0]))
        heapq.heapreplace(self._workers_free, done)
        return (done, self._source.server.code) if done <= given_up else (given_up, DEADLINE_EXCEEDED)

    def _take(self, until: int) -> Samples:
        taken = []
        while self._ended and self._ended[0][0] < until:
            taken.append(heapq.heappop(self._ended))
        if not taken:
            return Samples.none()
        ended, due, begun, codes = np.array(taken, np.int64).T
        start = self.started_ns
        return Samples(due + start, begun + start, ended + start, codes.astype(np.uint8))
