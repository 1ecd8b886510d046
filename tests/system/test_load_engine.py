"""The load generators: against the echo server, which grpcio vouches for, and against real servers."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from certificates import Authority
from load_runs import MS, PATIENCE_NS, SECOND, codes, most_at_once, run_until, started_processes, target, until
from oip import infer_request
from running_server import RunningServer, wait_for, write_fake

from quadriga_client import TlsOptions
from quadriga_client.load.arrivals import Arrivals, ClosedLoop, Constant, OpenLoop, Poisson, Trace, schedule
from quadriga_client.load.ceiling import measure_ceiling
from quadriga_client.load.engine import child
from quadriga_client.load.engine.echo import EchoServer
from quadriga_client.load.engine.fleet import Fleet
from quadriga_client.load.engine.messages import RECORD, Stall
from quadriga_client.load.errors import LoadError
from quadriga_client.load.samples import Samples, Times
from quadriga_client.load.statistics.histogram import distribution
from quadriga_client.load.status_codes import DEADLINE_EXCEEDED, INTERNAL, NOT_FOUND, OK

UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
REQUEST = infer_request("echo", x=np.arange(4, dtype=np.float32).reshape(1, 4)).SerializeToString()


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    """A server of fake models, on either transport."""
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "echo", config="max_batch_size = 8")
    write_fake(repository, "raising", {"raise_on": 13})
    return start("--repository", str(repository))


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoServer]:
    """An echo server that no test stops."""
    with EchoServer(b"r" * 100) as server:
        yield server


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Whatever a test does, its generators and echo servers end with it."""
    before = set(psutil.Process().children())
    yield
    assert started_processes(before) == []


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@pytest.mark.parametrize("size", [0, 16_379, 16_380, 3_000_000])
def test_grpcio_understands_the_echo_server(size: int) -> None:
    response = os.urandom(size)
    with EchoServer(response) as server, grpc.insecure_channel(server.url, options=UNLIMITED) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/any.Service/Method")
        futures = [call.future(b"q" * sent, timeout=60) for sent in (0, 12_000, 1_000_000) * 5]
        assert [future.result() == response for future in futures] == [True] * 15


@pytest.mark.parametrize(("connections", "processes"), [(1, 1), (5, 2)])
def test_a_closed_loop_keeps_its_callers_busy_and_loses_no_answer(
    echo: EchoServer, connections: int, processes: int
) -> None:
    requests = target(echo.url, b"a", b"b" * 20_000)
    with Fleet(requests, connections=connections, processes=processes) as fleet:
        run = fleet.start(ClosedLoop(7))
        windows: list[Samples] = []
        ends = [run.started_ns]
        while len(windows) < 3 or sum(len(window.due) for window in windows) < 100:
            ends.append(time.monotonic_ns() + 20 * MS)
            windows.append(run.collect(ends[-1]))
        samples = Samples.joined([*windows, run.finish()])
    assert codes(samples) == {OK: len(samples.codes)}
    for window, begin, end in zip(windows, ends[:-1], ends[1:], strict=True):
        assert np.all(window.ended > begin)  # each call of collect has what ended since the one before
        assert np.all(window.ended <= end)
    assert np.all(samples.due >= run.started_ns)
    assert np.all(samples.due <= samples.begun)
    assert np.all(samples.begun <= samples.ended)
    # Each caller's requests follow on one another: those due at the start are the callers, all others are due when an
    # answer was there.
    first = samples.due == run.started_ns
    assert first.sum() == 7
    assert set(samples.due[~first].tolist()) <= set(samples.ended.tolist())
    assert most_at_once(samples.due, samples.ended) == 7


@pytest.mark.parametrize("processes", [1, 2])
def test_open_loops_send_exactly_what_their_schedules_have(echo: EchoServer, processes: int, tmp_path: Path) -> None:
    trace = Trace((0, 1 * MS, 1 * MS, 7 * MS, 20 * MS), tmp_path)
    with Fleet(target(echo.url), connections=2, processes=processes) as fleet:
        pids = set()
        for arrivals in (Poisson(800, seed=3), Constant(800), trace):
            run = fleet.start(arrivals)
            pids.add(fleet.pids)
            samples = Samples.joined([*until(run, lambda samples: len(samples.due) >= 50), run.finish()])
            assert codes(samples) == {OK: len(samples.due)}
            assert np.all(samples.begun >= samples.due)
            assert is_begin_of(np.sort(samples.due) - run.started_ns, arrivals, processes)
    assert len(pids) == 1  # of the same processes, run after run


def is_begin_of(due: Times, arrivals: OpenLoop, processes: int) -> bool:
    """Whether these are the first arrivals of each process's schedule, however many of each."""
    counts = [range(len(due) + 1)] * (processes - 1)
    schedules = [np.fromiter(schedule(arrivals, index, processes), np.int64, len(due)) for index in range(processes)]
    for chosen in itertools.product(*counts):
        sizes = [*chosen, len(due) - sum(chosen)]
        taken = [times[:size] for times, size in zip(schedules, sizes, strict=True)]
        if np.array_equal(np.sort(np.concatenate(taken)), due):
            return True
    return False


