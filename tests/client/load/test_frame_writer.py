"""What is sent, as windows and the socket allow."""

import struct

from http2_peer import Connect, Seen

from quadriga_client.load import frames as h2


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
