"""The load generators: against the echo server, which grpcio vouches for, and against real servers."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from certificates import Authority
from oip import infer_request
from running_server import RunningServer, is_alive, wait_for, write_fake

from quadriga_client import TlsOptions
from quadriga_client.load import child
from quadriga_client.load.arrivals import Arrivals, ClosedLoop, Constant, Poisson, Trace, schedule
from quadriga_client.load.ceiling import measure_ceiling
from quadriga_client.load.echo import EchoServer, Stall
from quadriga_client.load.errors import LoadError
from quadriga_client.load.fleet import Fleet
from quadriga_client.load.headers import DEADLINE_EXCEEDED, INTERNAL, NOT_FOUND, OK, UNAVAILABLE
from quadriga_client.load.messages import RECORD
from quadriga_client.load.samples import Samples, Times
from quadriga_client.load.target import MODEL_INFER, LoadTarget

UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
REQUEST = infer_request("echo", x=np.arange(4, dtype=np.float32).reshape(1, 4)).SerializeToString()
MS, SECOND = 1_000_000, 1_000_000_000


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    """A server of fake models, on either transport."""
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "echo", config="max_batch_size = 8")
    write_fake(repository, "raising", {"raise_on": 13})
    write_fake(repository, "slow", {"sleep_ms": 300})
    return start("--repository", str(repository))


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Whatever a test does, its generators and echo servers end with it."""
    before = set(psutil.Process().children())
    yield
    started = set(psutil.Process().children()) - before
    assert [child for child in started if is_alive(child) and "quadriga_client.load" in " ".join(child.cmdline())] == []


def target(url: str, *requests: bytes, timeout: float = 20.0, tls: TlsOptions | None = None) -> LoadTarget:
    return LoadTarget(url=url, requests=requests or (b"q" * 500,), timeout=timeout, tls=tls)


def for_ms(fleet: Fleet, arrivals: Arrivals, milliseconds: int) -> Samples:
    """All samples of a run."""
    run = fleet.start(arrivals)
    return Samples.joined([run.collect(run.started_ns + milliseconds * MS), run.finish()])


def codes(samples: Samples) -> dict[int, int]:
    numbers, counts = np.unique(samples.codes, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 3_000_000])
def test_grpcio_understands_the_echo_server(size: int) -> None:
    response = os.urandom(size)
    with EchoServer(response) as echo, grpc.insecure_channel(echo.url, options=UNLIMITED) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/any.Service/Method")
        futures = [call.future(b"q" * sent, timeout=30) for sent in (0, 12_000, 1_000_000) * 5]
        assert [future.result() == response for future in futures] == [True] * 15


def test_who_speaks_no_http2_or_goes_away_leaves_the_echo_server_standing() -> None:
    with EchoServer(b"response") as echo, Fleet(target(echo.url), connections=1, processes=1) as fleet:
        host, _, port = echo.url.partition(":")
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            received = b"".join(iter(lambda: stranger.recv(4096), b""))
            assert b"HTTP/1.1" not in received
        socket.create_connection((host, int(port))).close()
        assert set(codes(for_ms(fleet, ClosedLoop(1), 50))) == {OK}


@pytest.mark.parametrize(("connections", "processes"), [(1, 1), (5, 2)])
def test_a_closed_loop_keeps_its_callers_busy_and_loses_no_answer(connections: int, processes: int) -> None:
    with (
        EchoServer(b"r" * 100) as echo,
        Fleet(target(echo.url, b"a", b"b" * 20_000), connections=connections, processes=processes) as fleet,
    ):
        run = fleet.start(ClosedLoop(7))
        windows = [run.collect(run.started_ns + end * MS) for end in (100, 200, 300)]
        samples = Samples.joined([*windows, run.finish()])
    assert codes(samples) == {OK: len(samples.codes)}
    for number, window in enumerate(windows):  # each call of collect has what ended since the one before
        assert np.all(window.ended > run.started_ns + 100 * number * MS)
        assert np.all(window.ended <= run.started_ns + 100 * (number + 1) * MS)
    assert np.all(samples.due >= run.started_ns)
    assert np.all(samples.due <= samples.begun)
    assert np.all(samples.begun <= samples.ended)
    # Each caller's requests follow on one another: those due at the start are the callers, all others are due when an
    # answer was there.
    first = samples.due == run.started_ns
    assert first.sum() == 7
    assert set(samples.due[~first].tolist()) <= set(samples.ended.tolist())
    assert most_at_once(samples.due, samples.ended) == 7


