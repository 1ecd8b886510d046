"""Compressed requests: what both transports take, and the one difference between them."""

from collections.abc import Callable

import grpc
import numpy as np
import pytest
from oip import infer_request, method, outputs_of
from running_server import RunningServer, write_fake

from quadriga_proto.inference_pb2 import ModelInferResponse

ROW = np.zeros((1, 4), np.float32)


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "echo")
    return start("--repository", str(repository))


def test_gzip_is_taken(server: RunningServer) -> None:
    with grpc.insecure_channel(server.grpc, compression=grpc.Compression.Gzip) as channel:
        response = method(channel, "ModelInfer")(infer_request("echo", x=ROW).SerializeToString(), timeout=10)
    np.testing.assert_array_equal(outputs_of(ModelInferResponse.FromString(response))["x"], ROW)


def test_deflate_is_grpcios_alone(server: RunningServer, transport: str) -> None:
    with grpc.insecure_channel(server.grpc, compression=grpc.Compression.Deflate) as channel:
        call = method(channel, "ModelInfer").future(infer_request("echo", x=ROW).SerializeToString(), timeout=10)
        code = call.code()
    assert code is (grpc.StatusCode.UNIMPLEMENTED if transport == "native" else grpc.StatusCode.OK)
