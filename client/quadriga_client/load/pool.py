"""A generator's connections: which have something to read, and others for those that close. Generator processes."""

import contextlib
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from quadriga_client.load.errors import ConnectionLost, LoadError
from quadriga_client.load.headers import UNAVAILABLE
from quadriga_client.load.http2 import Connection, Ended
from quadriga_client.load.target import LoadTarget

#: A process wakes up that much late or later; it is up before, and asks again and again for the rest.
SPIN_NS: Final = 50_000
#: By how much the kernel may delay a sleeper on purpose, to wake several at once; usually 50 us.
TIMER_SLACK: Final = Path("/proc/self/timerslack_ns")


class Received(NamedTuple):
    """Requests of a slot that ended, and when the generator found their answers, in ns."""

    slot: int
    found_ns: int
    ended: list[Ended]


class Pool:
    """Slots, each with a connection that accepts requests; those that are going away finish besides.

    Attributes:
        failure: Why there can be no more load; None while there can.
        reopens: Whether connections that break are replaced.
        called: Whether `watch`'s file has something to read, as of the last `wait`.
    """

    def __init__(self, target: LoadTarget, connections: int, most_streams: int) -> None:
        """Makes the slots; `fill` opens the connections."""
        self._target = target
        self._most_streams = most_streams
        self._selector = select.epoll()
        self._slots: list[Connection | None] = [None] * connections
        self._connections: dict[int, tuple[int, Connection]] = {}
        self._watched: set[int] = set()
        self._unflushed: list[Connection] = []
        self._caller = -1
        self.called = False
        self.failure: LoadError | None = None
        self.reopens = True
        with contextlib.suppress(OSError):
            TIMER_SLACK.write_text("1")

    def __len__(self) -> int:
        return len(self._slots)

    def fileno(self) -> int:
        """Of a selector that knows all connections."""
        return self._selector.fileno()

    def watch(self, fileno: int) -> None:
        """Has `wait` end early, too, when that file has something to read: `called` says so."""
        self._caller = fileno
        self._selector.register(fileno, select.EPOLLIN)

    def fill(self) -> None:
        """Opens what is not open.

        Raises:
            LoadError: The server cannot be reached.
        """
        for _ in range(2):  # what came since nobody looked; then, whether that was the end
            for slot, connection in list(self._connections.values()):
                self._receive(slot, connection)
        for slot, filled in enumerate(self._slots):
            if filled is None:
                self._open(slot)
        if self.failure is not None:
            raise self.failure

    def send(self, slot: int, request: int) -> None:
        """Queues a request; `flush` sends it."""
        connection = self._slots[slot]
        if connection is None:  # lost, and nobody may open another one
            raise LoadError(f"the connection to {self._target.url} is gone")
        connection.send(request)
        if not self._unflushed or self._unflushed[-1] is not connection:
            self._unflushed.append(connection)

    def flush(self) -> None:
        """Sends what was queued."""
        for connection in self._unflushed:
            self._flush(connection)
        self._unflushed.clear()

    def wait(self, until_ns: int) -> Iterator[Received]:
        """Waits for answers, or until a time; then the requests that ended."""
        events = self._selector.poll(0)
        if not events:
            sleep_ns = until_ns - time.monotonic_ns() - SPIN_NS
            if sleep_ns > 0:  # epoll counts in milliseconds; select does not, and takes the epoll as one file
                select.select([self._selector], [], [], sleep_ns / 1e9)
            events = self._selector.poll(0)
        self.called = False
        for fileno, event in events:
            if fileno == self._caller:
                self.called = True
            elif fileno in self._connections:
                slot, connection = self._connections[fileno]
                if event & select.EPOLLOUT:
                    self._flush(connection)
                if event & ~select.EPOLLOUT:
                    found = time.monotonic_ns()
                    ended = self._receive(slot, connection)
                    if ended:
                        yield Received(slot, found, ended)

    def expire(self, now_ns: int) -> Iterator[Received]:
        """Gives up requests past the timeout."""
        for slot, connection in list(self._connections.values()):
            ended = connection.expire(now_ns)
            if ended:
                self._flush(connection)
                yield Received(slot, now_ns, ended)

    def abandon(self) -> Iterator[Received]:
        """What is still under way, as UNAVAILABLE; where there is something, its connection is closed."""
        for slot, connection in list(self._connections.values()):
            if ended := connection.abandon():
                self._forget(slot, connection)
                yield Received(slot, time.monotonic_ns(), ended)

    def _receive(self, slot: int, connection: Connection) -> list[Ended]:
        try:
            ended = connection.receive()
        except ConnectionLost:
            return self._lose(slot, connection)
        except LoadError as error:
            self.failure = error
            return self._lose(slot, connection)
        if connection.wants_to_write:
            self._flush(connection)
        if not connection.accepts:
            ended += self._retire(slot, connection)
        return ended

    def _flush(self, connection: Connection) -> None:
        # A connection that broke says so when it is read; what it still has to say is read then, too.
        with contextlib.suppress(ConnectionLost):
            connection.flush()
        fileno = connection.fileno()
        if connection.wants_to_write != (fileno in self._watched):
            if connection.wants_to_write:
                self._watched.add(fileno)
                self._selector.modify(fileno, select.EPOLLIN | select.EPOLLOUT)
            else:
                self._watched.discard(fileno)
                self._selector.modify(fileno, select.EPOLLIN)

    def _retire(self, slot: int, connection: Connection) -> list[Ended]:
        """Lets a connection finish what is under way, and has another one do the rest; what that cannot."""
        ended: list[Ended] = []
        if self._slots[slot] is connection:
            self._slots[slot] = None
            self._open(slot)
            waiting, replacement = connection.take_waiting(), self._slots[slot]
            if replacement is None:
                ended = [Ended(request, UNAVAILABLE, 0) for request in waiting]
            else:
                for request in waiting:
                    replacement.send(request)
                self._flush(replacement)
        if not connection.under_way:
            self._forget(slot, connection)
        return ended

    def _lose(self, slot: int, connection: Connection) -> list[Ended]:
        ended = connection.abandon()
        self._forget(slot, connection)
        if self._slots[slot] is None and self.reopens and self.failure is None:
            self._open(slot)
        return ended

    def _forget(self, slot: int, connection: Connection) -> None:
        fileno = connection.fileno()
        self._selector.unregister(fileno)
        del self._connections[fileno]
        self._watched.discard(fileno)
        if self._slots[slot] is connection:
            self._slots[slot] = None
        connection.close()

    def _open(self, slot: int) -> None:
        """Opens a slot's connection; `failure` is why it cannot.

        The generator stands still meanwhile, which counts as its own lag.
        """
        try:
            connection = Connection.open(self._target, most_streams=self._most_streams)
        except LoadError as error:
            self.failure = error
            return
        self._slots[slot] = connection
        self._connections[connection.fileno()] = (slot, connection)
        self._selector.register(connection.fileno(), select.EPOLLIN)