def most_at_once(starts: Times, ends: Times) -> int:
    """The most requests that had started and not ended at one moment."""
    times = np.concatenate([starts, ends])
    changes = np.repeat([1, -1], len(starts))
    order = np.lexsort((changes, times))  # where one ends as another starts, it ends first
    return int(np.cumsum(changes[order]).max())


@pytest.mark.parametrize("processes", [1, 2])
def test_an_open_loop_sends_exactly_what_its_schedule_has(processes: int, tmp_path: Path) -> None:
    trace = Trace((0, 1 * MS, 1 * MS, 7 * MS, 20 * MS), tmp_path)
    with EchoServer(b"r") as echo, Fleet(target(echo.url), connections=2, processes=processes) as fleet:
        for arrivals in (Poisson(800, seed=3), Constant(800), trace):
            run = fleet.start(arrivals)
            samples = Samples.joined([run.collect(run.started_ns + 250 * MS), run.finish()])
            due = np.sort(samples.due) - run.started_ns
            expected = np.fromiter(schedule(arrivals), np.int64, len(due))
            sent = expected < 250 * MS  # those after may have gone out before the end was known, or not
            assert np.array_equal(due[sent], expected[sent])
            assert expected[-1] > 240 * MS
            assert codes(samples) == {OK: len(due)}
            assert np.all(samples.begun >= samples.due)


def test_a_stall_is_seen_from_when_requests_were_due() -> None:
    with (
        EchoServer(b"r", stall=Stall(after_s=0.1, seconds=0.4)) as echo,
        Fleet(target(echo.url), connections=2, processes=1) as fleet,
    ):
        samples = for_ms(fleet, Constant(500), 900)
    waited = samples.ended - samples.due
    assert codes(samples) == {OK: len(waited)}
    # 200 requests were due while the server stood still; they waited 400 ms, 398 ms, and so on.
    assert np.sum(waited > 20 * MS) >= 180
    assert waited.max() >= 390 * MS
    assert np.sum(waited > 200 * MS) >= 90


def test_callers_of_a_closed_loop_hide_a_stall() -> None:
    with (
        EchoServer(b"r", stall=Stall(after_s=0.1, seconds=0.4)) as echo,
        Fleet(target(echo.url), connections=1, processes=1) as fleet,
    ):
        samples = for_ms(fleet, ClosedLoop(3), 700)
    assert np.sum(samples.ended - samples.due >= 380 * MS) == 3


def test_what_the_bound_holds_back_has_begun_and_waits() -> None:
    with (
        EchoServer(b"r", stall=Stall(after_s=0.0, seconds=0.3)) as echo,
        Fleet(target(echo.url), connections=1, processes=1, most_under_way=4) as fleet,
    ):
        samples = for_ms(fleet, Constant(400), 400)
    assert codes(samples) == {OK: len(samples.due)}
    assert most_at_once(samples.begun, samples.ended) > 4 * 4


def test_requests_past_the_timeout_are_given_up() -> None:
    with (
        EchoServer(b"r", stall=Stall(after_s=0.0, seconds=0.6)) as echo,
        Fleet(target(echo.url, timeout=0.2), connections=1, processes=1) as fleet,
    ):
        samples = for_ms(fleet, Constant(100), 900)
    late = samples.codes == DEADLINE_EXCEEDED
    assert set(codes(samples)) == {OK, DEADLINE_EXCEEDED}
    assert np.all((samples.ended - samples.begun)[late] >= 200 * MS)
    assert len(samples.due) == len(set(samples.due.tolist()))  # none is counted twice, though its answer came later


@pytest.mark.parametrize("arrivals", [ClosedLoop(8), Poisson(400)])
def test_a_real_server_answers_all(server: RunningServer, arrivals: Arrivals) -> None:
    before = server.metric("quadriga_requests_total", model="echo")
    with Fleet(target(server.grpc, REQUEST), connections=3, processes=2) as fleet:
        samples = for_ms(fleet, arrivals, 500)
    assert codes(samples) == {OK: len(samples.codes)}
    assert server.metric("quadriga_requests_total", model="echo") - before == len(samples.codes)


def test_errors_are_counted_by_their_codes(server: RunningServer) -> None:
    unknown = infer_request("nobody", x=np.zeros((1, 4), np.float32)).SerializeToString()
    with Fleet(target(server.grpc, unknown), connections=2, processes=1) as fleet:
        samples = for_ms(fleet, ClosedLoop(4), 200)
    assert codes(samples) == {NOT_FOUND: len(samples.codes)}
    bad = infer_request("raising", x=np.full((1, 4), 13, np.float32)).SerializeToString()
    with Fleet(target(server.grpc, bad), connections=2, processes=1) as fleet:
        samples = for_ms(fleet, ClosedLoop(4), 200)
    assert codes(samples) == {INTERNAL: len(samples.codes)}


