"""Datatypes and optional inputs through real backends and a real server: text, half precision, initializers, masks."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from installed_backends import installed
from oip import error_of, infer_request, method, outputs_of, rpc
from running_server import RunningServer

from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import numpy_dtype

WRITER = Path(__file__).parents[1] / "server" / "backends" / "typed_models.py"
FORMATS = ("onnx", "torchscript", "tensorflow", "keras")
BACKENDS = [pytest.param(name, marks=installed(name)) for name in FORMATS]
SCALE = """\
max_batch_size = 0
[[input]]
name = "x"
data_type = "TYPE_FP32"
dims = [-1, 3]
[[input]]
name = "scale"
data_type = "TYPE_FP32"
dims = [1]
optional = true
"""
#: Sixteen requests that come together share a batch.
JOINED = """\
max_batch_size = 16
[dynamic_batching]
max_queue_delay_microseconds = 1000000
"""
NOT_OPTIONAL = """\
[[input]]
name = "x"
data_type = "TYPE_FP16"
dims = [3]
optional = true
"""


@pytest.fixture(scope="session")
def typed_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the models of every backend that is installed, written by a process of its own for each."""
    repository = tmp_path_factory.mktemp("typed")
    for backend in FORMATS:
        if not installed(backend).args[0]:
            subprocess.run([sys.executable, str(WRITER), backend, str(repository)], check=True, capture_output=True)
    if (repository / "onnx_scale").exists():
        (repository / "onnx_scale" / "model.toml").write_text(SCALE)
        (repository / "onnx_text" / "model.toml").write_text(JOINED)
        shutil.copytree(repository / "onnx_fp16", repository / "refused")
        (repository / "refused" / "model.toml").write_text(NOT_OPTIONAL)
    return repository


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], typed_models: Path) -> RunningServer:
    return start("--repository", str(typed_models))


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision(channel: grpc.Channel, backend: str, datatype: str) -> None:
    model = f"{backend}_{datatype.lower()}"
    metadata = rpc(channel, "ModelMetadata", pb.ModelMetadataRequest(name=model))
    assert [(tensor.datatype, list(tensor.shape)) for tensor in metadata.inputs] == [(datatype, [-1, 3])]
    arrays = [np.full((rows, 3), rows).astype(numpy_dtype(datatype)) for rows in (1, 2, 3, 1)]
    with ThreadPoolExecutor(len(arrays)) as pool:
        answers = list(pool.map(lambda array: rpc(channel, "ModelInfer", infer_request(model, x=array)), arrays))
    for array, response in zip(arrays, answers, strict=True):
        assert response.outputs[0].datatype == datatype
        (got,) = outputs_of(response).values()
        np.testing.assert_array_equal(got, array + array)


@installed("tensorflow")
def test_text_through_a_saved_model(channel: grpc.Channel) -> None:
    text = np.array([["", "two"], ["dreißig", "a\0b"]], dtype=object)
    got = outputs_of(rpc(channel, "ModelInfer", infer_request("tensorflow_text", text=text)))
    assert got["length"].tolist() == [[0, 3], [8, 3]]
    assert got["upper"].tolist() == [[b"", b"TWO"], ["DREIßIG".encode(), b"A\0B"]]
    request = pb.ModelInferRequest(model_name="tensorflow_text")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1, 2])
    tensor.contents.bytes_contents.extend([b"typed", b"\xff"])
    request.outputs.add(name="upper")
    response = rpc(channel, "ModelInfer", request)
    assert {name: array.tolist() for name, array in outputs_of(response).items()} == {"upper": [[b"TYPED", b"\xff"]]}


@installed("onnx")
def test_text_that_is_no_utf_8_fails_its_own_request_alone(server: RunningServer, channel: grpc.Channel) -> None:
    texts = [np.array([[f"row {number}".encode(), b"\xff" if number == 5 else b""]]) for number in range(16)]
    infer = method(channel, "ModelInfer")
    calls = [
        infer.future(infer_request("onnx_text", text=text.astype(object)).SerializeToString(), timeout=30)
        for text in texts
    ]
    for number, (text, call) in enumerate(zip(texts, calls, strict=True)):
        if number == 5:
            error = call.exception()
            assert isinstance(error, grpc.Call)
            assert (error.code(), "UTF-8" in str(error.details())) == (grpc.StatusCode.INTERNAL, True)
        else:
            assert outputs_of(pb.ModelInferResponse.FromString(call.result()))["same"].tolist() == text.tolist()
    assert "Traceback" not in server.log


@installed("onnx")
def test_an_initializer_may_be_overridden(channel: grpc.Channel) -> None:
    x = np.ones((2, 3), np.float32)
    for _ in range(2):
        left_out = outputs_of(rpc(channel, "ModelInfer", infer_request("onnx_scale", x=x)))
        np.testing.assert_array_equal(left_out["y"], x * 10)
        given = infer_request("onnx_scale", scale=np.array([4], np.float32), x=x)
        np.testing.assert_array_equal(outputs_of(rpc(channel, "ModelInfer", given))["y"], x * 4)
    config = rpc(channel, "ModelConfig", pb.ModelConfigRequest(name="onnx_scale")).config
    assert {tensor.name: tensor.optional for tensor in config.input} == {"x": False, "scale": True}


@installed("keras")
def test_a_mask_may_be_left_out(channel: grpc.Channel) -> None:
    x = np.zeros((2, 3), np.float32)
    mask = np.array([[True, False, True], [False, True, False]])
    for _ in range(2):
        left_out = outputs_of(rpc(channel, "ModelInfer", infer_request("keras_mask", x=x)))
        np.testing.assert_allclose(left_out["y"], np.full((2, 3), 1 / 3), rtol=1e-6)
        given = outputs_of(rpc(channel, "ModelInfer", infer_request("keras_mask", mask=mask, x=x)))
        np.testing.assert_allclose(given["y"], np.array([[0.5, 0, 0.5], [0, 1, 0]]), rtol=1e-6)
    code, message = error_of(channel, "ModelInfer", infer_request("keras_mask", mask=mask))
    assert (code, "missing 'x'" in message) == ("INVALID_ARGUMENT", True)


@installed("onnx")
def test_an_input_that_is_needed_cannot_be_declared_optional(channel: grpc.Channel) -> None:
    code, message = error_of(channel, "ModelInfer", infer_request("refused", x=np.zeros((1, 3), np.float16)))
    assert code == "NOT_FOUND"
    assert "input 'x' is declared optional" in message
