"""Generator processes, and what they send back. Runs in the command's process.

They are started once and make one run after the other. While one is under way the command's process sleeps, and looks
up a few times a second: what it does takes cores from the server and from the generators.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

import numpy as np

from quadriga_client.load.arrivals import Arrivals, check
from quadriga_client.load.engine import interrupts
from quadriga_client.load.engine.child import Child, end_all, wait_for_any
from quadriga_client.load.engine.http2 import CONNECT_SECONDS
from quadriga_client.load.engine.messages import RECORD, Begin, Finish, Go, Kind, Prepare, unpack_samples
from quadriga_client.load.errors import LoadError
from quadriga_client.load.samples import Samples
from quadriga_client.load.scheduling import Scheduling, scheduling_of
from quadriga_client.load.target import LoadTarget

#: Requests under way at once, of all generators together; those beyond wait, and their latencies count the wait.
MOST_UNDER_WAY: Final = 16_384
#: Until all generators, which are ready, have got word of the start.
HEADWAY_NS: Final = 20_000_000
LOOK_SECONDS: Final = 0.2
#: Longer than this no generator is silent, unless it hangs: from its start, and while it works.
START_SECONDS: Final = 60.0
SILENT_SECONDS: Final = 30.0


class Generator:
    """A generator process, and its samples that nobody has asked for yet."""

    def __init__(self, begin: Begin) -> None:
        self._child = Child("quadriga_client.load.engine.generator", "a load generator")
        self.pid = self._child.pid
        self.fileno = self._child.fileno
        self.dismiss = self._child.dismiss
        self.wait_until = self._child.wait_until
        self.samples = bytearray()
        self.until_ns = 0
        self.ready = self.done = self.failed = False
        self.order(begin)

    def order(self, order: object) -> None:
        """Sends an order.

        Raises:
            LoadError: The process has ended.
        """
        with self._failing():
            self._child.order(order)

    def read(self) -> None:
        """Takes the reports that came, all of them whenever Ctrl-C comes.

        Raises:
            LoadError: The process has ended, or says that it cannot go on.
        """
        with interrupts.held(), self._failing():
            self._read()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except LoadError:
            self.failed = True
            raise

    def _read(self) -> None:
        for report in self._child.reports():
            self.until_ns = max(self.until_ns, report.until_ns)
            if report.kind is Kind.SAMPLES:
                self.samples += report.payload
            elif report.kind is Kind.READY:
                self.ready = True
            elif report.kind is Kind.DONE:
                self.done = True
            else:
                raise LoadError(report.payload.decode())


class FleetRun:
    """One run of all generators; see `source.Run`."""

    def __init__(self, generators: list[Generator], started_ns: int, timeout: float) -> None:
        self._generators = generators
        self._timeout = timeout
        self._given = [0] * len(generators)  # bytes of their samples that the caller has got
        self.started_ns = started_ns

    def collect(self, until_ns: int) -> Samples:
        """See `source.Run`; what ended by then is complete, and what ended later is kept for the next call."""
        while (left := (until_ns - time.monotonic_ns()) / 1e9) > 0:
            time.sleep(min(left, LOOK_SECONDS))
            for generator in self._generators:
                generator.read()
        wait(self._generators, lambda generator: generator.until_ns >= until_ns, SILENT_SECONDS)
        return self._give(until_ns)

    def scheduling(self) -> Scheduling:
        """See `source.Run`."""
        return scheduling_of([generator.pid for generator in self._generators])

    def finish(self) -> Samples:
        """See `source.Run`; after a failure, what the generators have sent until then.

        Raises:
            LoadError: A generator failed, and no call before said so.
        """
        known = any(generator.failed for generator in self._generators)
        try:
            for generator in self._generators:
                generator.order(Finish())
        except LoadError:
            if not known:
                raise
        while going := [generator for generator in self._generators if not (generator.done or generator.failed)]:
            try:
                wait(going, lambda generator: generator.done, self._timeout + SILENT_SECONDS)
            except LoadError:
                if not known:
                    raise
        return self._give()

    def _give(self, until_ns: int | None = None) -> Samples:
        """Samples that ended by a time; None: all. Those of a call that Ctrl-C breaks off are given by the next one."""
        with interrupts.held():
            for generator, size in zip(self._generators, self._given, strict=True):
                del generator.samples[:size]
            self._given = [0] * len(self._generators)
        parts = [ended_by(generator, until_ns) for generator in self._generators]
        samples = Samples.joined(parts)
        given = [len(part.ended) * RECORD.size for part in parts]
        self._given = given
        return samples


class Fleet:
    """Generator processes that share a load; a `source.LoadSource` and a context manager."""

    def __init__(
        self, target: LoadTarget, *, connections: int, processes: int, most_under_way: int = MOST_UNDER_WAY
    ) -> None:
        """Says what is to be; the processes start with the first run.

        Args:
            target: What to send, and where to.
            connections: Of all processes together.
            processes: How many.
            most_under_way: Requests at once, of all processes together. What is due beyond that waits in its generator:
                it has begun, in the sense of `Samples`, and its service time counts the wait.

        Raises:
            LoadError: A process would have no connection, or a connection no request.
        """
        if processes < 1 or connections < processes:
            raise LoadError(f"{connections} connections of {processes} processes: each process needs at least one")
        if most_under_way < connections:
            raise LoadError(f"{most_under_way} requests under way on {connections} connections: too few")
        if not target.requests or not target.timeout > 0:
            raise LoadError("a load needs at least one request, and a timeout above 0 seconds")
        self._begins = [
            Begin(target, index, processes, connections // processes + (index < connections % processes),
                  most_under_way // connections)
            for index in range(processes)
        ]  # fmt: skip
        self._timeout = target.timeout
        self._generators: list[Generator] = []

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes."""
        return tuple(generator.pid for generator in self._generators)

    def start(self, arrivals: Arrivals) -> FleetRun:
        """See `source.LoadSource`."""
        check(arrivals)
        if any(not generator.done for generator in self._generators):
            self.close()  # a run that nobody finished, or one that failed
        if not self._generators:
            for begin in self._begins:
                self._generators.append(Generator(begin))
        for generator in self._generators:
            generator.ready = generator.done = False
            generator.samples.clear()
            generator.order(Prepare(arrivals))
        wait(self._generators, lambda generator: generator.ready, START_SECONDS + CONNECT_SECONDS)
        started_ns = time.monotonic_ns() + HEADWAY_NS
        for generator in self._generators:
            generator.order(Go(started_ns))
        return FleetRun(self._generators, started_ns, self._timeout)

    def close(self) -> None:
        """Ends the processes, whatever they do."""
        generators, self._generators = self._generators, []
        end_all(generators)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def wait(generators: list[Generator], until: Callable[[Generator], bool], seconds: float) -> None:
    """Reads reports until all generators are so far.

    Raises:
        LoadError: One failed, or is not in time.
    """
    end = time.monotonic() + seconds
    while missing := [generator for generator in generators if not until(generator)]:
        left = end - time.monotonic()
        if left <= 0:
            missing[0].failed = True
            raise LoadError(f"a load generator (pid {missing[0].pid}) has said nothing for {seconds:.0f} s")
        wait_for_any(missing, left)
        for generator in generators:
            generator.read()


def ended_by(generator: Generator, until_ns: int | None = None) -> Samples:
    """A generator's samples that ended by a time; None: all."""
    samples = unpack_samples(generator.samples)
    count = len(samples.ended) if until_ns is None else int(np.searchsorted(samples.ended, until_ns, side="right"))
    return Samples(samples.due[:count], samples.begun[:count], samples.ended[:count], samples.codes[:count])
