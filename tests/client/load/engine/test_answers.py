"""Answers as servers send them, whole, in pieces, or not as the rules say."""

import itertools
import socket
import struct
import time

import numpy as np
import pytest
from http2_peer import Connect, Outcome, Peer, Seen, outcomes

from quadriga_client.load import status_codes
from quadriga_client.load.engine import answers
from quadriga_client.load.engine import frames as h2
from quadriga_client.load.engine.streams import Stream
from quadriga_client.load.errors import LoadError, ProtocolError


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
    assert ended == [Outcome(8, status_codes.OK, 5), Outcome(7, status_codes.OK, 7)]
    assert pair.connection.under_way == 0


def test_answers_of_one_turn_are_there_when_each_was_read(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by TLS, where a turn is many reads."""
    monkeypatch.setattr(h2, "READ_BYTES", 64)
    monkeypatch.setattr(h2.FrameReader, "goes_on", lambda reader, taken: True)
    pair = connect()
    pair.send(1, 2)
    for stream in (1, 3):
        pair.peer.answer(stream)
    clock = itertools.count(1000)
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(clock))
    first, second = pair.connection.receive()
    assert (first.request, second.request) == (1, 2)
    assert 1000 <= first.ended_ns < second.ended_ns


@pytest.mark.parametrize("status", ["0", "5", "14", "99"])
def test_the_status_stands_in_the_trailers(connect: Connect, status: str) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.answer(1, status=status)
    assert pair.receive() == [Outcome(1, status_codes.UNKNOWN if status == "99" else int(status), 5)]


def test_an_error_may_have_trailers_only(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.send(
        h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, pair.peer.block((":status", "200"), ("grpc-status", "5"))
    )
    assert pair.receive() == [Outcome(1, status_codes.NOT_FOUND, 0)]


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
    codes = [status_codes.UNAVAILABLE, status_codes.UNIMPLEMENTED, status_codes.UNAVAILABLE, status_codes.UNKNOWN]
    assert [ended.code for ended in pair.receive()] == codes


def test_an_answer_that_is_ok_has_a_message(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.send(
        h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, pair.peer.block((":status", "200"), ("grpc-status", "0"))
    )
    assert pair.receive() == [Outcome(1, status_codes.UNIMPLEMENTED, 0)]


def test_interim_headers_are_none(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.send(h2.HEADERS, h2.END_HEADERS, 1, pair.peer.block((":status", "103")))
    pair.peer.answer(1)
    assert pair.receive() == [Outcome(1, status_codes.OK, 5)]


def test_padding_and_priority_are_left_out(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    peer = pair.peer
    flags = h2.END_HEADERS | h2.PADDED | h2.HAS_PRIORITY
    peer.send(h2.HEADERS, flags, 1, b"\x03" + b"\0" * 5 + peer.block((":status", "200")) + b"\0" * 3)
    peer.send(h2.DATA, h2.PADDED, 1, b"\x04" + b"123456" + b"\0" * 4)
    trailers = b"\x01" + peer.block(("grpc-status", "0")) + b"\0"
    peer.send(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM | h2.PADDED, 1, trailers)
    assert pair.receive() == [Outcome(1, status_codes.OK, 6)]


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
    assert pair.receive() == [Outcome(1, status_codes.RESOURCE_EXHAUSTED, 5)]


@pytest.mark.parametrize(("kind", "stream"), [(h2.PING, 0), (h2.CONTINUATION, 3), (h2.SETTINGS, 0)])
def test_nothing_may_come_between_headers_and_their_continuation(connect: Connect, kind: int, stream: int) -> None:
    pair = connect()
    pair.send(1, 2)
    pair.peer.send(h2.HEADERS, 0, 1, b"\x88")
    pair.peer.send(kind, 0, stream, b"\0" * 8 if kind == h2.PING else b"")
    with pytest.raises(LoadError, match="broke off headers"):
        pair.receive()


@pytest.mark.parametrize(
    ("error", "code"), [(11, status_codes.RESOURCE_EXHAUSTED), (8, status_codes.CANCELLED), (2, status_codes.INTERNAL)]
)
def test_streams_may_be_reset(connect: Connect, error: int, code: int) -> None:
    pair = connect()
    pair.send(1, 2)
    pair.peer.send(h2.RST_STREAM, 0, 1, struct.pack(">I", error))
    pair.peer.send(h2.RST_STREAM, 0, 99, struct.pack(">I", error))
    assert pair.receive() == [Outcome(1, code, 0)]
    pair.peer.answer(1)  # was on its way
    pair.peer.answer(3)
    assert pair.receive() == [Outcome(2, status_codes.OK, 5)]


def test_what_is_answered_before_it_was_sent_is_not_sent(connect: Connect) -> None:
    pair = connect(b"q" * 100, INITIAL_WINDOW_SIZE=50)
    pair.send(0)
    pair.peer.frames(2)
    pair.peer.answer(1, status="8")
    assert pair.receive() == [Outcome(0, status_codes.RESOURCE_EXHAUSTED, 5)]
    assert pair.peer.frame() == Seen(h2.RST_STREAM, 0, 1, struct.pack(">I", h2.CANCEL))


def test_unknown_frames_are_ignored(connect: Connect) -> None:
    pair = connect()
    pair.send(1)
    pair.peer.send(h2.PRIORITY, 0, 1, b"\0" * 5)
    pair.peer.send(200, 255, 1, b"what")
    pair.peer.answer(1)
    assert pair.receive() == [Outcome(1, status_codes.OK, 5)]


def test_the_server_gets_its_window_back(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = connect()
    monkeypatch.setattr(answers, "MOST_UNACKNOWLEDGED", 500)
    pair.peer.send(h2.DATA, 0, 77, b"x" * 400)  # of a stream that was given up
    pair.receive()
    assert pair.peer.nothing_came()
    pair.peer.send(h2.DATA, h2.PADDED, 77, b"\x63" + b"x" * 199)
    pair.receive()
    assert pair.peer.frame() == Seen(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 600))


def test_whatever_comes_is_an_answer_or_an_error(connect: Connect) -> None:
    random = np.random.default_rng(0)
    kinds = [h2.DATA, h2.HEADERS, h2.RST_STREAM, h2.SETTINGS, h2.PING, h2.GOAWAY, h2.WINDOW_UPDATE, h2.CONTINUATION]
    for _ in range(300):
        pair = connect(b"q" * 30, INITIAL_WINDOW_SIZE=20)
        pair.send(*range(5))
        ended: list[Outcome] = []
        refused: list[Stream] = []
        try:
            for step in range(20):
                flags, stream, size = random.integers(256), 2 * random.integers(7) + 1, random.integers(40)
                pair.peer.send(int(random.choice(kinds)), int(flags), int(stream), random.bytes(int(size)))
                if step % 3:
                    ended += pair.receive()
                    refused += pair.connection.take_refused()
        except LoadError as error:
            assert "\n" not in str(error)
        ended += outcomes(pair.connection.abandon())
        assert sorted([each.request for each in ended] + [each.request for each in refused]) == list(range(5))
        pair.connection.close()
        pair.peer.socket.close()