def test_several_requests_take_turns(server: RunningServer) -> None:
    unknown = infer_request("nobody", x=np.zeros((1, 4), np.float32)).SerializeToString()
    with Fleet(target(server.grpc, REQUEST, REQUEST, unknown), connections=2, processes=1) as fleet:
        samples = for_ms(fleet, Constant(300), 300)
    seen = codes(samples)
    assert set(seen) == {OK, NOT_FOUND}
    assert abs(seen[OK] - 2 * seen[NOT_FOUND]) <= 3


def test_a_timeout_is_told_to_a_real_server(server: RunningServer) -> None:
    slow = infer_request("slow", x=np.zeros((1, 4), np.float32)).SerializeToString()
    with Fleet(target(server.grpc, slow, timeout=0.15), connections=1, processes=1) as fleet:
        samples = for_ms(fleet, ClosedLoop(2), 400)
    assert codes(samples) == {DEADLINE_EXCEEDED: len(samples.codes)}


def test_a_fleet_makes_several_runs_with_the_same_processes(server: RunningServer) -> None:
    with Fleet(target(server.grpc, REQUEST), connections=2, processes=2) as fleet:
        counts, pids = [], set()
        for callers in (1, 4):
            counts.append(len(for_ms(fleet, ClosedLoop(callers), 100).codes))
            pids.add(fleet.pids)
    assert len(pids) == 1
    assert min(counts) > 0


def test_a_server_that_dies_under_load_is_an_error_with_its_name(repository: Path) -> None:
    running = RunningServer("--repository", str(repository))
    try:
        with Fleet(target(running.grpc, REQUEST), connections=2, processes=2) as fleet:
            run = fleet.start(ClosedLoop(8))
            assert OK in codes(run.collect(run.started_ns + 100 * MS))
            running.process.kill()
            with pytest.raises(LoadError, match=rf"^[^\n]*{running.grpc}[^\n]*$"):
                run.collect(time.monotonic_ns() + 20 * SECOND)
            rest = codes(run.finish())
            assert set(rest) == {OK, UNAVAILABLE}
            assert rest[UNAVAILABLE] == 8
            with pytest.raises(LoadError, match="cannot connect to"):
                fleet.start(ClosedLoop(1))
    finally:
        running.process.kill()
        running.process.wait()
        running._close()
        running.wait_until_nothing_is_left()


def test_a_server_that_drains_is_no_error_as_long_as_it_answers() -> None:
    """A server that limits the age of connections says GOAWAY again and again; each time there is another one."""
    options = (("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 5000))
    with ThreadPoolExecutor(4) as threads:
        aging = grpc.server(threads, options=options)
        peers = set()

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            peers.add(context.peer())
            return request

        answers: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
        service, _, method = MODEL_INFER[1:].partition("/")
        aging.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: answers}),))
        port = aging.add_insecure_port("127.0.0.1:0")
        aging.start()
        try:
            with Fleet(target(f"127.0.0.1:{port}"), connections=2, processes=1) as fleet:
                samples = for_ms(fleet, ClosedLoop(4), 800)
        finally:
            aging.stop(None).wait()
    assert len(peers) >= 4
    assert set(codes(samples)) <= {OK, UNAVAILABLE}
    assert codes(samples).get(UNAVAILABLE, 0) <= len(samples.codes) // 10
    assert samples.ended[samples.codes == OK].max() - samples.due.min() > 600 * MS


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
        with client, socket.create_connection(self._server) as server:
            other = {client: server, server: client}
            while True:
                for source in select.select(list(other), [], [])[0]:
                    data = source.recv(1 << 16)
                    left -= len(data) if source is server else 0
                    if not data or left <= 0:
                        return
                    other[source].sendall(data)


def test_a_connection_that_breaks_is_replaced_and_its_requests_are_unavailable() -> None:
    with EchoServer(b"r" * 500) as echo:
        cutting = Cutting(echo.url, cut_after=20_000)
        try:
            with Fleet(target(cutting.url), connections=1, processes=1) as fleet:
                samples = for_ms(fleet, ClosedLoop(5), 500)
        finally:
            cutting.close()
    seen = codes(samples)
    assert set(seen) == {OK, UNAVAILABLE}
    assert seen[UNAVAILABLE] <= 5
    assert seen[OK] > 20_000 // 500  # more than the first connection could carry


