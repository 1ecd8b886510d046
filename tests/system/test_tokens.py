"""Tokens and open groups against a real server: unary rpcs, streams, health and reflection, on either transport."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from oip import SERVICE, error_of, infer_request, rpc
from running_server import RunningServer, run_cli, wait_for

from quadriga_client import Client, RetryPolicy, errors
from quadriga_proto import inference_pb2 as pb

ROW = np.zeros((1, 4), np.float32)
TOKEN = [("authorization", "Bearer first-token")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("first-token\n")
    return path


@pytest.fixture
def open_server(start: Callable[..., RunningServer], repository: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers with flags, and stops them."""
    running: list[RunningServer] = []

    def run(*arguments: str) -> RunningServer:
        running.append(start("--repository", str(repository), *arguments))
        return running[-1]

    yield run
    for server in running:
        assert server.stop() == 0


def infer(channel: grpc.Channel, metadata: Any = ()) -> str:
    """The code of a ModelInfer."""
    try:
        rpc(channel, "ModelInfer", infer_request("echo", x=ROW), metadata=metadata)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def stream(channel: grpc.Channel, metadata: Any = ()) -> str:
    """The code of a ModelStreamInfer."""
    method = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", bytes, pb.ModelStreamInferResponse.FromString)
    call = method(iter([infer_request("echo", x=ROW).SerializeToString()]), metadata=metadata, timeout=30)
    try:
        assert [response.error_message for response in call] == [""]
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def check_health(channel: grpc.Channel, metadata: Any = ()) -> str:
    """The code of a health check and of a watch, which agree."""
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest()
    checks: tuple[Callable[[], Any], ...] = (
        lambda: stub.Check(request, metadata=metadata),
        lambda: next(stub.Watch(request, metadata=metadata)),
    )
    codes = []
    for check in checks:
        try:
            check()
            codes.append("OK")
        except grpc.RpcError as error:
            codes.append(error.code().name)
    assert codes[0] == codes[1]
    return str(codes[0])


def reflect(channel: grpc.Channel, metadata: Any = ()) -> str:
    """The code of reflection's list of services."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    try:
        list(stub.ServerReflectionInfo(iter([request]), metadata=metadata, timeout=30))
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_with_tokens_health_alone_is_open(open_server: Callable[..., RunningServer], file: Path) -> None:
    server = open_server("--token-file", str(file))
    with grpc.insecure_channel(server.grpc) as channel:
        assert rpc(channel, "ServerReady", pb.ServerReadyRequest()).ready
        assert check_health(channel) == "OK"
        for call in (infer, stream, reflect):
            assert call(channel) == "UNAUTHENTICATED", call
            assert call(channel, [("authorization", "Bearer other")]) == "UNAUTHENTICATED", call
            assert call(channel, TOKEN) == "OK", call
        code, message = error_of(channel, "ServerMetadata", pb.ServerMetadataRequest())
        assert (code, "authorization: Bearer TOKEN" in message) == ("UNAUTHENTICATED", True)
        assert rpc(channel, "ServerMetadata", pb.ServerMetadataRequest(), metadata=TOKEN).name == "quadriga"
    refused = server.metric("quadriga_requests_total", outcome="refused", code="UNAUTHENTICATED")
    assert refused == 7
    assert "first-token" not in server.log


def test_without_tokens_what_is_not_open_is_closed(open_server: Callable[..., RunningServer]) -> None:
    server = open_server("--open", "inference", "--open", "metadata")
    with grpc.insecure_channel(server.grpc) as channel:
        assert (infer(channel), stream(channel), reflect(channel)) == ("OK", "OK", "OK")
        assert check_health(channel) == "PERMISSION_DENIED"
        code, message = error_of(channel, "LogSettings", pb.LogSettingsRequest(), metadata=TOKEN)
        assert (code, "--open model-control or --token-file" in message) == ("PERMISSION_DENIED", True)
    refused = server.metric("quadriga_requests_total", outcome="refused", code="PERMISSION_DENIED", reason="closed")
    assert refused == 3


def test_everything_is_open_by_default(open_server: Callable[..., RunningServer]) -> None:
    server = open_server()
    with grpc.insecure_channel(server.grpc) as channel:
        assert {call(channel) for call in (infer, stream, reflect, check_health)} == {"OK"}
        assert rpc(channel, "LogSettings", pb.LogSettingsRequest()).settings["log_info"].bool_param


def test_an_rpc_that_is_not_served_is_so_for_everybody(open_server: Callable[..., RunningServer], file: Path) -> None:
    server = open_server("--token-file", str(file))
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/other.Service/Method", bytes, bytes)(b"", timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_caller_without_a_token_is_refused_before_its_message_is_read(
    open_server: Callable[..., RunningServer], transport: str, file: Path
) -> None:
    if transport == "native":
        pytest.skip("the native transport reads a message before it is asked")
    server = open_server("--token-file", str(file), "--max-message-bytes", "10000")
    with grpc.insecure_channel(server.grpc) as channel:
        large = bytes(100_000)
        assert error_of(channel, "ModelInfer", large)[0] == "UNAUTHENTICATED"
        assert error_of(channel, "ModelInfer", large, metadata=TOKEN)[0] == "RESOURCE_EXHAUSTED"


def test_the_file_is_followed(open_server: Callable[..., RunningServer], file: Path) -> None:
    server = open_server("--token-file", str(file))
    with grpc.insecure_channel(server.grpc) as channel:
        replace(file, "two words\n")
        wait_for(lambda: infer(channel, TOKEN) == "OK" and "stay valid" in server.log, "the bad file to be noticed")
        replace(file, "second-token\n")
        second = [("authorization", "Bearer second-token")]
        wait_for(lambda: infer(channel, second) == "OK", "the new token to be valid")
        assert infer(channel, TOKEN) == "UNAUTHENTICATED"


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_our_client_and_commands_send_their_token(open_server: Callable[..., RunningServer], file: Path) -> None:
    server = open_server("--token-file", str(file))
    with Client(server.grpc, token="first-token") as client:
        assert client.infer("echo", ROW)["x"].shape == (1, 4)
    with Client(server.grpc, retry=RetryPolicy(attempts=1)) as client, pytest.raises(errors.RpcFailed) as caught:
        client.status()
    assert "needs a token" in str(caught.value)
    allowed = run_cli("status", "--url", server.grpc, "--token-file", str(file))
    assert (allowed.returncode, "echo" in allowed.stdout) == (0, True), allowed.stderr
    refused = run_cli("status", "--url", server.grpc)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "needs a token" in refused.stderr


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read"), ("", "holds no token"), ("a b", "line 1")])
def test_a_bad_file_is_one_line_at_the_start(
    repository: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content)
    result = run_cli("serve", "--repository", str(repository), "--token-file", str(file))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert message in result.stderr
