"""The connection of a generator, against a server that the test drives frame by frame."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import hpack
import numpy as np
import pytest

from quadriga_client.load import dialing, headers, http2
from quadriga_client.load import frames as h2
from quadriga_client.load.errors import ConnectionLost, LoadError, ProtocolError
from quadriga_client.load.http2 import Connection, Ended
from quadriga_client.load.target import LoadTarget

TIMEOUT = 5.0


class Seen(NamedTuple):
    """A frame as the peer got it."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Peer:
    """The server's side of a connection."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.settimeout(TIMEOUT)
        self.socket = accepted
        self._encoder = hpack.Encoder()
        self._encoder.header_table_size = 0

    def preface(self) -> list[Seen]:
        """The client's first words: its settings, and the connection's window."""
        assert self._take(len(h2.PREFACE)) == h2.PREFACE
        return [self.frame(), self.frame()]

    def frame(self) -> Seen:
        word, flags, stream = h2.HEADER.unpack(self._take(9))
        return Seen(word & 0xFF, flags, stream, self._take(word >> 8))

    def frames(self, count: int) -> list[Seen]:
        return [self.frame() for _ in range(count)]

    def send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.socket.sendall(h2.frame(kind, flags, stream, payload))

    def settings(self, **settings: int) -> None:
        self.socket.sendall(h2.settings_frame({getattr(h2, name): value for name, value in settings.items()}))

    def block(self, *pairs: tuple[str, str]) -> bytes:
        encoded: bytes = self._encoder.encode(pairs)
        return encoded

    def answer(self, stream: int, data: bytes = b"\0\0\0\0\0", status: str = "0") -> None:
        """A whole answer."""
        self.send(h2.HEADERS, h2.END_HEADERS, stream, self.block((":status", "200")))
        self.send(h2.DATA, 0, stream, data)
        trailers = self.block(("grpc-status", status), ("grpc-message", "so"))
        self.send(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, trailers)

    def nothing_came(self) -> bool:
        self.socket.setblocking(False)
        try:
            return not self.socket.recv(1)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT)

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, "the client closed the connection"
            data += piece
        return data


class Pair(NamedTuple):
    """A connection and its peer."""

    connection: Connection
    peer: Peer

    def send(self, *requests: int) -> None:
        for request in requests:
            self.connection.send(request)
        self.connection.flush()

    def receive(self) -> list[Ended]:
        """What ends by what the peer has sent; then what that makes the connection say is sent."""
        ended = self.connection.receive()
        self.connection.flush()
        return ended


Connect = Callable[..., Pair]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes pairs that have greeted each other; the peer's settings can be given."""
    open_sockets: list[socket.socket] = []

    def make(
        *requests: bytes, timeout: float = TIMEOUT, most_streams: int = 100, greet: bool = True, **settings: int
    ) -> Pair:
        ours, theirs = socket.socketpair()
        open_sockets.extend((ours, theirs))
        ours.setblocking(False)
        target = LoadTarget(url="peer:1", requests=requests or (b"request",), timeout=timeout)
        pair = Pair(Connection(ours, target, most_streams=most_streams), Peer(theirs))
        pair.connection.flush()
        if greet:
            pair.peer.preface()
            pair.peer.settings(**settings)
            pair.peer.send(h2.SETTINGS, h2.ACK, 0)
            assert pair.receive() == []
            assert pair.peer.frame() == Seen(h2.SETTINGS, h2.ACK, 0, b"")
        return pair

    yield make
    for each in open_sockets:
        each.close()


def test_it_begins_with_settings_that_keep_header_blocks_apart_and_windows_out_of_the_way(connect: Connect) -> None:
    peer = connect(greet=False).peer
    settings, window = peer.preface()
    assert dict(struct.iter_unpack(">HI", settings.payload)) == {
        h2.HEADER_TABLE_SIZE: 0,
        h2.ENABLE_PUSH: 0,
        h2.INITIAL_WINDOW_SIZE: h2.LARGEST_WINDOW,
    }
    assert (window.kind, window.stream, window.payload) == (h2.WINDOW_UPDATE, 0, struct.pack(">I", 2**31 - 1 - 65_535))


