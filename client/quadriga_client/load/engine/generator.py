"""A generator: due requests out, answers in. The main program of generator processes; one thread, nothing blocks.

What it does between two answers is what it adds to the latencies that it measures: no objects that the garbage
collector has to look at, no waiting for the pipe of samples, and no numbers but those of the clock.
"""

import gc
import time
from collections.abc import Iterator
from typing import Final, NoReturn

from quadriga_client.load.arrivals import Arrivals, ClosedLoop, schedule
from quadriga_client.load.engine.child import ORDERS, Parent, run_child
from quadriga_client.load.engine.messages import Begin, Finish, Go, Kind, Prepare
from quadriga_client.load.engine.pool import Pool
from quadriga_client.load.engine.recorder import Recorder
from quadriga_client.load.engine.streams import Ended

#: Between two reports, and two looks for requests that took too long.
TICK_NS: Final = 20_000_000
#: Requests that are sent at a time, however many are due: answers must be read, too.
MOST_AT_ONCE: Final = 16
NEVER: Final = 2**63 - 1


class Run:
    """Load that is being made."""

    def __init__(self, begin: Begin, arrivals: Arrivals, pool: Pool, recorder: Recorder) -> None:
        """Prepares it; `start` begins."""
        self._pool = pool
        self._recorder = recorder
        self._step = begin.processes
        self._number = begin.place
        self._slot = 0
        self._pending: dict[int, tuple[int, int]] = {}
        self._callers = share(arrivals.concurrency, begin) if isinstance(arrivals, ClosedLoop) else 0
        self._closed = isinstance(arrivals, ClosedLoop)
        self._schedule: Iterator[int] = iter(())
        if not isinstance(arrivals, ClosedLoop):
            self._schedule = schedule(arrivals, begin.place, begin.processes)
        self._following = next(self._schedule, NEVER)
        self._start_ns = 0
        self._due_ns = NEVER
        self._finishing = False

    @property
    def is_over(self) -> bool:
        """Whether no request is under way, and none will be; or there can be no more load."""
        return self._pool.failure is not None or (self._finishing and not self._pending)

    def start(self, start_ns: int) -> None:
        """The load begins then."""
        self._start_ns = start_ns
        self._due_ns = start_ns if self._callers else NEVER
        if not self._closed:
            self._due_ns = start_ns + self._following

    def finish(self) -> None:
        """No request begins any more."""
        self._finishing = True
        self._pool.reopens = False
        self._due_ns = NEVER

    def step(self, until_ns: int) -> None:
        """Sends what is due; waits for answers until something is due, or that time; takes them."""
        if self._due_ns <= time.monotonic_ns():
            if self._closed:
                self._send_first()
            else:
                self._send_due()
            self._pool.flush()
        for slot, ended in self._pool.wait(min(self._due_ns, until_ns)):
            self._take(slot, ended)

    def expire(self, now_ns: int) -> None:
        """Gives up what has taken too long."""
        for slot, ended in self._pool.expire(now_ns):
            self._take(slot, ended)

    def abandon(self) -> None:
        """Counts what is still under way as lost."""
        for slot, ended in self._pool.abandon():
            self._take(slot, ended)

    def _send(self, slot: int, due_ns: int) -> None:
        number = self._number
        self._number = number + self._step
        self._pending[number] = (due_ns, time.monotonic_ns())
        self._pool.send(slot, number)

    def _send_first(self) -> None:
        """The first request of each caller of a closed loop."""
        for caller in range(self._callers):
            self._send(caller % len(self._pool), self._start_ns)
        self._due_ns = NEVER

    def _send_due(self) -> None:
        """Requests of an open loop."""
        now = time.monotonic_ns()
        for _ in range(MOST_AT_ONCE):
            self._send(self._slot, self._due_ns)
            self._slot = (self._slot + 1) % len(self._pool)
            self._due_ns = self._start_ns + next(self._schedule)
            if self._due_ns > now:
                break

    def _take(self, slot: int, ended: list[Ended]) -> None:
        for request, code, _, ended_ns in ended:
            due_ns, begun_ns = self._pending.pop(request)
            self._recorder.add(due_ns, begun_ns, ended_ns, code)
        if self._closed and not self._finishing and self._pool.failure is None:
            for each in ended:
                self._send(slot, each.ended_ns)
            self._pool.flush()


class Generator:
    """Follows orders."""

    def __init__(self, parent: Parent, begin: Begin) -> None:
        self._parent = parent
        self._begin = begin
        self._recorder = Recorder(parent)
        self._pool = Pool(begin.target, begin.connections, begin.most_streams)
        self._pool.watch(ORDERS)

    def run(self, arrivals: Arrivals) -> None:
        """One run, from the order to prepare it until it has finished.

        Raises:
            EOFError: There are no more orders.
            LoadError: There can be no more load.
        """
        self._pool.reopens = True
        self._pool.fill()
        run = Run(self._begin, arrivals, self._pool, self._recorder)
        gc.collect()
        gc.freeze()
        gc.disable()
        self._parent.report(Kind.READY)
        tick_ns = 0
        while not run.is_over:
            now_ns = time.monotonic_ns()
            if now_ns >= tick_ns:
                tick_ns = now_ns + TICK_NS
                run.expire(now_ns)
                self._recorder.ship(now_ns)
            run.step(tick_ns)
            if self._pool.called:
                self._obey(run)
        run.abandon()
        self._recorder.ship(time.monotonic_ns())
        if self._pool.failure is not None:
            raise self._pool.failure
        self._parent.report(Kind.DONE)
        self._parent.finish()

    def _obey(self, run: Run) -> None:
        for order in self._parent.orders():
            if isinstance(order, Go):
                run.start(order.start_ns)
            elif isinstance(order, Finish):
                run.finish()


def share(concurrency: int, begin: Begin) -> int:
    """How many of all callers a process has."""
    return concurrency // begin.processes + (begin.place < concurrency % begin.processes)


def serve(parent: Parent) -> None:
    """What a generator does all its life: see `child.run_child`."""
    generator: Generator | None = None
    while True:
        for order in parent.orders():
            if isinstance(order, Begin):
                generator = Generator(parent, order)
            elif isinstance(order, Prepare) and generator is not None:
                generator.run(order.arrivals)


def main() -> NoReturn:
    """The process."""
    run_child(serve)
