"""How frames are taken from sockets: in turns, and by TLS."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from certificates import Authority
from http2_peer import Peer

from quadriga_client.load.engine import frames as h2
from quadriga_client.load.engine.frames import FrameReader


class Encrypted(NamedTuple):
    """Both ends of a connection by TLS; ours does not block."""

    ours: ssl.SSLSocket
    theirs: ssl.SSLSocket


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[Encrypted]:
    pair = Authority(tmp_path, "authority").sign("server")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    both = Encrypted(
        client.wrap_socket(ours, do_handshake_on_connect=False),
        server.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False),
    )
    left = [both.ours, both.theirs]
    while left:
        for each in tuple(left):
            with contextlib.suppress(ssl.SSLWantReadError):
                each.do_handshake()
                left.remove(each)
    with both.ours, both.theirs:
        yield both


def turn(reader: FrameReader) -> list[int]:
    """Reads for one turn; the streams of the frames that came."""
    taken, streams = 0, []
    while size := reader.read():
        streams += [number for _, _, number, _, _ in reader.frames()]
        taken += size
        if not reader.goes_on(taken):
            break
    return streams


def test_all_records_of_tls_are_read_in_one_turn(encrypted: Encrypted) -> None:
    for stream in range(1, 30):
        encrypted.theirs.sendall(h2.frame(h2.PING, 0, stream, b"12345678"))
    assert turn(FrameReader(encrypted.ours)) == list(range(1, 30))


def test_a_turn_ends_and_what_is_left_of_a_record_is_read_first(
    encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TLS has decrypted is no news to a selector: nobody would come back for it."""
    monkeypatch.setattr(h2, "TURN_BYTES", 100)
    monkeypatch.setattr(h2, "READ_BYTES", 64)
    ping = h2.frame(h2.PING, 0, 1, b"12345678")
    for _ in range(4):
        encrypted.theirs.sendall(ping * 10)
    reader = FrameReader(encrypted.ours)
    assert len(turn(reader)) == 10  # the second record is begun at 100 bytes, or the first one left
    assert encrypted.ours.pending() == 0
    assert sum(len(turn(reader)) for _ in range(3)) == 30


def test_without_tls_a_turn_is_one_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        reader = FrameReader(ours)
        theirs.sendall(h2.frame(h2.PING, 0, 1, b"12345678"))
        assert not reader.goes_on(reader.read())


def test_a_read_that_has_to_write_is_repeated_when_it_can() -> None:
    class Renewing:
        """TLS that exchanges keys anew, and has a full socket before it."""

        full = True

        def recv_into(self, buffer: "memoryview[int]") -> int:
            if self.full:
                raise ssl.SSLWantWriteError
            buffer[:17] = h2.frame(h2.PING, 0, 1, b"12345678")
            return 17

    renewing = Renewing()
    reader = FrameReader(cast("socket.socket", renewing))
    assert reader.read() == 0
    assert reader.wants_to_write
    renewing.full = False
    assert reader.read() == 17
    assert not reader.wants_to_write


def test_the_end_of_a_connection_is_none_of_a_turn(encrypted: Encrypted) -> None:
    Peer(encrypted.theirs).send(h2.PING, 0, 1, b"12345678")
    encrypted.theirs.close()
    reader = FrameReader(encrypted.ours)
    with pytest.raises(EOFError):
        turn(reader)
