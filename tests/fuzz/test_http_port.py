"""Whatever bytes come to the HTTP port, it answers in HTTP or closes the connection, and goes on."""

import contextlib
import re
import select
import socket
import urllib.parse
from collections import Counter
from collections.abc import Iterator

import pytest
from fuzz_cases import CASES, chance, damaged
from running_server import RunningServer, write_fake

#: Each is a connection of its own.
CONNECTIONS = CASES // 20
SECONDS = 10.0
#: Of silence, after which the server hears that nothing follows: a request may have no end, or a connection be kept.
PATIENCE_SECONDS = 0.02
#: Of one answer; the rest is not read.
MOST_BYTES = 1 << 20
STATUS = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [^\r\n]*\r\n")

GOOD = (
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /metrics?model=echo HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text\r\nConnection: close\r\n\r\n",
    b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"POST /healthz/live HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
)
#: By what it is, a request that no honest client sends.
ODD = {
    "nothing": b"",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "an upgrade": b"GET /metrics HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "an upgrade to HTTP/2": b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "a huge header": b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "many headers": b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"A: a\r\n" * 20_000 + b"Connection: close\r\n\r\n",
    "a huge path": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method without an end": b"G" * 1_000_000,
    "a body that never comes": b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
    "a negative length": b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "a length and chunks": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a huge chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "no host": b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n",
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "an absolute URL": b"GET http://169.254.169.254/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "pipelining": b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n" * 500 + GOOD[-1],
    "a port that is none": b"GET /metrics HTTP/1.1\r\nHost: x:y:z\r\nConnection: close\r\n\r\n",
    "an address that is none": b"GET /metrics HTTP/1.1\r\nHost: [::\r\nConnection: close\r\n\r\n",
    "an odd Accept": b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: ;;,;q=;version=\xff,*/*;q=nan\r\n"
    b"Connection: close\r\n\r\n",
    "a query that is no text": b"GET /metrics?model=%ff%fe&model=%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "many parameters": b"GET /metrics?" + b"a=b&" * 10_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}  # fmt: skip
PATHS = (
    "/metrics/../healthz/live", "//metrics", "/%2e%2e/%2e%2e/etc/passwd", "/metrics%00",
    "/healthz/live/", "/healthz", "/\\..\\..",
    "*", "",
    "/metrics;a=b", "/%", "/%zz", "/%c0%ae%c0%ae/", "/\u00e9", "/healthz/live?a=%00",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get", "", "G\x00T", "PRI")
#: Folders that can be models, and what they are in a label of the metrics.
NAMES = ('quo"te', "back\\slash", "sp ace", "{}", "a=b,c", "\u00e9\U0001f600", "%00", "#", "x..", "+Inf")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    repository = tmp_path_factory.mktemp("repository")
    for name in ("echo", *NAMES):
        write_fake(repository, name)
    running = RunningServer("--repository", str(repository))
    try:
        yield running
        assert running.get("/healthz/live") == (200, "live\n")
        assert "Traceback" not in running.log
        assert "ERROR" not in running.log
        assert len(running.workers()) == 1 + len(NAMES)
    finally:
        running.stop()


def exchange(server: RunningServer, request: bytes, patience: float = PATIENCE_SECONDS) -> bytes:
    """What comes back until the server closes the connection; all is sent that it takes."""
    host, _, port = server.http.rpartition(":")
    answer = bytearray()
    with socket.create_connection((host, int(port)), SECONDS) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(request)
        ended = False
        while len(answer) < MOST_BYTES:
            if not ended and not select.select([connection], [], [], patience)[0]:
                with contextlib.suppress(OSError):  # the server has closed it
                    connection.shutdown(socket.SHUT_WR)
                ended = True
            if not (chunk := connection.recv(65_536)):
                break
            answer += chunk
    return bytes(answer)


def status_of(answer: bytes) -> str:
    """Of the first answer; a server that closes the connection without one may do so."""
    if not answer:
        return "closed"
    status = STATUS.match(answer)
    assert status is not None, answer[:200]
    assert status[1] != b"500", answer[:500]
    return status[1].decode()


@pytest.mark.parametrize("request_", GOOD)
def test_undamaged_requests_are_answered(server: RunningServer, request_: bytes) -> None:
    """Else the damaged ones would be refused for something else."""
    assert status_of(exchange(server, request_, SECONDS)) != "closed"


def test_damaged_requests(server: RunningServer) -> None:
    ends: Counter[str] = Counter()
    for index in range(CONNECTIONS):
        dice = chance("http", index)
        request = dice.randbytes(dice.randrange(200)) if index % 8 == 0 else damaged(dice.choice(GOOD), dice)
        ends[status_of(exchange(server, request))] += 1
    print(f"HTTP port: {dict(ends)}")
    assert ends["200"], ends
    assert ends["400"], ends


@pytest.mark.parametrize("what", ODD)
def test_odd_requests(server: RunningServer, what: str) -> None:
    status_of(exchange(server, ODD[what]))
    assert server.get("/metrics")[0] == 200


@pytest.mark.parametrize("method", METHODS)
def test_any_path_by_any_method(server: RunningServer, method: str) -> None:
    for path in PATHS:
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        answer = exchange(server, request)
        assert status_of(answer) in ("closed", "200", "307", "400", "404", "405"), answer
        assert b"root:" not in answer


def test_names_of_models_are_escaped_in_labels(server: RunningServer) -> None:
    """Nothing that a folder may be called can forge a sample."""
    text = server.get("/metrics")[1]
    labels = re.compile(r'^[a-z_]+(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)*\})? \S+$')
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert [line for line in lines if not labels.match(line)] == []
    for name in NAMES:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        assert f'model="{escaped}"' in text, name
        status, page = server.get(f"/metrics?model={urllib.parse.quote(name)}")
        assert status == 200
        assert f'model="{escaped}"' in page
