"""The connection of a generator, against a server that the test drives frame by frame."""

import socket
import struct
import time
from collections.abc import Callable

import hpack
import pytest
from http2_peer import TIMEOUT, Connect, Outcome, Seen, outcomes

from quadriga_client.load import status_codes
from quadriga_client.load.engine import frames as h2
from quadriga_client.load.engine import http2
from quadriga_client.load.engine.http2 import Connection
from quadriga_client.load.engine.stream_table import GRACE_NS
from quadriga_client.load.engine.streams import Stream, templates
from quadriga_client.load.errors import ConnectionLost, LoadError, SentAway
from quadriga_client.load.target import LoadTarget


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


def test_no_more_streams_than_the_server_allows(connect: Connect) -> None:
    pair = connect(MAX_CONCURRENT_STREAMS=2)
    pair.send(10, 11, 12, 13)
    assert [seen.stream for seen in pair.peer.frames(4)] == [1, 1, 3, 3]
    assert pair.peer.nothing_came()
    pair.peer.answer(3)
    assert pair.receive() == [Outcome(11, status_codes.OK, 5)]
    assert [seen.stream for seen in pair.peer.frames(2)] == [5, 5]
    pair.peer.settings(MAX_CONCURRENT_STREAMS=50)
    assert pair.receive() == []
    assert [seen.kind for seen in pair.peer.frames(3)] == [h2.SETTINGS, h2.HEADERS, h2.DATA]


def test_no_more_streams_than_the_caller_allows(connect: Connect) -> None:
    pair = connect(most_streams=1, MAX_CONCURRENT_STREAMS=5)
    pair.send(10, 11)
    assert [seen.stream for seen in pair.peer.frames(2)] == [1, 1]
    assert pair.peer.nothing_came()


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


def requests(streams: list[Stream]) -> list[int]:
    return [stream.request for stream in streams]


def test_a_server_that_goes_away_finishes_what_it_took_and_gives_back_the_rest(connect: Connect) -> None:
    pair = connect(MAX_CONCURRENT_STREAMS=2)
    pair.send(1, 2, 3)
    pair.peer.frames(4)
    pair.peer.send(h2.GOAWAY, 0, 0, struct.pack(">II", 1, h2.NO_ERROR) + b"max_age")
    assert pair.receive() == []
    assert not pair.connection.accepts
    assert pair.connection.under_way == 1
    pair.send(4)
    assert requests(pair.connection.take_refused()) == [2, 3, 4]
    assert pair.connection.take_refused() == []
    pair.peer.answer(1)
    assert pair.receive() == [Outcome(1, status_codes.OK, 5)]
    assert pair.peer.nothing_came()


def test_a_server_that_goes_away_with_an_error_says_why_and_finishes_nothing(connect: Connect) -> None:
    pair = connect()
    pair.send(1, 2, 3, 4)
    pair.peer.answer(5)
    pair.peer.send(h2.GOAWAY, 0, 0, struct.pack(">II", 3, 11) + b"too_many_pings")
    with pytest.raises(SentAway, match="peer:1 ended the connection with error 11: 'too_many_pings'"):
        pair.receive()
    assert requests(pair.connection.take_refused()) == [4]
    assert outcomes(pair.connection.abandon()) == [
        Outcome(3, status_codes.OK, 5),
        Outcome(1, status_codes.UNAVAILABLE, 0),
        Outcome(2, status_codes.UNAVAILABLE, 0),
    ]


def test_what_a_server_refuses_may_be_sent_once_more(connect: Connect) -> None:
    pair = connect(b"q" * 100, INITIAL_WINDOW_SIZE=50)
    pair.send(1, 2)
    pair.peer.frames(4)
    for stream in (1, 5):
        pair.peer.send(h2.RST_STREAM, 0, stream, struct.pack(">I", h2.REFUSED_STREAM))
        ended = pair.receive()
        streams = pair.connection.take_refused()
        if stream == 1:
            assert (ended, requests(streams)) == ([], [1])
            pair.connection.resend(streams)
            pair.connection.flush()
            assert [seen.stream for seen in pair.peer.frames(2)] == [5, 5]
        else:
            assert (ended, streams) == ([Outcome(1, status_codes.UNAVAILABLE, 0)], [])
    assert pair.connection.accepts
    assert pair.peer.nothing_came()  # no reset that answers a reset


