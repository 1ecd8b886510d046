"""Every way to get a request wrong, against a real server: the code, the message, and that nothing else suffers.

The protocol's rows, and where each is tested; names of tests without a file are in this one:

    version that is no number, or below 0                   test_bad_requests
    unknown model or version; none ready; not ready         test_bad_requests
    duplicate input or output                               test_bad_sets
    missing, surplus and unknown inputs; unknown output     test_bad_sets, test_bad_requests
    missing inputs where some are optional                  test_request_features.py
    datatype, shape, -1, no dimensions, rows, overflow      test_bad_requests
    inputs that disagree on rows                            test_bad_sets
    byte count                                              test_bad_requests
    BYTES: too few, too many, cut off                       test_broken_bytes_elements
    no data; contents beside raw_input_contents             test_bad_requests, test_bad_sets
    contents of another datatype, two of them, too many     test_bad_contents
    parameters of a wrong type, reserved keys               test_bad_parameters
    classification: type, count, datatype, too large        test_request_features.py
    shared memory: every row of its table                   test_client_memory.py
    response beyond what gRPC carries                       tests/server/test_scheduler_requests.py
    queue full, waiting too long                            test_faults.py
    cancelled                                               test_giving_up.py, tests/server/test_scheduler.py
    server draining                                         test_lifecycle.py
"""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from oip import error_of, infer_request, method, outputs_of, rpc
from running_server import RunningServer, write_fake

from quadriga_proto import inference_pb2 as pb

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "echo", config="max_batch_size = 8")
    write_fake(repository, "echo_bytes", {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [3]}]})
    kinds = {"a": "FP32", "b": "INT8"}
    write_fake(repository, "pair", {"inputs": [{"name": n, "datatype": t, "shape": [2]} for n, t in kinds.items()]})
    write_fake(repository, "echo_half", {"inputs": [{"name": "x", "datatype": "FP16", "shape": [2]}]})
    write_fake(repository, "broken", {"load_error": "made to fail"})
    return start("--repository", str(repository))


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


def change(**fields: Any) -> Callable[[pb.ModelInferRequest], None]:
    def apply(request: pb.ModelInferRequest) -> None:
        for name, value in fields.items():
            if name == "shape":
                request.inputs[0].ClearField("shape")
                request.inputs[0].shape.extend(value)
            elif name in ("name", "datatype"):
                setattr(request.inputs[0], name, value)
            elif name == "raw":
                request.ClearField("raw_input_contents")
                request.raw_input_contents.extend(value)
            elif name == "typed":
                request.inputs[0].contents.fp32_contents.extend(value)
            elif name == "output":
                request.outputs.add(name=value)
            else:
                setattr(request, name, value)

    return apply


BAD_REQUESTS = [
    (change(model_name="nobody"), "NOT_FOUND", ["nobody", "echo"]),
    (change(model_name=""), "NOT_FOUND", []),
    (change(model_version="9"), "NOT_FOUND", ["echo", "9", "1"]),
    (change(model_version="latest"), "INVALID_ARGUMENT", ["latest"]),
    (change(model_version="-1"), "INVALID_ARGUMENT", ["-1"]),
    (change(model_version="7" * 5000), "INVALID_ARGUMENT", ["777"]),
    (change(model_name="nobody", model_version="latest"), "INVALID_ARGUMENT", ["latest"]),
    (change(model_name="long" * 5000), "NOT_FOUND", ["longlong", "echo"]),
    (change(model_name="broken"), "NOT_FOUND", ["broken", "made to fail"]),
    (change(model_name="broken", model_version="1"), "UNAVAILABLE", ["broken", "made to fail"]),
    (change(name="image"), "INVALID_ARGUMENT", ["echo", "image", "x"]),
    (change(output="scores"), "INVALID_ARGUMENT", ["echo", "scores"]),
    (change(datatype="FP64"), "INVALID_ARGUMENT", ["echo", "x", "FP64", "FP32"]),
    (change(datatype="FLOAT"), "INVALID_ARGUMENT", ["FLOAT"]),
    (change(shape=[1, 5]), "INVALID_ARGUMENT", ["echo", "x", "5", "4"]),
    (change(shape=[4]), "INVALID_ARGUMENT", ["echo", "x", "4"]),
    (change(shape=[]), "INVALID_ARGUMENT", ["echo", "x"]),
    (change(shape=[-1, 4]), "INVALID_ARGUMENT", ["x", "-1"]),
    (change(shape=[-1, -4]), "INVALID_ARGUMENT", ["x", "-4"]),
    (change(shape=[1, -(2**63)]), "INVALID_ARGUMENT", ["x", str(2**63)]),
    (change(shape=[0, 4], raw=[b""]), "INVALID_ARGUMENT", ["0"]),
    (change(shape=[9, 4], raw=[bytes(9 * 16)]), "INVALID_ARGUMENT", ["9", "8"]),
    (change(shape=[2**62, 4]), "INVALID_ARGUMENT", []),
    (change(shape=[2**62, 2**62, 2**62]), "INVALID_ARGUMENT", []),
    (change(raw=[bytes(15)]), "INVALID_ARGUMENT", ["x", "16", "15"]),
    (change(raw=[]), "INVALID_ARGUMENT", ["x"]),
    (change(raw=[bytes(16), bytes(16)]), "INVALID_ARGUMENT", ["2", "1"]),
    (change(typed=[1, 2, 3, 4]), "INVALID_ARGUMENT", ["x"]),
]


