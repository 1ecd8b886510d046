"""What the kernel still holds for clients, of real sockets."""

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Iterator

import pytest
from running_server import wait_for

from quadriga.transports.delivery import Connection, Delivery, Sent, connections_to, delivered

SECONDS = 30.0


class Pair:
    """Both ends of a connection.

    Attributes:
        port: Of the server's end.
        server: Its end, which does not block.
        client: The other.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.client = socket.create_connection(listener.getsockname())
        self.server, _ = listener.accept()
        self.server.setblocking(False)

    def sent(self) -> Sent | None:
        """What the server's end has sent."""
        return Connection(self.server.fileno(), self.client.getsockname()).sent()

    def fill(self) -> int:
        """Sends until the kernel takes no more; returns how many bytes."""
        total = 0
        while True:
            try:
                total += self.server.send(bytes(1 << 16))
            except BlockingIOError:
                return total

    def read(self, count: int) -> None:
        """Reads so many bytes."""
        while count:
            count -= len(self.client.recv(min(count, 1 << 16)))


@pytest.fixture
def connect() -> Iterator[Callable[[], Pair]]:
    pairs: list[Pair] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def connect_one() -> Pair:
            pairs.append(Pair(listener))
            return pairs[-1]

        yield connect_one
        for pair in pairs:
            pair.server.close()
            pair.client.close()


def wait(*, port: int, while_waiting: Callable[[int], None]) -> None:
    """Waits for a port's deliveries, and calls with the number of looks so far."""

    async def looking() -> None:
        waiting = asyncio.create_task(delivered(port))
        looks = 0
        while not waiting.done():
            while_waiting(looks)
            looks += 1
            await asyncio.sleep(0.01)
        await waiting

    asyncio.run(asyncio.wait_for(looking(), SECONDS))


def test_what_a_client_has_not_read_is_seen(connect: Callable[[], Pair]) -> None:
    pair = connect()
    total = pair.fill()
    now = pair.sent()
    assert now is not None
    assert 0 < now.under_way < total
    pair.read(total)
    wait(port=pair.port, while_waiting=lambda _: None)
    assert pair.sent() == Sent(total, 0)


def test_only_connections_to_the_port_that_can_still_send_count(connect: Callable[[], Pair]) -> None:
    open_one, half, closed = connect(), connect(), connect()
    half.client.shutdown(socket.SHUT_WR)
    closed.server.shutdown(socket.SHUT_RDWR)
    peers = {connection.peer for connection in connections_to(open_one.port)}
    assert peers == {open_one.client.getsockname(), half.client.getsockname()}


def test_a_client_that_does_not_read_is_waited_for_and_later_connections_are_not(connect: Callable[[], Pair]) -> None:
    pair, later = connect(), []
    total = pair.fill()

    def look(number: int) -> None:
        if number == 20:
            later.append(connect())
            later[0].fill()
            pair.read(total)

    wait(port=pair.port, while_waiting=look)
    assert later, "it did not wait"


@pytest.mark.parametrize(
    ("looks", "done"),
    [
        ([Sent(0, 100), Sent(100, 100), Sent(200, 100), Sent(300, 100)], True),
        ([Sent(0, 100), Sent(99, 201), Sent(199, 101), Sent(299, 101)], False),
        ([Sent(0, 100), Sent(100, 1 << 20), Sent(100 + (1 << 20), 100), Sent(200 + (1 << 20), 100)], False),
        ([Sent(0, 1 << 20), None], True),
        ([Sent(0, 100), Sent(0, 0), Sent(0, 0), Sent(0, 0)], True),
    ],
    ids=[
        "refusals go on",
        "received too late",
        "the rest of a response",
        "it is closed",
        "uncounted",
    ],
)
def test_looks_at_which_something_is_always_under_way(
    monkeypatch: pytest.MonkeyPatch, looks: list[Sent | None], done: bool
) -> None:
    coming = iter(looks)
    monkeypatch.setattr(Connection, "sent", lambda _: next(coming))
    delivery = Delivery(Connection(0, None))
    assert [delivery.done() for _ in looks[1:]] == [False] * (len(looks) - 2) + [done]


def test_the_rest_of_a_response_is_waited_for(connect: Callable[[], Pair]) -> None:
    """As much again follows each time that the client has read what the kernel had."""
    pair = connect()
    under_way = pair.fill()
    (connection,) = connections_to(pair.port)
    delivery = Delivery(connection)
    for _ in range(10):
        pair.read(under_way)
        under_way = pair.fill()
        assert not delivery.done()
    pair.read(under_way)
    wait_for(delivery.done, "the last of it to be acknowledged")


def test_a_connection_that_its_transport_closes_is_not_waited_for(connect: Callable[[], Pair]) -> None:
    pair, looks = connect(), []
    pair.fill()

    def look(number: int) -> None:
        looks.append(number)
        if number == 20:
            pair.server.close()

    wait(port=pair.port, while_waiting=look)
    assert looks[-1] >= 20


def test_another_connection_under_the_same_number_is_told_from_it(connect: Callable[[], Pair]) -> None:
    pair = connect()
    (connection,) = connections_to(pair.port)
    assert connection.sent() == Sent(0, 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = Pair(listener)
        os.dup2(other.server.fileno(), pair.server.fileno())
        assert connection.sent() is None
        other.server.close()
        other.client.close()


def test_what_is_looked_at_stays_open_and_nothing_else_does(connect: Callable[[], Pair]) -> None:
    pair = connect()
    gc.collect()  # else what an earlier test left open is closed at any time
    before = set(os.listdir("/proc/self/fd"))
    wait(port=pair.port, while_waiting=lambda _: None)
    assert set(os.listdir("/proc/self/fd")) == before
    pair.server.send(b"x")
    assert pair.client.recv(1) == b"x"
    pair.server.close()
    pair.client.settimeout(SECONDS)
    assert pair.client.recv(1) == b""
