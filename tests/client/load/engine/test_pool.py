"""A generator's connections, against servers that the test drives: which ends, and what becomes of its requests."""

import os
import select
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from http2_peer import Connect, Outcome, Pair, Seen, outcomes

from quadriga_client.load import status_codes
from quadriga_client.load.engine import frames as h2
from quadriga_client.load.engine import pool
from quadriga_client.load.engine.http2 import Connection
from quadriga_client.load.engine.pool import Pool
from quadriga_client.load.engine.streams import Template
from quadriga_client.load.errors import LoadError
from quadriga_client.load.target import LoadTarget

MS = 1_000_000


class Servers:
    """What stands behind a pool of one slot.

    Attributes:
        pool: Whose connections all come from here.
        opened: In their order.
        refuse: Whether nobody listens any more.
    """

    def __init__(self, connect: Connect, timeout: float, **settings: int) -> None:
        self._connect, self._timeout, self._settings = connect, timeout, settings
        self.opened: list[Pair] = []
        self.refuse = False
        target = LoadTarget(url="peer:1", requests=(b"request",), timeout=timeout)
        self.pool = Pool(target, 1, 100)

    def open(self, target: LoadTarget, templates: Sequence[Template], *, most_streams: int) -> Connection:
        if self.refuse:
            raise LoadError("cannot connect to peer:1: Connection refused")
        self.opened.append(self._connect(timeout=self._timeout, most_streams=most_streams, **self._settings))
        return self.opened[-1].connection

    def send(self, *requests: int) -> None:
        for request in requests:
            self.pool.send(0, request)
        self.pool.flush()

    def wait(self) -> list[Outcome]:
        """What ended by what the servers have sent."""
        return [each for received in self.pool.wait(0) for each in outcomes(received.ended)]

    def go_away(self, last: int, error: int = h2.NO_ERROR) -> None:
        self.opened[-1].peer.send(h2.GOAWAY, 0, 0, struct.pack(">II", last, error) + b"why")

    def is_open(self, number: int) -> bool:
        return self.opened[number].connection.fileno() >= 0

    def heads(self, count: int) -> list[int]:
        """The streams of the next requests that come to the newest server."""
        seen = self.opened[-1].peer.frames(2 * count)
        return [each.stream for each in seen if each.kind == h2.HEADERS]