@pytest.mark.parametrize(("make_bad", "code", "words"), BAD_REQUESTS)
def test_bad_requests(
    channel: grpc.Channel, make_bad: Callable[[pb.ModelInferRequest], None], code: str, words: list[str]
) -> None:
    request = infer_request("echo", x=ROW)
    make_bad(request)
    got, message = error_of(channel, "ModelInfer", request)
    assert got == code, message
    assert all(word in message for word in words), message
    np.testing.assert_array_equal(outputs_of(rpc(channel, "ModelInfer", infer_request("echo", x=ROW)))["x"], ROW)


def pair(**rows: int) -> pb.ModelInferRequest:
    """A request to "pair" with raw zeros, in that order."""
    request = pb.ModelInferRequest(model_name="pair")
    for name, count in rows.items():
        add_input(request, name.rstrip("_"), count)
    return request


def add_input(request: pb.ModelInferRequest, name: str, rows: int = 1) -> None:
    datatype, size = ("INT8", 1) if name == "b" else ("FP32", 4)
    request.inputs.add(name=name, datatype=datatype, shape=[rows, 2])
    request.raw_input_contents.append(bytes(rows * 2 * size))


def wanting(*names: str) -> pb.ModelInferRequest:
    request = pair(a=1, b=1)
    for name in names:
        request.outputs.add(name=name)
    return request


def one_typed() -> pb.ModelInferRequest:
    """An input in contents, and the other without data."""
    request = pair(a=1, b=1)
    request.ClearField("raw_input_contents")
    request.inputs[0].contents.fp32_contents.extend([1, 2])
    return request


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pair(a=1), ["missing 'b'", "got 1"]),
        (pair(), ["missing 'a', 'b'", "got 0"]),
        (pair(a=1, b=1, c=1), ["unknown input 'c'"]),
        (pair(a=1, c=1), ["unknown input 'c'"]),
        (pair(a=1, a_=1), ["'a' came 2 times"]),
        (pair(a=1, b=1, b_=1), ["'b' came 2 times"]),
        (pair(a=2, b=3), ["'b'", "3 rows", "2"]),
        (wanting("a", "a"), ["output 'a'", "twice"]),
        (wanting("a", "c"), ["no output 'c'"]),
        (one_typed(), ["'b'", "no data"]),
    ],
)
def test_bad_sets(channel: grpc.Channel, request_: pb.ModelInferRequest, words: list[str]) -> None:
    code, message = error_of(channel, "ModelInfer", request_)
    assert code == "INVALID_ARGUMENT", message
    assert "'pair'" in message
    assert all(word in message for word in words), message
    assert len(rpc(channel, "ModelInfer", pair(b=2, a=2)).outputs) == 2


@pytest.mark.parametrize(
    ("model", "datatype", "contents", "words"),
    [
        ("echo", "FP32", {"int_contents": [1, 2, 3, 4]}, ["fp32_contents", "int_contents"]),
        ("echo", "FP32", {"fp32_contents": [1, 2, 3, 4], "fp64_contents": [1]}, ["fp32_contents", "fp64_contents"]),
        ("echo", "FP32", {"fp32_contents": [1, 2, 3]}, ["4", "3"]),
        ("echo", "FP32", {"fp32_contents": [1, 2, 3, 4, 5]}, ["4", "5"]),
        ("echo", "FP32", {}, ["4", "0"]),
        ("echo_bytes", "BYTES", {"bytes_contents": [b"a", b"b"]}, ["3", "2"]),
        ("echo_half", "FP16", {"fp32_contents": [1, 2]}, ["FP16", "raw_input_contents"]),
    ],
)
def test_bad_contents(
    channel: grpc.Channel, model: str, datatype: str, contents: dict[str, Any], words: list[str]
) -> None:
    request = pb.ModelInferRequest(model_name=model)
    columns = {"echo": 4, "echo_bytes": 3, "echo_half": 2}[model]
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[1, columns])
    tensor.contents.SetInParent()
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    code, message = error_of(channel, "ModelInfer", request)
    assert code == "INVALID_ARGUMENT"
    assert all(word in message for word in words), message


def test_empty_contents_beside_raw_data(channel: grpc.Channel) -> None:
    request = infer_request("echo", x=ROW)
    request.inputs[0].contents.SetInParent()
    code, message = error_of(channel, "ModelInfer", request)
    assert (code, "contents" in message) == ("INVALID_ARGUMENT", True)


