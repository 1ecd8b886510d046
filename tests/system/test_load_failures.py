"""What goes wrong under load: servers that go away, connections that break, processes that are killed."""

import contextlib
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from load_runs import PATIENCE_NS, SECOND, codes, run_until, started_processes, target, until
from running_server import is_alive, wait_for

from quadriga_client.load.arrivals import ClosedLoop
from quadriga_client.load.engine.echo import EchoServer
from quadriga_client.load.engine.fleet import Fleet
from quadriga_client.load.errors import LoadError
from quadriga_client.load.samples import Samples
from quadriga_client.load.status_codes import OK, UNAVAILABLE
from quadriga_client.load.target import MODEL_INFER


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Whatever a test does, its generators and echo servers end with it."""
    before = set(psutil.Process().children())
    yield
    assert started_processes(before) == []


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoServer]:
    """An echo server that no test stops."""
    with EchoServer(b"r" * 100) as server:
        yield server


def test_whatever_clients_do_the_echo_server_goes_on() -> None:
    with EchoServer(b"response") as server, Fleet(target(server.url), connections=1, processes=1) as fleet:
        host, _, port = server.url.partition(":")
        address = (host, int(port))
        with socket.create_connection(address) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            received = b"".join(iter(lambda: stranger.recv(4096), b""))
            assert b"HTTP/1.1" not in received
        os.kill(server.pid, signal.SIGSTOP)  # they are gone before they are accepted
        for lingers in (False, True):
            with socket.create_connection(address) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", lingers, 0))
        os.kill(server.pid, signal.SIGCONT)
        assert set(codes(run_until(fleet, ClosedLoop(1)))) == {OK}


def test_an_echo_server_without_files_turns_clients_away_and_goes_on() -> None:
    with EchoServer(b"response") as server, Fleet(target(server.url), connections=1, processes=1) as fleet:
        host, _, port = server.url.partition(":")
        used = [int(entry.name) for entry in Path(f"/proc/{server.pid}/fd").iterdir()]
        limit = max(used) + 3
        free = limit - len(used)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        clients = [socket.create_connection((host, int(port))) for _ in range(free + 3)]
        with contextlib.ExitStack() as stack:
            for client in clients:
                stack.enter_context(client)
                client.settimeout(PATIENCE_NS / SECOND)
            greetings = [bool(client.recv(1)) for client in clients]
        assert greetings == [True] * free + [False] * 3
        wait_for(lambda: len(psutil.Process(server.pid).net_connections()) == 1, "the clients to be forgotten")
        assert set(codes(run_until(fleet, ClosedLoop(1)))) == {OK}


def test_a_server_that_dies_under_load_is_an_error_with_its_name() -> None:
    with (
        EchoServer(b"r") as server,
        Fleet(target(server.url), connections=2, processes=2) as fleet,
    ):
        run = fleet.start(ClosedLoop(8))
        until(run, lambda samples: len(samples.due) >= 100)
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(LoadError, match=rf"^[^\n]*{server.url}[^\n]*$"):
            run.collect(time.monotonic_ns() + PATIENCE_NS)
        rest = codes(run.finish())
        assert set(rest) <= {OK, UNAVAILABLE}
        assert rest[UNAVAILABLE] == 8
        with pytest.raises(LoadError, match="cannot connect to"):
            fleet.start(ClosedLoop(1))


def test_a_server_that_drains_costs_no_request_and_knows_the_timeout() -> None:
    """A server that limits the age of connections says GOAWAY again and again; each time there is another one."""
    options = (("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 60_000))
    with ThreadPoolExecutor(4) as threads:
        aging = grpc.server(threads, options=options)
        peers: set[str] = set()
        left: set[float | None] = set()

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            peers.add(context.peer())
            left.add(context.time_remaining())
            return request

        answers: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
        service, _, method = MODEL_INFER[1:].partition("/")
        aging.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: answers}),))
        port = aging.add_insecure_port("127.0.0.1:0")
        aging.start()
        try:
            with Fleet(target(f"127.0.0.1:{port}", timeout=77.0), connections=2, processes=1) as fleet:
                run = fleet.start(ClosedLoop(4))
                samples = Samples.joined([*until(run, lambda samples: len(peers) >= 6), run.finish()])
        finally:
            aging.stop(None).wait()
    assert codes(samples) == {OK: len(samples.codes)}
    assert all(seconds is not None and 0 < seconds <= 77 for seconds in left)


class Cutting:
    """Stands between generators and a server; breaks the first connection after so many bytes of answers.

    Attributes:
        url: HOST:PORT.
    """

    def __init__(self, url: str, cut_after: int) -> None:
        host, _, port = url.partition(":")
        self._server = (host, int(port))
        self._cut_after: float = cut_after
        self._clients: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Breaks all connections."""
        for client in self._clients:
            with contextlib.suppress(OSError):  # it has gone
                client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                self._threads.append(threading.Thread(target=self._forward, args=(client, self._cut_after)))
                self._threads[-1].start()
                self._cut_after = np.inf

    def _forward(self, client: socket.socket, left: float) -> None:
        # A side that has gone may say so by an error.
        with contextlib.suppress(OSError), client, socket.create_connection(self._server) as server:
            other = {client: server, server: client}
            while True:
                for source in select.select(list(other), [], [])[0]:
                    data = source.recv(1 << 16)
                    left -= len(data) if source is server else 0
                    if not data or left <= 0:
                        return
                    other[source].sendall(data)