def test_a_closed_connection_has_requests_that_nobody_answers(connect: Connect) -> None:
    pair = connect(MAX_CONCURRENT_STREAMS=2)
    pair.send(1, 2, 3)
    pair.peer.answer(3)
    pair.peer.socket.close()
    assert outcomes(pair.connection.receive()) == [Outcome(2, status_codes.OK, 5)]
    with pytest.raises(ConnectionLost, match="peer:1"):
        pair.receive()
    assert not pair.connection.accepts
    assert outcomes(pair.connection.abandon()) == [
        Outcome(1, status_codes.UNAVAILABLE, 0),
        Outcome(3, status_codes.UNAVAILABLE, 0),
    ]
    assert pair.connection.abandon() == []


def test_a_connection_that_breaks_is_lost(connect: Connect) -> None:
    pair = connect()
    pair.peer.socket.close()
    with pytest.raises(ConnectionLost, match="broke: Broken pipe"):
        pair.send(1)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time, in ns: its only element."""
    shown = [1000]
    monkeypatch.setattr(time, "monotonic_ns", lambda: shown[0])
    return shown


def test_what_takes_too_long_is_given_up(connect: Connect, now: list[int]) -> None:
    pair = connect(timeout=1e-6, MAX_CONCURRENT_STREAMS=2)
    pair.send(1)
    now[0] = 1500
    pair.send(2, 3)
    pair.peer.frames(4)
    assert pair.expire(1999) == []
    assert pair.expire(2000) == [Outcome(1, status_codes.DEADLINE_EXCEEDED, 0)]
    assert pair.peer.nothing_came()  # the server knows the timeout, and still has the stream
    pair.peer.answer(1)
    assert pair.receive() == []
    assert [seen.stream for seen in pair.peer.frames(2)] == [5, 5]
    assert pair.expire(9999) == [
        Outcome(2, status_codes.DEADLINE_EXCEEDED, 0),
        Outcome(3, status_codes.DEADLINE_EXCEEDED, 0),
    ]


def test_what_waits_too_long_is_given_up(connect: Connect, now: list[int]) -> None:
    pair = connect(timeout=1e-6, MAX_CONCURRENT_STREAMS=1)
    pair.send(1, 2)
    assert pair.expire(2000) == [
        Outcome(1, status_codes.DEADLINE_EXCEEDED, 0),
        Outcome(2, status_codes.DEADLINE_EXCEEDED, 0),
    ]


def test_the_server_may_end_what_was_given_up_in_any_way(connect: Connect, now: list[int]) -> None:
    pair = connect(timeout=1e-6, MAX_CONCURRENT_STREAMS=3)
    pair.send(1, 2, 3)
    pair.expire(2000)
    pair.peer.send(h2.RST_STREAM, 0, 1, struct.pack(">I", h2.CANCEL))
    pair.peer.send(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 3, pair.peer.block((":status", "200")))
    pair.peer.send(h2.DATA, h2.END_STREAM, 5, b"\0\0\0\0\0")
    assert pair.receive() == []
    pair.send(4, 5, 6)
    assert [seen.stream for seen in pair.peer.frames(12)][6:] == [7, 7, 9, 9, 11, 11]
    now[0] = 2000 + GRACE_NS  # no stream is reset that was ended
    pair.peer.answer(7)
    assert pair.receive() == [Outcome(4, status_codes.OK, 5)]
    assert pair.peer.nothing_came()


def test_a_server_that_does_not_end_what_was_given_up_is_told_to(connect: Connect, now: list[int]) -> None:
    pair = connect(b"q" * 100, timeout=1e-6, MAX_CONCURRENT_STREAMS=1, INITIAL_WINDOW_SIZE=50)
    pair.send(1)
    pair.peer.frames(2)
    pair.expire(2000)
    pair.peer.send(h2.WINDOW_UPDATE, 0, 1, struct.pack(">I", 1000))
    now[0] = 2000 + GRACE_NS - 1
    pair.send(2)
    assert pair.receive() == []
    assert pair.expire(now[0]) == []
    assert pair.peer.nothing_came()  # nothing of a body that nobody waits for, and no stream beyond those allowed
    now[0] += 1
    assert pair.expire(now[0]) == []
    reset, head, _ = pair.peer.frames(3)
    assert reset == Seen(h2.RST_STREAM, 0, 1, struct.pack(">I", h2.CANCEL))
    assert (head.kind, head.stream) == (h2.HEADERS, 3)


@pytest.mark.parametrize("whole", [False, True])
def test_a_late_answer_ends_a_request_that_was_not_all_sent(connect: Connect, now: list[int], whole: bool) -> None:
    pair = connect(b"q" * 100, timeout=1e-6, INITIAL_WINDOW_SIZE=200 if whole else 50)
    pair.send(1)
    pair.peer.frames(2)
    pair.expire(2000)
    pair.peer.answer(1, status="4")
    assert pair.receive() == []
    if not whole:
        assert pair.peer.frame() == Seen(h2.RST_STREAM, 0, 1, struct.pack(">I", h2.CANCEL))
    assert pair.peer.nothing_came()


def test_an_answer_is_there_when_it_was_read(connect: Connect, now: list[int]) -> None:
    pair = connect()
    pair.send(1, 2)
    for stream, at in ((1, 5000), (3, 7000)):
        pair.peer.answer(stream)
        now[0] = at
        assert [each.ended_ns for each in pair.connection.receive()] == [at]


def test_stream_numbers_end_one_day(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "LARGEST_STREAM", 3)
    pair = connect()
    pair.send(1, 2, 3)
    assert not pair.connection.accepts
    assert pair.connection.take_refused()[0].request == 3
    pair.peer.answer(3)
    assert pair.receive() == [Outcome(2, status_codes.OK, 5)]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no HTTP/2 came, but b'HTTP/1.1 400"),
        (h2.frame(h2.PING, 0, 0, b"12345678"), "does not keep to HTTP/2: it did not begin with settings"),
        (h2.frame(h2.GOAWAY, 0, 0, struct.pack(">II", 0, 11) + b"not you"), "with error 11: 'not you'"),
        (b"", "closed the connection"),
    ],
)
def test_who_does_not_greet_is_no_server(connect: Connect, answer: bytes, message: str) -> None:
    pair = connect(greet=False)
    pair.peer.socket.sendall(answer)
    pair.peer.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(LoadError, match=message):
        pair.connection.greet(TIMEOUT)


def test_who_says_nothing_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    monkeypatch.setattr(http2, "dial", lambda target, seconds: ours)
    monkeypatch.setattr(http2, "CONNECT_SECONDS", 0.0)
    target = LoadTarget(url="peer:1", requests=(b"",), timeout=1.0)
    with (
        theirs,
        pytest.raises(LoadError, match="peer:1 did not answer with HTTP/2 settings within 0 s"),
    ):
        Connection.open(target, templates(target))
    assert ours.fileno() == -1


def test_files_that_select_does_not_know_can_be_waited_for(connect: Connect, above_1024: Callable[[int], int]) -> None:
    pair = connect(greet=False)
    high = above_1024(pair.connection.fileno())
    connected = socket.socket(fileno=high)
    connected.setblocking(False)
    target = LoadTarget(url="peer:1", requests=(b"",), timeout=1.0)
    connection = Connection(connected, target, templates(target))
    pair.peer.settings()
    pair.peer.send(h2.SETTINGS, h2.ACK, 0)
    connection.greet(TIMEOUT)
    assert connection.fileno() == high
    connected.detach()
