"""Limits of the gRPC port: what lies within them is served, what lies beyond is refused, and the server goes on."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from attacks import ATTACKS
from oip import SERVICE, error_of, infer_request, method, outputs_of, rpc
from own_backends import OWN_BACKENDS
from running_server import RunningServer, open_files, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb
from quadriga_proto.conventions import PUSHBACK_TRAILER

MOST_BYTES = 100_000
MOST_METADATA = 12_000
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EMPTY_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
PING = bytes((0, 0, 8, 6, 0, 0, 0, 0, 0))
PONG = bytes((0, 0, 8, 6, 1, 0, 0, 0, 0))


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "any", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]})
    write_fake(repository, "slow", {"sleep_ms": 300}, "max_batch_size = 8")
    limits = ("--max-message-bytes", str(MOST_BYTES), "--max-metadata-bytes", str(MOST_METADATA), "--max-streams", "2")
    return start("--repository", str(repository), *limits)


@pytest.fixture
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc, [("grpc.max_receive_message_length", -1)]) as channel:
        yield channel


@pytest.fixture
def grpcio_alone(transport: str) -> None:
    """Skips what the native transport does not have, and refuses: the tests of `ServerConfig` show it."""
    if transport != "grpcio":
        pytest.skip("grpcio alone has it")


def request_of(size: int) -> bytes:
    """A request of the model that takes any shape, exactly that many bytes long."""
    request = infer_request("any", x=np.zeros((1, (size - 400) // 4), np.float32))
    request.id = "i" * (size - request.ByteSize() - 3)  # its tag, and two bytes of length
    assert request.ByteSize() == size
    return request.SerializeToString()


def test_the_largest_request_is_answered_and_a_larger_one_refused(channel: grpc.Channel) -> None:
    response = rpc(channel, "ModelInfer", request_of(MOST_BYTES))
    assert outputs_of(response)["x"].shape[1] > 20_000
    code, _ = error_of(channel, "ModelInfer", request_of(MOST_BYTES + 500))
    assert code == "RESOURCE_EXHAUSTED"
    assert rpc(channel, "ModelInfer", request_of(1_000)).model_name == "any"


def test_a_larger_request_ends_its_stream(channel: grpc.Channel) -> None:
    stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", bytes, pb.ModelStreamInferResponse.FromString)
    assert len(list(stream(iter([request_of(MOST_BYTES)] * 2), timeout=30))) == 2
    with pytest.raises(grpc.RpcError) as caught:
        list(stream(iter([request_of(MOST_BYTES + 500)]), timeout=30))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_request_is_measured_unpacked(server: RunningServer, transport: str) -> None:
    with grpc.insecure_channel(server.grpc, compression=grpc.Compression.Gzip) as channel:
        assert rpc(channel, "ModelInfer", request_of(MOST_BYTES)).model_name == "any"
        code, _ = error_of(channel, "ModelInfer", request_of(100 * MOST_BYTES))
    assert code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("name", ["rapid_reset", "rapid_reset_of_requests", "continuation_flood", "metadata_flood"])
def test_floods_leave_the_server_as_it_was(server: RunningServer, channel: grpc.Channel, name: str) -> None:
    before = len(open_files(server.process.pid))
    with contextlib.ExitStack() as held:
        ATTACKS[name](server, held, 0.2)
    wait_for(lambda: len(open_files(server.process.pid)) <= before + 2, "the descriptors to be given back")
    wait_for(lambda: answers(channel), "an answer")
    assert "this is a bug" not in server.log


def answers(channel: grpc.Channel) -> bool:
    """Whether a call is answered; floods may have cost others theirs."""
    try:
        return bool(rpc(channel, "ServerLive", pb.ServerLiveRequest()).live)
    except grpc.RpcError:
        return False


def test_more_metadata_is_refused(channel: grpc.Channel) -> None:
    much = (("key", "v" * (MOST_METADATA - 1_000)),)
    assert rpc(channel, "ServerLive", pb.ServerLiveRequest(), metadata=much).live
    stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", bytes, pb.ModelStreamInferResponse.FromString)
    for _ in range(5):
        assert len(list(stream(iter([request_of(1_000)]), metadata=much, timeout=30))) == 1
    with pytest.raises(grpc.RpcError):
        rpc(channel, "ServerLive", pb.ServerLiveRequest(), metadata=[("key", "v" * (MOST_METADATA + 100))])
    assert rpc(channel, "ServerLive", pb.ServerLiveRequest()).live


def test_further_calls_on_a_connection_wait_for_their_turn(server: RunningServer, channel: grpc.Channel) -> None:
    slow = infer_request("slow", x=np.zeros((1, 4), np.float32)).SerializeToString()
    calls = [method(channel, "ModelInfer").future(slow, timeout=30) for _ in range(6)]
    most = 0
    while not all(call.done() for call in calls):
        threading.Event().wait(0.02)
        most = max(most, int(server.metric("quadriga_queue_depth", model="slow")))
    assert all(call.code() is grpc.StatusCode.OK for call in calls)
    assert server.metric("quadriga_batch_size_count", model="slow") >= 3
    assert most <= 2


def test_requests_beyond_the_bytes_in_hand_are_refused_until_some_are_answered(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    any_size = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    folder = write_fake(tmp_path, "held", any_size, 'backend = "own_backends:Held"')
    server = start("--repository", str(tmp_path), "--max-pending-bytes", "100000", env=OWN_BACKENDS)
    large = infer_request("held", x=np.zeros((1, 20_000), np.float32)).SerializeToString()
    with grpc.insecure_channel(server.grpc) as channel:
        infer = method(channel, "ModelInfer")
        taken = infer.future(large, timeout=60)
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="held") == 1, "the first one to be taken")
        refusals = [infer.future(large, timeout=60) for _ in range(3)]
        assert {call.code().name for call in refusals} == {"UNAVAILABLE"}
        (folder / "1" / "go").touch()
        assert taken.code() is grpc.StatusCode.OK
        refused = refusals[0]
        assert "more pass its limit of 100000" in (refused.details() or "")
        assert dict(refused.trailing_metadata() or ())[PUSHBACK_TRAILER]
        assert rpc(channel, "ModelInfer", large).model_name == "held"
    assert server.metric("quadriga_requests_total", code="UNAVAILABLE", reason="overloaded") == 3
    assert server.stop() == 0


def test_what_callers_sent_who_have_gone_counts_until_it_is_dropped_and_then_makes_room(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    any_size = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    write_fake(tmp_path, "hangs", {**any_size, "hang_on": 1.0}, "max_batch_size = 1")
    write_fake(tmp_path, "echo", any_size)
    server = start("--repository", str(tmp_path), "--max-pending-bytes", "100000", "--drain-seconds", "0.1")
    hanging = infer_request("hangs", x=np.ones((1, 4), np.float32)).SerializeToString()
    with grpc.insecure_channel(server.grpc) as channel:
        infer = method(channel, "ModelInfer")
        hung = [infer.future(hanging, timeout=120) for _ in range(2)]
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="hangs") == 2, "the model to hang")
        abandoned = infer.future(infer_request("hangs", x=np.zeros((1, 20_000), np.float32)).SerializeToString())
        wait_for(lambda: server.metric("quadriga_queue_depth", model="hangs") == 1, "the large request to wait")
        abandoned.cancel()
        large = infer_request("echo", x=np.zeros((1, 20_000), np.float32))

        def is_answered() -> bool:  # the server hears of the cancellation a moment later
            try:
                return bool(rpc(channel, "ModelInfer", large).model_name == "echo")
            except grpc.RpcError:
                return False

        wait_for(is_answered, "its room")
        assert server.metric("quadriga_requests_total", model="hangs", code="CANCELLED") == 1
        assert server.metric("quadriga_queue_depth", model="hangs") == 0
        for call in hung:
            call.cancel()


def test_a_client_that_answers_no_ping_is_cut_off_and_one_that_does_is_kept(
    start: Callable[..., RunningServer], repository: Path
) -> None:
    keepalive = ("--keepalive-seconds", "0.3", "--keepalive-timeout-seconds", "5")
    server = start("--repository", str(repository), *keepalive)
    with grpc.insecure_channel(server.grpc) as channel:
        states: list[Any] = []
        channel.subscribe(states.append)
        assert rpc(channel, "ServerLive", pb.ServerLiveRequest()).live
        wait_for(lambda: grpc.ChannelConnectivity.READY in states, "the connection to be told of")
        host, _, port = server.grpc.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as dead:
            dead.sendall(HTTP2_PREFACE + EMPTY_SETTINGS)
            with contextlib.suppress(ConnectionResetError):
                while dead.recv(4_096):  # the server's settings and pings, and then its end
                    pass
        assert states[-1] is grpc.ChannelConnectivity.READY
    assert server.stop() == 0


@pytest.mark.usefixtures("grpcio_alone")
@pytest.mark.parametrize("flag", ["--max-connection-idle-seconds", "--max-connection-age-seconds"])
def test_connections_that_idle_or_age_are_closed_on_grpcio(
    start: Callable[..., RunningServer], repository: Path, flag: str
) -> None:
    server = start("--repository", str(repository), flag, "0.5")
    with grpc.insecure_channel(server.grpc) as channel:
        states: list[Any] = []
        channel.subscribe(states.append)
        assert rpc(channel, "ServerLive", pb.ServerLiveRequest()).live
        wait_for(lambda: grpc.ChannelConnectivity.READY in states, "the connection to be told of")
        wait_for(lambda: states[-1] is grpc.ChannelConnectivity.IDLE, "the connection to be closed")
        assert rpc(channel, "ServerLive", pb.ServerLiveRequest()).live
    assert server.stop() == 0


@pytest.mark.usefixtures("grpcio_alone")
def test_a_client_that_pings_too_often_is_cut_off_on_grpcio(
    start: Callable[..., RunningServer], repository: Path
) -> None:
    for interval, kept in (("0.001", True), ("60", False)):
        server = start("--repository", str(repository), "--min-ping-seconds", interval)
        host, _, port = server.grpc.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(HTTP2_PREFACE + EMPTY_SETTINGS)
            assert answers_pings(client, 10) is kept
        assert server.stop() == 0


def answers_pings(client: socket.socket, count: int) -> bool:
    """Whether a server answers so many pings, each sent when the last was answered, before it ends the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        for number in range(count):
            client.sendall(PING + number.to_bytes(8, "big"))
            while PONG + number.to_bytes(8, "big") not in received:
                more = client.recv(4_096)
                if not more:
                    return False
                received += more
            threading.Event().wait(0.01)
        return True
    return False


@pytest.mark.usefixtures("grpcio_alone")
def test_a_connection_too_many_is_closed_on_grpcio(start: Callable[..., RunningServer], repository: Path) -> None:
    server = start("--repository", str(repository), "--max-connections", "2")

    def live(channel: grpc.Channel) -> bool:
        try:
            return bool(rpc(channel, "ServerLive", pb.ServerLiveRequest()).live)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            return False

    # Channels to one address share a connection unless they have different options.
    first, second, third = (grpc.insecure_channel(server.grpc, [("channel", number)]) for number in range(3))
    with third:
        with first, second:
            assert (live(first), live(second)) == (True, True)
            assert not live(third)
            assert live(first)
        wait_for(lambda: live(third), "the place of a connection that was closed")
    assert server.stop() == 0