def test_a_stall_is_in_the_p99_from_when_requests_were_due_and_not_in_that_of_callers_who_wait() -> None:
    """The omission that is corrected: callers who wait for a server that stands still ask nothing of it meanwhile."""
    stall = Stall(after_s=0.05, seconds=1.0)

    def seen(samples: Samples) -> bool:
        """500 requests were due while the server stood still; they waited 1000 ms, 998 ms, and so on."""
        waited = samples.ended - samples.due
        return bool(np.sum(waited > 100 * MS) >= 425 and np.sum(waited > 500 * MS) >= 225)

    with EchoServer(b"r", stall=stall) as server, Fleet(target(server.url), connections=2, processes=1) as fleet:
        run = fleet.start(Constant(500))
        samples = Samples.joined([*until(run, seen), run.finish()])
    assert codes(samples) == {OK: len(samples.due)}
    assert distribution(samples.ended - samples.due).percentile_ms(99.0) >= 500

    def waited_out(samples: Samples) -> bool:
        """A caller's requests follow on one another: two at most fill the stall, and one of them half of it."""
        return len(samples.due) >= 2000 and bool(np.max(samples.ended - samples.due) >= 500 * MS)

    with EchoServer(b"r", stall=stall) as server, Fleet(target(server.url), connections=2, processes=1) as fleet:
        run = fleet.start(ClosedLoop(2))
        samples = Samples.joined([*until(run, waited_out), run.finish()])
    assert codes(samples) == {OK: len(samples.due)}
    assert distribution(samples.ended - samples.begun).percentile_ms(99.0) < 500  # 2 of each caller's at most, of 2000


def test_what_the_bound_holds_back_has_begun_and_is_given_up_like_the_rest() -> None:
    with (
        EchoServer(b"r") as server,
        Fleet(target(server.url, timeout=0.2), connections=1, processes=1, most_under_way=4) as fleet,
    ):
        run = fleet.start(Constant(400))
        os.kill(server.pid, signal.SIGSTOP)
        try:
            windows = until(run, lambda samples: codes(samples).get(DEADLINE_EXCEEDED, 0) >= 100)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        continued_ns = time.monotonic_ns()
        windows = until(run, lambda samples: np.any(samples.ended[samples.codes == OK] > continued_ns), windows)
        samples = Samples.joined([*windows, run.finish()])
    late = samples.codes == DEADLINE_EXCEEDED
    assert set(codes(samples)) == {OK, DEADLINE_EXCEEDED}
    assert np.all((samples.ended - samples.begun)[late] >= 200 * MS)
    assert most_at_once(samples.begun, samples.ended) > 4 * 4
    assert len(samples.due) == len(set(samples.due.tolist()))  # none is counted twice, though its answer came later


@pytest.mark.parametrize("arrivals", [ClosedLoop(8), Poisson(400)])
def test_a_real_server_answers_all(server: RunningServer, arrivals: Arrivals) -> None:
    before = server.metric("quadriga_requests_total", model="echo")
    with Fleet(target(server.grpc, REQUEST), connections=3, processes=2) as fleet:
        samples = run_until(fleet, arrivals)
    assert codes(samples) == {OK: len(samples.codes)}
    count = len(samples.codes)
    wait_for(lambda: server.metric("quadriga_requests_total", model="echo") - before == count, "all to be counted")


def test_requests_take_turns_and_errors_are_counted_by_their_codes(server: RunningServer) -> None:
    unknown = infer_request("nobody", x=np.zeros((1, 4), np.float32)).SerializeToString()
    bad = infer_request("raising", x=np.full((1, 4), 13, np.float32)).SerializeToString()
    with Fleet(target(server.grpc, REQUEST, unknown, bad), connections=2, processes=1) as fleet:
        seen = codes(run_until(fleet, ClosedLoop(4)))
    assert set(seen) == {OK, NOT_FOUND, INTERNAL}
    assert max(seen.values()) - min(seen.values()) <= 1


def test_a_parent_that_does_not_read_keeps_no_generator_from_its_work(
    echo: EchoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "PIPE_BYTES", 4096)
    with Fleet(target(echo.url), connections=1, processes=1) as fleet:
        run = fleet.start(ClosedLoop(4))
        before = cpu_seconds(fleet.pids[0])
        wait_for(lambda: cpu_seconds(fleet.pids[0]) >= before + 0.5, "the generator to work", PATIENCE_NS / SECOND)
        now_ns = time.monotonic_ns()
        samples = run.collect(now_ns)
        assert len(samples.due) > 2 * 4096 // RECORD.size
        assert samples.ended.max() <= now_ns
        samples = Samples.joined([samples, run.finish()])
    assert codes(samples) == {OK: len(samples.due)}
    assert most_at_once(samples.due, samples.ended) == 4


def test_tls_goes_all_the_way(tmp_path: Path) -> None:
    write_fake(tmp_path / "repository", "echo", config="max_batch_size = 20000")
    authority = Authority(tmp_path, "authority")
    pair, known = authority.sign("server"), authority.sign("client")
    flags = ("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key))
    ours = ("--repository", str(tmp_path / "repository"), "--tls-client-ca", str(authority.own.certificate))
    running = RunningServer(*ours, *flags)
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
                assert set(codes(run_until(fleet, ClosedLoop(6), least=30))) == {OK}
        stranger = TlsOptions(root_certificates=Authority(tmp_path, "stranger").own.certificate)
        with (
            Fleet(target(running.grpc, REQUEST, tls=stranger), connections=1, processes=1) as fleet,
            pytest.raises(LoadError, match=r"no TLS with .*certificate verify failed"),
        ):
            fleet.start(ClosedLoop(1))
    finally:
        running.stop()


def test_the_ceiling_is_that_of_an_echo_server() -> None:
    ceiling = measure_ceiling(target("nobody:1"), b"r" * 40, connections=2, processes=1, concurrency=4, seconds=2.0)
    assert ceiling.concurrency == 4
    assert ceiling.throughput > 0
    assert ceiling.p99_ms > 0