def test_connections_that_break_between_runs_are_replaced_before_the_next() -> None:
    with EchoServer(b"r") as echo:
        cutting = Cutting(echo.url, cut_after=SECOND)
        try:
            with Fleet(target(cutting.url), connections=2, processes=1) as fleet:
                assert set(codes(for_ms(fleet, ClosedLoop(2), 50))) == {OK}
                cutting.cut()
                assert set(codes(for_ms(fleet, ClosedLoop(2), 50))) == {OK}
        finally:
            cutting.close()


def test_a_parent_that_does_not_read_keeps_no_generator_from_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PIPE_BYTES", 4096)
    with EchoServer(b"r") as echo, Fleet(target(echo.url), connections=1, processes=1) as fleet:
        run = fleet.start(ClosedLoop(4))
        threading.Event().wait(0.5)
        now_ns = time.monotonic_ns()
        samples = run.collect(now_ns)
        assert len(samples.due) > 4096 // RECORD.size
        assert np.any(samples.ended > run.started_ns + 200 * MS)
        assert samples.ended.max() <= now_ns
        samples = Samples.joined([samples, run.finish()])
    assert codes(samples) == {OK: len(samples.due)}
    assert most_at_once(samples.due, samples.ended) == 4


def test_a_killed_generator_is_an_error_and_the_others_end() -> None:
    with EchoServer(b"r") as echo, Fleet(target(echo.url), connections=2, processes=2) as fleet:
        run = fleet.start(ClosedLoop(2))
        os.kill(fleet.pids[1], signal.SIGKILL)
        with pytest.raises(LoadError, match=r"a load generator \(pid \d+\) was killed by signal 9"):
            run.collect(time.monotonic_ns() + 20 * SECOND)
        assert OK in codes(for_ms(fleet, ClosedLoop(2), 100))  # with new ones


def test_interrupts_are_not_for_generators() -> None:
    with EchoServer(b"r") as echo, Fleet(target(echo.url), connections=1, processes=1) as fleet:
        run = fleet.start(ClosedLoop(2))
        for pid in (echo.pid, *fleet.pids):
            os.kill(pid, signal.SIGINT)
        assert OK in codes(run.collect(time.monotonic_ns() + 100 * MS))
        run.finish()


def test_generators_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, time\n"
        "from quadriga_client.load.arrivals import ClosedLoop\n"
        "from quadriga_client.load.echo import EchoServer\n"
        "from quadriga_client.load.fleet import Fleet\n"
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
    wait_for(lambda: not any(psutil.pid_exists(pid) and is_alive(psutil.Process(pid)) for pid in pids), "them to end")


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        unused_port = taken.getsockname()[1]
    with (
        Fleet(target(f"127.0.0.1:{unused_port}"), connections=1, processes=1) as fleet,
        pytest.raises(LoadError, match=rf"^cannot connect to 127.0.0.1:{unused_port}: Connection refused$"),
    ):
        fleet.start(ClosedLoop(1))


def test_tls_goes_all_the_way(repository: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    pair, known = authority.sign("server"), authority.sign("client")
    flags = ("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key))
    running = RunningServer("--repository", str(repository), *flags, "--tls-client-ca", str(authority.own.certificate))
    try:
        root = authority.own.certificate
        as_bytes = TlsOptions(
            root_certificates=root.read_bytes(),
            client_key=known.key.read_bytes(),
            client_chain=known.certificate.read_bytes(),
            authority="localhost",
        )
        as_files = TlsOptions(root_certificates=root, client_key=known.key, client_chain=known.certificate)
        big = infer_request("echo", x=np.zeros((20_000, 4), np.float32)).SerializeToString()
        for tls in (as_bytes, as_files):
            with Fleet(target(running.grpc, REQUEST, big, tls=tls), connections=2, processes=1) as fleet:
                assert OK in codes(for_ms(fleet, ClosedLoop(6), 300))
        stranger = TlsOptions(root_certificates=Authority(tmp_path, "stranger").own.certificate)
        with (
            Fleet(target(running.grpc, REQUEST, tls=stranger), connections=1, processes=1) as fleet,
            pytest.raises(LoadError, match=r"no TLS with .*certificate verify failed"),
        ):
            fleet.start(ClosedLoop(1))
    finally:
        running.stop()


def test_the_ceiling_is_that_of_an_echo_server() -> None:
    ceiling = measure_ceiling(target("nobody:1"), b"r" * 40, connections=2, processes=1, concurrency=4, seconds=0.2)
    assert ceiling.concurrency == 4
    assert ceiling.throughput > 0
    assert ceiling.p99_ms > 0
