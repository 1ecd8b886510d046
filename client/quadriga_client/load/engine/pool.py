"""A generator's connections: which have something to read, and others for those that close. Generator processes."""

import contextlib
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from quadriga_client.load.engine.http2 import Connection
from quadriga_client.load.engine.streams import Ended, Stream, templates
from quadriga_client.load.errors import ConnectionLost, LoadError, SentAway
from quadriga_client.load.status_codes import UNAVAILABLE
from quadriga_client.load.target import LoadTarget

#: A process wakes up that much late or later; it is up before, and asks again and again for the rest.
SPIN_NS: Final = 50_000
#: By how much the kernel may delay a sleeper on purpose, to wake several at once; usually 50 us.
TIMER_SLACK: Final = Path("/proc/self/timerslack_ns")


class Received(NamedTuple):
    """Requests of a slot that ended."""

    slot: int
    ended: list[Ended]


class Pool:
    """Slots, each with a connection that accepts requests; those that are going away finish besides.

    What a server says it has not looked at, another connection sends once more: a proxy that drains costs no request.

    Attributes:
        failure: Why there can be no more load; None while there can.
        reopens: Whether connections that end are replaced though there is nothing to send.
        called: Whether `watch`'s file has something to read, as of the last `wait`.
    """

    def __init__(self, target: LoadTarget, connections: int, most_streams: int) -> None:
        """Makes the slots; `fill` opens the connections.

        Raises:
            LoadError: The requests' headers are too long.
        """
        self._target = target
        self._templates = templates(target)
        self._most_streams = most_streams
        self._selector = select.epoll()
        self._slots: list[Connection | None] = [None] * connections
        self._connections: dict[int, tuple[int, Connection]] = {}
        self._sent_away: set[int] = set()  # slots whose connection before ended so
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
                # Without something to read, too: TLS may have waited to write before it could go on reading.
                ended = self._receive(slot, connection)
                if ended:
                    yield Received(slot, ended)

    def expire(self, now_ns: int) -> Iterator[Received]:
        """Gives up requests past the timeout."""
        for slot, connection in list(self._connections.values()):
            ended = connection.expire(now_ns)
            if connection.wants_to_write:
                self._flush(connection)
            self._forget_idle(slot, connection)
            if ended:
                yield Received(slot, ended)

    def abandon(self) -> Iterator[Received]:
        """What is still under way, as UNAVAILABLE; where there is something, its connection is closed."""
        for slot, connection in list(self._connections.values()):
            if ended := connection.abandon():
                self._forget(slot, connection)
                yield Received(slot, ended)

    def _receive(self, slot: int, connection: Connection) -> list[Ended]:
        try:
            ended = connection.receive()
        except SentAway as farewell:
            if slot in self._sent_away and not connection.has_answered:
                self.failure = farewell
            self._sent_away.add(slot)
            return self._lose(slot, connection)
        except ConnectionLost:
            self._sent_away.discard(slot)
            return self._lose(slot, connection)
        except LoadError as error:
            self.failure = error
            return self._lose(slot, connection)
        if connection.wants_to_write or self._watched:
            self._flush(connection)
        if connection.has_refused or not connection.accepts:
            if self._slots[slot] is connection and not connection.accepts:
                self._slots[slot] = None
            ended += self._resend(slot, connection.take_refused())
            self._forget_idle(slot, connection)
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

    def _resend(self, slot: int, streams: list[Stream]) -> list[Ended]:
        """Has the slot's connection send requests, a new one if there is none; what cannot be sent, as UNAVAILABLE."""
        if self._slots[slot] is None and self.failure is None and (streams or self.reopens):
            self._open(slot)
        connection = self._slots[slot]
        if connection is None:
            now_ns = time.monotonic_ns()
            return [Ended(stream.request, UNAVAILABLE, 0, now_ns) for stream in streams]
        if streams:
            connection.resend(streams)
            self._flush(connection)
        return []

    def _lose(self, slot: int, connection: Connection) -> list[Ended]:
        streams, ended = connection.take_refused(), connection.abandon()
        self._forget(slot, connection)
        return ended + self._resend(slot, streams)

    def _forget_idle(self, slot: int, connection: Connection) -> None:
        """Closes a connection that has ended its last request and begins none."""
        if not connection.accepts and not connection.under_way and self._slots[slot] is not connection:
            self._forget(slot, connection)

    def _forget(self, slot: int, connection: Connection) -> None:
        fileno = connection.fileno()
        self._selector.unregister(fileno)
        del self._connections[fileno]
        self._watched.discard(fileno)
        if self._slots[slot] is connection:
            self._slots[slot] = None
        connection.close()

    def _open(self, slot: int) -> None:
        """Opens a slot's connection; `failure` is why it cannot, unless a run's last requests were all that needed it.

        The generator stands still meanwhile, which counts as its own lag.
        """
        try:
            connection = Connection.open(self._target, self._templates, most_streams=self._most_streams)
        except LoadError as error:
            if self.reopens:
                self.failure = error
            return
        self._slots[slot] = connection
        self._connections[connection.fileno()] = (slot, connection)
        self._selector.register(connection.fileno(), select.EPOLLIN)
