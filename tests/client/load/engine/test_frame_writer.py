"""What is sent, as windows and the socket allow."""

import socket
import struct
from typing import cast

import pytest
from http2_peer import Connect, Peer, Seen

from quadriga_client.load.engine import frames as h2
from quadriga_client.load.engine.frame_writer import Body, FrameWriter


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


def test_what_waits_for_its_own_window_keeps_nobody_else(connect: Connect) -> None:
    pair = connect(b"q" * 100, b"", INITIAL_WINDOW_SIZE=50)
    pair.send(0)
    pair.peer.frames(2)
    pair.send(1)
    assert [(seen.stream, seen.flags) for seen in pair.peer.frames(2)] == [(3, h2.END_HEADERS), (3, h2.END_STREAM)]


def test_the_work_for_a_body_does_not_grow_with_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    put_some = FrameWriter._put_some

    def look(self: FrameWriter, stream: int, body: Body) -> object:
        looked_at.append(stream)
        return put_some(self, stream, body)

    monkeypatch.setattr(FrameWriter, "_put_some", look)
    writer = FrameWriter(cast("socket.socket", None))
    writer.window = 2**30
    list(writer.settle(struct.pack(">HI", h2.INITIAL_WINDOW_SIZE, 10)))
    streams = list(range(1, 1000, 2))
    for stream in streams:
        writer.put_body(stream, b"q" * 100)
    for stream in streams:
        writer.widen(stream, 90)
        writer.fill()
    assert looked_at == streams * 2
    assert not any(map(writer.drop_body, streams))  # they were all sent


def test_bodies_take_turns_for_the_connections_window() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = FrameWriter(ours)
        writer.window = 0
        for stream in (1, 3, 5):
            writer.put_body(stream, b"q" * 10)
        writer.drop_body(1)
        for _ in range(4):
            writer.widen(0, 5)
            writer.fill()
        writer.flush()
        peer = Peer(theirs)
        assert [(seen.stream, seen.flags) for seen in peer.frames(4)] == [(3, 0), (3, 1), (5, 0), (5, 1)]
