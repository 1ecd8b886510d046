"""Limits of the HTTP port: connections that ask nothing make room for those that do, and large heads are refused."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from running_server import RunningServer, open_files, wait_for

from quadriga.web_connections import MOST_CONNECTIONS

#: gRPC's transport makes no difference here.
TRANSPORT = "grpcio"


@pytest.fixture(scope="module")
def transport() -> str:
    return TRANSPORT


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], repository: Path) -> RunningServer:
    return start("--repository", str(repository))


@pytest.fixture
def connect(server: RunningServer) -> Iterator[Callable[[], socket.socket]]:
    host, _, port = server.http.rpartition(":")
    with ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection((host, int(port)), timeout=30))


def ended(connection: socket.socket) -> bool:
    """Whether the server has closed a connection, or does so soon."""
    with suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


def test_the_connections_that_have_waited_for_longest_make_room_for_others(
    server: RunningServer, connect: Callable[[], socket.socket]
) -> None:
    before = len(open_files(server.process.pid))
    idle = [connect() for _ in range(MOST_CONNECTIONS + 20)]
    for connection in idle:
        connection.sendall(b"GET /healthz/live HTTP/1.1\r\nHost: ")
    assert server.get("/healthz/live") == (200, "live\n")
    assert all(ended(connection) for connection in idle[:20])
    assert len(open_files(server.process.pid)) <= before + MOST_CONNECTIONS + 1
    idle[-1].sendall(b"here\r\n\r\n")
    assert b"200 OK" in idle[-1].recv(1_000)
    for connection in idle:
        connection.close()
    wait_for(lambda: len(open_files(server.process.pid)) <= before + 1, "the descriptors to be given back")


def test_a_head_too_large_ends_its_connection(server: RunningServer, connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    with suppress(ConnectionError):
        connection.sendall(b"GET /healthz/live HTTP/1.1\r\nHost: here\r\nLong: " + b"v" * 1_000_000 + b"\r\n\r\n")
        received = connection.recv(100)
        assert not received or received.startswith(b"HTTP/1.1 4")
    assert server.get("/healthz/live") == (200, "live\n")