def test_requests_take_turns_on_streams_of_their_own(connect: Connect) -> None:
    pair = connect(b"first", b"other")
    pair.send(0, 1, 2)
    for stream, message in ((1, b"first"), (3, b"other"), (5, b"first")):
        head, data = pair.peer.frames(2)
        assert (head.kind, head.flags, head.stream) == (h2.HEADERS, h2.END_HEADERS, stream)
        assert dict(hpack.Decoder().decode(head.payload))[":path"].endswith("/ModelInfer")
        assert data == Seen(h2.DATA, h2.END_STREAM, stream, b"\0" + struct.pack(">I", len(message)) + message)


def test_answers_may_come_in_any_order_and_in_any_pieces(connect: Connect) -> None:
    pair = connect()
    pair.send(7, 8)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Peer(ours).answer(3, b"12345")
        Peer(ours).answer(1, b"1234567")
        answers = theirs.recv(4096)
    ended = []
    for at in range(len(answers)):
        pair.peer.socket.sendall(answers[at : at + 1])
        ended += pair.receive()
    assert ended == [Ended(8, headers.OK, 5), Ended(7, headers.OK, 7)]
    assert pair.connection.under_way == 0


@pytest.mark.parametrize("status", ["0", "5", "14", "99"])
def test_the_status_stands_in_the_trailers(connect: Connect, status: str) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.answer(1, status=status)
    assert pair.receive() == [Ended(1, headers.UNKNOWN if status == "99" else int(status), 5)]