@pytest.fixture
def servers(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Servers:
    return serve(connect, monkeypatch)


def serve(connect: Connect, monkeypatch: pytest.MonkeyPatch, timeout: float = 30.0, **settings: int) -> Servers:
    monkeypatch.setattr(pool, "TIMER_SLACK", Path(os.devnull))
    servers = Servers(connect, timeout, **settings)
    monkeypatch.setattr(Connection, "open", servers.open)
    servers.pool.fill()
    return servers


def test_what_a_server_that_drains_did_not_look_at_is_sent_by_another_connection(servers: Servers) -> None:
    servers.send(1, 2, 3)
    servers.go_away(last=1)
    assert servers.wait() == []
    assert len(servers.opened) == 2
    assert servers.heads(2) == [1, 3]
    servers.opened[0].peer.answer(1)
    servers.opened[1].peer.answer(1)
    assert sorted(servers.wait()) == [Outcome(1, status_codes.OK, 5), Outcome(2, status_codes.OK, 5)]
    assert [servers.is_open(number) for number in (0, 1)] == [False, True]


def test_nothing_is_sent_three_times(servers: Servers) -> None:
    servers.send(1)
    servers.go_away(last=0)
    assert servers.wait() == []
    servers.go_away(last=0)
    assert servers.wait() == [Outcome(1, status_codes.UNAVAILABLE, 0)]
    assert servers.pool.failure is None


def test_what_a_server_refuses_is_sent_once_more_on_a_connection_that_goes_on(servers: Servers) -> None:
    servers.send(1)
    for stream, ended in ((1, []), (3, [Outcome(1, status_codes.UNAVAILABLE, 0)])):
        assert servers.heads(1) == [stream]
        servers.opened[0].peer.send(h2.RST_STREAM, 0, stream, struct.pack(">I", h2.REFUSED_STREAM))
        assert servers.wait() == ended
    assert len(servers.opened) == 1


def test_an_error_of_http2_costs_what_was_under_way_and_no_more(servers: Servers) -> None:
    servers.send(1, 2, 3)
    servers.opened[0].peer.answer(3)
    servers.go_away(last=3, error=11)
    assert servers.wait() == [Outcome(2, status_codes.OK, 5), Outcome(1, status_codes.UNAVAILABLE, 0)]
    assert servers.pool.failure is None
    assert not servers.is_open(0)
    assert servers.heads(1) == [1]  # the third request, which the server had not looked at
    servers.opened[1].peer.answer(1)
    assert servers.wait() == [Outcome(3, status_codes.OK, 5)]
    servers.go_away(last=1, error=11)  # there was an answer in between
    assert servers.wait() == []
    assert servers.pool.failure is None
    servers.send(4)
    servers.go_away(last=0, error=11)
    assert servers.wait() == [Outcome(4, status_codes.UNAVAILABLE, 0)]
    assert str(servers.pool.failure) == "the server at peer:1 ended the connection with error 11: 'why'"
    assert len(servers.opened) == 3


def test_an_error_of_http2_before_any_answer_is_tried_once(servers: Servers) -> None:
    servers.go_away(last=0, error=11)
    assert servers.wait() == []
    assert (len(servers.opened), servers.pool.failure) == (2, None)
    servers.go_away(last=0, error=11)
    assert servers.wait() == []
    assert servers.pool.failure is not None


def test_a_connection_that_is_lost_is_replaced_and_sends_what_waited(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = serve(connect, monkeypatch, MAX_CONCURRENT_STREAMS=1)
    servers.send(1, 2)
    servers.opened[0].peer.socket.close()
    assert servers.wait() == [Outcome(1, status_codes.UNAVAILABLE, 0)]
    assert servers.heads(1) == [1]
    servers.opened[1].peer.answer(1)
    assert servers.wait() == [Outcome(2, status_codes.OK, 5)]


def test_the_last_requests_need_no_new_connection(servers: Servers) -> None:
    servers.send(1)
    servers.pool.reopens = False
    servers.go_away(last=1)
    servers.opened[0].peer.answer(1)
    assert servers.wait() == [Outcome(1, status_codes.OK, 5)]
    assert len(servers.opened) == 1
    assert not servers.is_open(0)


def test_the_last_requests_get_one_when_they_have_to_be_sent_again(servers: Servers) -> None:
    servers.send(1)
    servers.pool.reopens = False
    servers.go_away(last=0)
    assert servers.wait() == []
    servers.refuse = True
    servers.go_away(last=0)
    assert servers.wait() == [Outcome(1, status_codes.UNAVAILABLE, 0)]
    assert servers.pool.failure is None  # a server that ends after the load is none


def test_nobody_listens_any_more(servers: Servers) -> None:
    servers.send(1)
    servers.refuse = True
    servers.go_away(last=0)
    assert servers.wait() == [Outcome(1, status_codes.UNAVAILABLE, 0)]
    assert str(servers.pool.failure) == "cannot connect to peer:1: Connection refused"


def test_a_connection_ends_with_its_last_request_also_when_that_times_out(servers: Servers) -> None:
    servers.send(1)
    servers.go_away(last=1)
    assert servers.wait() == []
    assert servers.is_open(0)
    late_ns = time.monotonic_ns() + 31_000 * MS
    assert [(each.slot, outcomes(each.ended)) for each in servers.pool.expire(late_ns)] == [
        (0, [Outcome(1, status_codes.DEADLINE_EXCEEDED, 0)])
    ]
    assert [servers.is_open(number) for number in (0, 1)] == [False, True]


def test_a_read_that_has_to_write_first_goes_on_when_the_socket_takes_it(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TLS does when it exchanges keys anew."""
    servers.send(1)
    connection, peer = servers.opened[0]
    reader = connection._reader
    peer.answer(1)
    with monkeypatch.context() as patch:
        patch.setattr(reader, "read", lambda: 0)
        patch.setattr(reader, "wants_to_write", True)
        assert servers.wait() == []
        events = servers.pool._selector.poll(0)
        assert events == [(connection.fileno(), select.EPOLLIN | select.EPOLLOUT)]
    assert servers.wait() == [Outcome(1, status_codes.OK, 5)]
    assert servers.pool._selector.poll(0) == []  # nothing to write any more


def test_what_is_given_up_is_reset_when_the_server_does_not_end_it(servers: Servers) -> None:
    servers.send(1)
    servers.opened[0].peer.frames(2)
    now_ns = time.monotonic_ns() + 31_000 * MS
    assert len(list(servers.pool.expire(now_ns))) == 1
    assert servers.opened[0].peer.nothing_came()
    assert list(servers.pool.expire(now_ns + 10_000 * MS)) == []
    assert servers.opened[0].peer.frame() == Seen(h2.RST_STREAM, 0, 1, struct.pack(">I", h2.CANCEL))