@contextlib.contextmanager
def cutting(url: str, cut_after: int) -> Iterator[Cutting]:
    between = Cutting(url, cut_after)
    try:
        yield between
    finally:
        between.close()


def test_a_connection_that_breaks_is_replaced_and_its_requests_are_unavailable(echo: EchoServer) -> None:
    with (
        cutting(echo.url, cut_after=10_000) as between,
        Fleet(target(between.url), connections=1, processes=1) as fleet,
    ):
        seen = codes(run_until(fleet, ClosedLoop(5), least=200))  # more than the first connection could carry
    assert set(seen) == {OK, UNAVAILABLE}
    assert seen[UNAVAILABLE] <= 5


def test_connections_that_break_between_runs_are_replaced_before_the_next(echo: EchoServer) -> None:
    with (
        cutting(echo.url, cut_after=SECOND) as between,
        Fleet(target(between.url), connections=2, processes=1) as fleet,
    ):
        assert set(codes(run_until(fleet, ClosedLoop(2)))) == {OK}
        between.cut()
        assert set(codes(run_until(fleet, ClosedLoop(2)))) == {OK}


def test_a_killed_generator_is_an_error_and_the_others_end(echo: EchoServer) -> None:
    with Fleet(target(echo.url), connections=2, processes=2) as fleet:
        run = fleet.start(ClosedLoop(2))
        os.kill(fleet.pids[1], signal.SIGKILL)
        with pytest.raises(LoadError, match=r"a load generator \(pid \d+\) was killed by signal 9"):
            run.collect(time.monotonic_ns() + PATIENCE_NS)
        assert set(codes(run_until(fleet, ClosedLoop(2)))) == {OK}  # with new ones


def test_interrupts_are_not_for_generators(echo: EchoServer) -> None:
    with Fleet(target(echo.url), connections=1, processes=1) as fleet:
        run = fleet.start(ClosedLoop(2))
        for pid in (echo.pid, *fleet.pids):
            os.kill(pid, signal.SIGINT)
        sent_ns = time.monotonic_ns()
        windows = until(run, lambda samples: np.sum(samples.ended > sent_ns) >= 100)
        assert set(codes(Samples.joined([*windows, run.finish()]))) == {OK}


def test_generators_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, time\n"
        "from quadriga_client.load.arrivals import ClosedLoop\n"
        "from quadriga_client.load.engine.echo import EchoServer\n"
        "from quadriga_client.load.engine.fleet import Fleet\n"
        "from quadriga_client.load.target import LoadTarget\n"
        "echo = EchoServer(b'r')\n"
        "fleet = Fleet(LoadTarget(url=echo.url, requests=(b'q',), timeout=5.0), connections=2, processes=2)\n"
        "fleet.start(ClosedLoop(4))\n"
        "print(echo.pid, *fleet.pids, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 3
    wait_for(lambda: not any(map(is_running, pids)), "them to end")


def is_running(pid: int) -> bool:
    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        unused_port = taken.getsockname()[1]
        with (
            Fleet(target(f"127.0.0.1:{unused_port}"), connections=1, processes=1) as fleet,
            pytest.raises(LoadError, match=rf"^cannot connect to 127.0.0.1:{unused_port}: Connection refused$"),
        ):
            fleet.start(ClosedLoop(1))