def test_an_error_may_have_trailers_only(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.send(
        h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, pair.peer.block((":status", "200"), ("grpc-status", "5"))
    )
    assert pair.receive() == [Ended(1, headers.NOT_FOUND, 0)]


def test_who_is_no_grpc_server_answers_with_https_status(connect: Connect) -> None:
    pair = connect()
    pair.send(1, 2, 3, 4)
    peer, last = pair.peer, h2.END_HEADERS | h2.END_STREAM
    peer.send(h2.HEADERS, h2.END_HEADERS, 1, peer.block((":status", "503")))
    peer.send(h2.DATA, h2.END_STREAM, 1, b"<html>")
    peer.send(h2.HEADERS, last, 3, peer.block((":status", "404")))
    peer.send(h2.HEADERS, h2.END_HEADERS, 5, peer.block((":status", "429")))
    peer.send(h2.HEADERS, last, 5, peer.block(("x-trailer", "without a status")))
    peer.send(h2.HEADERS, h2.END_HEADERS, 7, peer.block((":status", "200")))
    peer.send(h2.DATA, h2.END_STREAM, 7, b"\0\0\0\0\0")
    codes = [headers.UNAVAILABLE, headers.UNIMPLEMENTED, headers.UNAVAILABLE, headers.UNKNOWN]
    assert [ended.code for ended in pair.receive()] == codes


def test_an_answer_that_is_ok_has_a_message(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.send(
        h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, pair.peer.block((":status", "200"), ("grpc-status", "0"))
    )
    assert pair.receive() == [Ended(1, headers.UNIMPLEMENTED, 0)]


def test_interim_headers_are_none(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.send(h2.HEADERS, h2.END_HEADERS, 1, pair.peer.block((":status", "103")))
    pair.peer.answer(1)
    assert pair.receive() == [Ended(1, headers.OK, 5)]


def test_padding_and_priority_are_left_out(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    peer = pair.peer
    flags = h2.END_HEADERS | h2.PADDED | h2.HAS_PRIORITY
    peer.send(h2.HEADERS, flags, 1, b"\x03" + b"\0" * 5 + peer.block((":status", "200")) + b"\0" * 3)
    peer.send(h2.DATA, h2.PADDED, 1, b"\x04" + b"123456" + b"\0" * 4)
    trailers = b"\x01" + peer.block(("grpc-status", "0")) + b"\0"
    peer.send(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM | h2.PADDED, 1, trailers)
    assert pair.receive() == [Ended(1, headers.OK, 6)]


@pytest.mark.parametrize(
    ("kind", "flags", "payload"),
    [
        (h2.DATA, h2.PADDED, b"\x09123"),
        (h2.DATA, h2.PADDED, b""),
        (h2.HEADERS, h2.END_HEADERS | h2.PADDED, b"\x02\x88"),
        (h2.HEADERS, h2.END_HEADERS | h2.HAS_PRIORITY, b"\x88"),
        (h2.HEADERS, h2.END_HEADERS, b"\xbe"),
        (h2.CONTINUATION, h2.END_HEADERS, b"\x88"),
        (h2.PUSH_PROMISE, h2.END_HEADERS, b"\0\0\0\x02\x88"),
        (h2.RST_STREAM, 0, b"\0"),
        (h2.WINDOW_UPDATE, 0, b""),
        (h2.GOAWAY, 0, b"\0\0"),
        (h2.GOAWAY, 0, b"\0\0\0\0\0\0"),
        (h2.SETTINGS, 0, b"\0\0\0"),
        (h2.SETTINGS, 0, struct.pack(">HI", h2.INITIAL_WINDOW_SIZE, 2**31)),
    ],
)
def test_what_breaks_the_rules_is_an_error(connect: Connect, kind: int, flags: int, payload: bytes) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.send(kind, flags, 1, payload)
    with pytest.raises(ProtocolError, match=r"^the server at peer:1 does not keep to HTTP/2: [^\n]+$"):
        pair.receive()


def test_headers_may_be_continued(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    peer = pair.peer
    block = peer.block((":status", "200"), ("x-long", "y" * 300))
    peer.send(h2.HEADERS, 0, 1, block[:5])
    peer.send(h2.CONTINUATION, 0, 1, block[5:200])
    peer.send(h2.CONTINUATION, h2.END_HEADERS, 1, block[200:])
    peer.send(h2.DATA, 0, 1, b"\0\0\0\0\0")
    trailers = peer.block(("grpc-status", "8"))
    peer.send(h2.HEADERS, h2.END_STREAM, 1, b"")
    peer.send(h2.CONTINUATION, h2.END_HEADERS, 1, trailers)
    assert pair.receive() == [Ended(1, headers.RESOURCE_EXHAUSTED, 5)]


@pytest.mark.parametrize(("kind", "stream"), [(h2.PING, 0), (h2.CONTINUATION, 3), (h2.SETTINGS, 0)])
def test_nothing_may_come_between_headers_and_their_continuation(connect: Connect, kind: int, stream: int) -> None:
    pair = connect()
    pair.send(1, 2)
    pair.peer.send(h2.HEADERS, 0, 1, b"\x88")
    pair.peer.send(kind, 0, stream, b"\0" * 8 if kind == h2.PING else b"")
    with pytest.raises(LoadError, match="broke off headers"):
        pair.receive()


@pytest.mark.parametrize(("error", "code"), [(7, headers.UNAVAILABLE), (8, headers.CANCELLED), (2, headers.INTERNAL)])
def test_streams_may_be_reset(connect: Connect, error: int, code: int) -> None:
    pair = connect()
    pair.send(1, 2)
    pair.peer.send(h2.RST_STREAM, 0, 1, struct.pack(">I", error))
    pair.peer.send(h2.RST_STREAM, 0, 99, struct.pack(">I", error))
    assert pair.receive() == [Ended(1, code, 0)]
    pair.peer.answer(1)  # was on its way
    pair.peer.answer(3)
    assert pair.receive() == [Ended(2, headers.OK, 5)]


def test_no_more_streams_than_the_server_allows(connect: Connect) -> None:
    pair = connect(MAX_CONCURRENT_STREAMS=2)
    pair.send(10, 11, 12, 13)
    assert [seen.stream for seen in pair.peer.frames(4)] == [1, 1, 3, 3]
    assert pair.peer.nothing_came()
    pair.peer.answer(3)
    assert pair.receive() == [Ended(11, headers.OK, 5)]
    assert [seen.stream for seen in pair.peer.frames(2)] == [5, 5]
    pair.peer.settings(MAX_CONCURRENT_STREAMS=50)
    assert pair.receive() == []
    assert [seen.kind for seen in pair.peer.frames(3)] == [h2.SETTINGS, h2.HEADERS, h2.DATA]


def test_no_more_streams_than_the_caller_allows(connect: Connect) -> None:
    pair = connect(most_streams=1, MAX_CONCURRENT_STREAMS=5)
    pair.send(10, 11)
    assert [seen.stream for seen in pair.peer.frames(2)] == [1, 1]
    assert pair.peer.nothing_came()


def test_bodies_wait_for_the_streams_window(connect: Connect) -> None:
    pair = connect(b"q" * 25, INITIAL_WINDOW_SIZE=20)
    pair.send(0)
    head, first = pair.peer.frames(2)
    assert (head.kind, first.kind, first.flags, len(first.payload)) == (h2.HEADERS, h2.DATA, 0, 20)
    pair.peer.send(h2.WINDOW_UPDATE, 0, 1, struct.pack(">I", 4))
    pair.receive()
    assert len(pair.peer.frame().payload) == 4
    pair.peer.settings(INITIAL_WINDOW_SIZE=10)  # the window is 10 bytes below zero now
    pair.receive()
    assert pair.peer.frame().kind == h2.SETTINGS
    pair.peer.send(h2.WINDOW_UPDATE, 0, 1, struct.pack(">I", 10))
    pair.receive()
    assert pair.peer.nothing_came()
    pair.peer.settings(INITIAL_WINDOW_SIZE=30)
    pair.receive()
    acknowledgement, last = pair.peer.frames(2)
    assert (acknowledgement.kind, last) == (h2.SETTINGS, Seen(h2.DATA, h2.END_STREAM, 1, b"q" * 6))


def test_bodies_wait_for_the_connections_window(connect: Connect) -> None:
    pair = connect(b"q" * 40_000, INITIAL_WINDOW_SIZE=2**31 - 1)
    pair.send(0, 1)
    sent = [pair.peer.frame() for _ in range(7)]
    data = [seen for seen in sent if seen.kind == h2.DATA]
    assert sum(len(seen.payload) for seen in data) == h2.FIRST_WINDOW
    assert all(len(seen.payload) <= h2.FRAME_BYTES for seen in data)
    assert pair.peer.nothing_came()
    pair.peer.send(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 100_000))
    pair.receive()
    rest = pair.peer.frame()
    assert (len(rest.payload), rest.flags) == (80_010 - h2.FIRST_WINDOW, h2.END_STREAM)


def test_frames_are_as_large_as_the_server_allows(connect: Connect) -> None:
    pair = connect(b"q" * 40_000, MAX_FRAME_SIZE=30_000, INITIAL_WINDOW_SIZE=100_000)
    pair.send(0)
    assert [len(seen.payload) for seen in pair.peer.frames(3)[1:]] == [30_000, 10_005]


def test_what_is_answered_before_it_was_sent_is_not_sent(connect: Connect) -> None:
    pair = connect(b"q" * 100, INITIAL_WINDOW_SIZE=50)
    pair.send(0)
    pair.peer.frames(2)
    pair.peer.answer(1, status="8")
    assert pair.receive() == [Ended(0, headers.RESOURCE_EXHAUSTED, 5)]
    assert pair.peer.frame() == Seen(h2.RST_STREAM, 0, 1, struct.pack(">I", h2.CANCEL))


def test_a_server_with_a_smaller_header_table_is_told_that_we_use_none(connect: Connect) -> None:
    pair = connect(HEADER_TABLE_SIZE=0)
    pair.send(0, 1)
    blocks = [seen.payload for seen in pair.peer.frames(4) if seen.kind == h2.HEADERS]
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = 0  # insists on being told
    assert decoder.decode(blocks[0]) == decoder.decode(blocks[1])
    assert blocks[0] == b"\x20" + blocks[1]


def test_pings_are_answered(connect: Connect) -> None:
    pair = connect()
    pair.peer.send(h2.PING, 0, 0, b"12345678")
    pair.peer.send(h2.PING, h2.ACK, 0, b"87654321")
    assert pair.receive() == []
    assert pair.peer.frame() == Seen(h2.PING, h2.ACK, 0, b"12345678")
    assert pair.peer.nothing_came()


def test_unknown_frames_are_ignored(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.send(h2.PRIORITY, 0, 1, b"\0" * 5)
    pair.peer.send(200, 255, 1, b"what")
    pair.peer.answer(1)
    assert pair.receive() == [Ended(1, headers.OK, 5)]


def test_the_server_gets_its_window_back(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = connect()
    monkeypatch.setattr(http2, "LARGEST_WINDOW", 1000)
    pair.peer.send(h2.DATA, 0, 77, b"x" * 400)  # of a stream that was given up
    pair.receive()
    assert pair.peer.nothing_came()
    pair.peer.send(h2.DATA, h2.PADDED, 77, b"\x63" + b"x" * 199)
    pair.receive()
    assert pair.peer.frame() == Seen(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 600))


def test_a_server_that_goes_away_finishes_what_it_took(connect: Connect) -> None:
    pair = connect(MAX_CONCURRENT_STREAMS=2)
    pair.send(1, 2, 3)
    pair.peer.frames(4)
    pair.peer.send(h2.GOAWAY, 0, 0, struct.pack(">II", 1, h2.NO_ERROR) + b"max_age")
    assert pair.receive() == [Ended(2, headers.UNAVAILABLE, 0)]
    assert not pair.connection.accepts
    assert pair.connection.under_way == 1
    pair.send(4)
    assert pair.connection.take_waiting() == [3, 4]
    assert pair.connection.take_waiting() == []
    pair.peer.answer(1)
    assert pair.receive() == [Ended(1, headers.OK, 5)]
    assert pair.peer.nothing_came()


def test_a_server_that_goes_away_with_an_error_says_why(connect: Connect) -> None:
    pair = connect()
    pair.peer.send(h2.GOAWAY, 0, 0, struct.pack(">II", 0, 11) + b"too_many_pings")
    with pytest.raises(LoadError, match="peer:1 ended the connection with error 11: 'too_many_pings'"):
        pair.receive()


def test_a_closed_connection_has_requests_that_nobody_answers(connect: Connect) -> None:
    pair = connect(MAX_CONCURRENT_STREAMS=2)
    pair.send(1, 2, 3)
    pair.peer.answer(3)
    pair.peer.socket.close()
    assert pair.connection.receive() == [Ended(2, headers.OK, 5)]
    with pytest.raises(ConnectionLost, match="peer:1"):
        pair.receive()
    assert pair.connection.abandon() == [Ended(1, headers.UNAVAILABLE, 0), Ended(3, headers.UNAVAILABLE, 0)]
    assert pair.connection.abandon() == []


def test_a_connection_that_breaks_is_lost(connect: Connect) -> None:
    pair = connect()
    pair.peer.socket.close()
    with pytest.raises(ConnectionLost, match="broke: Broken pipe"):
        pair.send(1)


def test_what_takes_too_long_is_given_up(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    pair = connect(timeout=1e-6, MAX_CONCURRENT_STREAMS=2)
    pair.send(1)
    now[0] = 1500
    pair.send(2, 3)
    pair.peer.frames(4)
    assert pair.connection.expire(1999) == []
    assert pair.connection.expire(2000) == [Ended(1, headers.DEADLINE_EXCEEDED, 0)]
    pair.connection.flush()
    assert pair.peer.frame() == Seen(h2.RST_STREAM, 0, 1, struct.pack(">I", h2.CANCEL))
    pair.peer.answer(1)  # too late
    assert pair.receive() == []
    assert pair.connection.expire(9999) == [
        Ended(2, headers.DEADLINE_EXCEEDED, 0),
        Ended(3, headers.DEADLINE_EXCEEDED, 0),
    ]


def test_stream_numbers_end_one_day(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "LARGEST_STREAM", 3)
    pair = connect()
    pair.send(1, 2, 3)
    assert not pair.connection.accepts
    assert pair.connection.take_waiting() == [3]
    pair.peer.answer(3)
    assert pair.receive() == [Ended(2, headers.OK, 5)]


def test_what_the_socket_does_not_take_waits(connect: Connect) -> None:
    pair = connect(b"q" * 10_000, INITIAL_WINDOW_SIZE=2**31 - 1)
    pair.peer.send(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30))
    pair.receive()
    count = 0
    while not pair.connection.wants_to_write:
        pair.send(count)
        count += 1
    seen: list[Seen] = []
    while len(seen) < 2 * count:
        seen.append(pair.peer.frame())
        pair.connection.flush()
    assert not pair.connection.wants_to_write
    assert [each.stream for each in seen[1::2]] == [2 * number + 1 for number in range(count)]
    assert {each.payload for each in seen[1::2]} == {b"\0" + struct.pack(">I", 10_000) + b"q" * 10_000}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no HTTP/2 came, but b'HTTP/1.1 400"),
        (h2.frame(h2.PING, 0, 0, b"12345678"), "does not keep to HTTP/2: it did not begin with settings"),
        (b"", "closed the connection"),
        (None, "did not answer with HTTP/2 settings within"),
    ],
)
def test_who_does_not_greet_is_no_server(answer: bytes | None, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "CONNECT_SECONDS", TIMEOUT if answer is not None else 0.02)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def serve() -> None:
            theirs, _ = listener.accept()
            accepted.append(theirs)
            if answer is not None:
                Peer(theirs).preface()
                theirs.sendall(answer)
                theirs.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(LoadError, match=message):
            Connection.open(LoadTarget(url=url, requests=(b"",), timeout=1.0))
        thread.join()
        accepted[0].close()


@pytest.mark.parametrize(("url", "parts"), [("host:80", ("host", 80)), ("[::1]:8001", ("::1", 8001))])
def test_addresses(url: str, parts: tuple[str, int]) -> None:
    assert dialing.split_url(url) == parts


@pytest.mark.parametrize("url", ["", "host", ":80", "host:", "host:http", "host:0", "host:65536", "http://host:80"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(LoadError, match="HOST:PORT"):
        dialing.split_url(url)


def test_whatever_comes_is_an_answer_or_an_error(connect: Connect) -> None:
    random = np.random.default_rng(0)
    kinds = [h2.DATA, h2.HEADERS, h2.RST_STREAM, h2.SETTINGS, h2.PING, h2.GOAWAY, h2.WINDOW_UPDATE, h2.CONTINUATION]
    for _ in range(300):
        pair = connect(b"q" * 30, INITIAL_WINDOW_SIZE=20)
        pair.send(*range(5))
        ended = []
        try:
            for step in range(20):
                flags, stream, size = random.integers(256), 2 * random.integers(7) + 1, random.integers(40)
                pair.peer.send(int(random.choice(kinds)), int(flags), int(stream), random.bytes(int(size)))
                if step % 3:
                    ended += pair.receive()
        except LoadError as error:
            assert "\n" not in str(error)
        ended += pair.connection.abandon()
        assert sorted(each.request for each in ended) == list(range(5))
        pair.connection.close()
        pair.peer.socket.close()