@pytest.mark.parametrize("raw", [b"\x05\x00\x00\x00abc", b"\x01\x00", b"", b"\x01\x00\x00\x00a" * 4])
def test_broken_bytes_elements(channel: grpc.Channel, raw: bytes) -> None:
    request = pb.ModelInferRequest(model_name="echo_bytes", raw_input_contents=[raw])
    request.inputs.add(name="x", datatype="BYTES", shape=[1, 3])
    code, message = error_of(channel, "ModelInfer", request)
    assert code == "INVALID_ARGUMENT"
    assert "element" in message


def test_bytes_that_are_no_message(channel: grpc.Channel) -> None:
    code, message = error_of(channel, "ModelInfer", b"\xff\xff\xff")
    assert (code, "ModelInferRequest" in message) == ("INVALID_ARGUMENT", True)
    code, message = error_of(channel, "ModelMetadata", b"\xff\xff\xff")
    assert (code, "ModelMetadataRequest" in message) == ("INVALID_ARGUMENT", True)


@pytest.mark.parametrize(
    ("key", "field", "value", "code"),
    [
        ("timeout", "string_param", "soon", "INVALID_ARGUMENT"),
        ("timeout", "int64_param", -1, "INVALID_ARGUMENT"),
        ("triton_secret", "bool_param", True, "INVALID_ARGUMENT"),
        ("triton_" + "long" * 5000, "bool_param", True, "INVALID_ARGUMENT"),
        ("priority", "string_param", "high", "INVALID_ARGUMENT"),
        ("priority", "int64_param", -1, "INVALID_ARGUMENT"),
        ("sequence_id", "int64_param", 5, "UNIMPLEMENTED"),
        ("sequence_id", "bool_param", True, "INVALID_ARGUMENT"),
        ("sequence_start", "bool_param", True, "UNIMPLEMENTED"),
        ("sequence_start", "int64_param", 1, "INVALID_ARGUMENT"),
        ("sequence_end", "string_param", "yes", "INVALID_ARGUMENT"),
        ("timeout", "double_param", 1.5, "INVALID_ARGUMENT"),
        ("priority", "bool_param", True, "INVALID_ARGUMENT"),
    ],
)
def test_bad_parameters(channel: grpc.Channel, key: str, field: str, value: Any, code: str) -> None:
    request = infer_request("echo", x=ROW)
    setattr(request.parameters[key], field, value)
    got, message = error_of(channel, "ModelInfer", request)
    assert got == code
    assert key[:30] in message


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("timeout", "uint64_param", 10_000_000),
        ("priority", "uint64_param", 2),
        ("sequence_id", "int64_param", 0),
        ("sequence_end", "bool_param", False),
        ("triton_enable_empty_final_response", "bool_param", True),
        ("somebody_elses", "double_param", 0.5),
    ],
)
def test_parameters_that_change_nothing(channel: grpc.Channel, key: str, field: str, value: Any) -> None:
    request = infer_request("echo", x=ROW)
    setattr(request.parameters[key], field, value)
    np.testing.assert_array_equal(outputs_of(rpc(channel, "ModelInfer", request))["x"], ROW)


def test_a_version_is_a_number(channel: grpc.Channel) -> None:
    request = infer_request("echo", x=ROW)
    request.model_version = "01"
    assert rpc(channel, "ModelInfer", request).model_version == "1"


@pytest.mark.parametrize(
    ("name", "version", "named"),
    [("nobody", "", "'nobody'"), ("nobody", "1", "'nobody'"), ("echo", "9", "version 9"), ("echo", "x", "'x'")],
)
def test_statistics_of_what_is_not_there(channel: grpc.Channel, name: str, version: str, named: str) -> None:
    code, message = error_of(channel, "ModelStatistics", pb.ModelStatisticsRequest(name=name, version=version))
    assert code == "INVALID_ARGUMENT"
    assert named in message


def test_refusals_count_at_the_model_that_they_mean(server: RunningServer, channel: grpc.Channel) -> None:
    name = "quadriga_requests_total"
    before = server.metric(name, model="broken", outcome="refused", reason="not_ready")
    nameless = server.metric(name, model="", outcome="refused")
    request = infer_request("broken", x=ROW)
    request.model_version = "1"
    error_of(channel, "ModelInfer", request)
    error_of(channel, "ModelInfer", infer_request("nobody", x=ROW))
    assert server.metric(name, model="broken", outcome="refused", reason="not_ready") == before + 1
    assert server.metric(name, model="", outcome="refused") == nameless + 1


def test_an_unknown_rpc_is_unimplemented(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as error:
        method(channel, "NoSuchRpc")(b"", timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_refusals_are_counted_by_reason(server: RunningServer, channel: grpc.Channel) -> None:
    def counted() -> tuple[float, float]:
        name = "quadriga_requests_total"
        invalid = server.metric(name, model="echo", outcome="refused", code="INVALID_ARGUMENT", reason="invalid_input")
        unknown = server.metric(name, model="", outcome="refused", code="NOT_FOUND", reason="not_found")
        return invalid, unknown

    before = counted()
    error_of(channel, "ModelInfer", infer_request("echo", x=ROW.astype(np.float64)))
    error_of(channel, "ModelInfer", infer_request("nobody", x=ROW))
    assert counted() == (before[0] + 1, before[1] + 1)
