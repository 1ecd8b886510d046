"""Tensors in clients' shared memory, against a real server: tritonclient's own way of it, every error, and its end."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.utils.shared_memory as shm
from oip import error_of, infer_request, method, outputs_of, rpc
from own_backends import OWN_BACKENDS
from running_server import RunningServer, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

#: Of this test run alone: other runs may go on beside it.
KEY = f"/quadriga-test-{os.getpid()}"
SIZE = 4096
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
TEXTS = np.array([["", "two"], ["drei", "v\u0000er"]], dtype=object)


@pytest.fixture(scope="module")
def repository(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], repository: Path) -> RunningServer:
    write_fake(repository, "echo", config="max_batch_size = 8")
    write_fake(repository, "echo_bytes", {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [2]}]})
    pair = [{"name": name, "datatype": "INT32", "shape": [2]} for name in ("first", "second")]
    write_fake(repository, "pair", {"inputs": pair})
    write_fake(repository, "held", config='backend = "own_backends:Held"')
    return start("--repository", str(repository), "--allow-client-shm", env=OWN_BACKENDS)


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture
def client(server: RunningServer) -> "Iterator[tritonclient.grpc.InferenceServerClient]":
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        yield client
        client.unregister_system_shared_memory()


@pytest.fixture
def region(client: "tritonclient.grpc.InferenceServerClient") -> Iterator[Any]:
    """The handle of "region", which has `SIZE` bytes."""
    handle = shm.create_shared_memory_region("region", KEY, SIZE)
    client.register_system_shared_memory("region", KEY, SIZE)
    yield handle
    shm.destroy_shared_memory_region(handle)


def request_in(region: str = "region", size: int = 32, offset: int = 0, model: str = "echo") -> pb.ModelInferRequest:
    """Two rows from shared memory."""
    request = pb.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="x", datatype="FP32", shape=ROWS.shape)
    put(tensor.parameters, region, size, offset)
    return request


def put(parameters: Any, region: str = "region", size: int = 32, offset: int = 0) -> None:
    parameters["shared_memory_region"].string_param = region
    parameters["shared_memory_byte_size"].int64_param = size
    if offset:
        parameters["shared_memory_offset"].int64_param = offset


def to_region(size: int = 32, offset: int = 0) -> pb.ModelInferRequest:
    """Two rows in the message, whose output goes to shared memory."""
    request = infer_request("echo", x=ROWS)
    put(request.outputs.add(name="x").parameters, size=size, offset=offset)
    return request


def test_tritonclient_sends_and_receives_in_shared_memory(
    client: "tritonclient.grpc.InferenceServerClient", region: Any
) -> None:
    for factor in (1, 2, 3):
        shm.set_shared_memory_region(region, [ROWS * factor])
        tensor = tritonclient.grpc.InferInput("x", ROWS.shape, "FP32")
        tensor.set_shared_memory("region", ROWS.nbytes)
        output = tritonclient.grpc.InferRequestedOutput("x")
        output.set_shared_memory("region", 64, offset=64)
        result = client.infer("echo", [tensor], outputs=[output])
        described = result.get_output("x")
        assert described.shape == list(ROWS.shape)
        np.testing.assert_array_equal(shm.get_contents_as_numpy(region, np.float32, ROWS.shape, 64), ROWS * factor)


def test_texts_go_through_shared_memory(client: "tritonclient.grpc.InferenceServerClient", region: Any) -> None:
    encoded = tritonclient.utils.serialize_byte_tensor(TEXTS)
    shm.set_shared_memory_region(region, [encoded])
    tensor = tritonclient.grpc.InferInput("x", TEXTS.shape, "BYTES")
    tensor.set_shared_memory("region", len(encoded.item()))
    output = tritonclient.grpc.InferRequestedOutput("x")
    output.set_shared_memory("region", 1024, offset=2048)
    client.infer("echo_bytes", [tensor], outputs=[output])
    got = shm.get_contents_as_numpy(region, np.object_, TEXTS.shape, 2048)
    assert [[text.decode() for text in row] for row in got] == TEXTS.tolist()


def test_one_tensor_in_shared_memory_and_one_in_the_message(channel: grpc.Channel, region: Any) -> None:
    first, second = np.array([[1, 2]], np.int32), np.array([[3, 4]], np.int32)
    shm.set_shared_memory_region(region, [first])
    request = infer_request("pair", second=second)
    put(request.inputs.add(name="first", datatype="INT32", shape=[1, 2]).parameters, size=8)
    put(request.outputs.add(name="second").parameters, size=8, offset=8)
    request.outputs.add(name="first")
    response = rpc(channel, "ModelInfer", request)
    assert [output.name for output in response.outputs] == ["first", "second"]
    assert list(response.raw_output_contents) == [first.tobytes(), b""]
    told = response.outputs[1].parameters
    assert told["shared_memory_region"].string_param == "region"
    assert (told["shared_memory_byte_size"].int64_param, told["shared_memory_offset"].int64_param) == (8, 8)
    np.testing.assert_array_equal(shm.get_contents_as_numpy(region, np.int32, [1, 2], 8), second)


def test_the_extension_is_advertised(channel: grpc.Channel) -> None:
    extensions = rpc(channel, "ServerMetadata", pb.ServerMetadataRequest()).extensions
    assert "system_shared_memory" in extensions
    assert "cuda_shared_memory" not in extensions


def test_regions_are_listed_until_they_are_unregistered(
    client: "tritonclient.grpc.InferenceServerClient", region: Any, channel: grpc.Channel
) -> None:
    client.register_system_shared_memory("part", KEY, 16, offset=32)
    regions = client.get_system_shared_memory_status().regions
    assert set(regions) == {"region", "part"}
    part = regions["part"]
    assert (part.name, part.key, part.offset, part.byte_size) == ("part", KEY, 32, 16)
    assert set(client.get_system_shared_memory_status("part").regions) == {"part"}
    client.unregister_system_shared_memory("part")
    client.unregister_system_shared_memory("part")
    assert set(client.get_system_shared_memory_status().regions) == {"region"}
    code, _ = error_of(channel, "SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest(name="part"))
    assert code == "NOT_FOUND"
    client.unregister_system_shared_memory()
    assert not client.get_system_shared_memory_status().regions


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"name": "region"}, "ALREADY_EXISTS", ["'region'"]),
        ({"byte_size": SIZE + 1}, "INVALID_ARGUMENT", [str(SIZE + 1), str(SIZE)]),
        ({"offset": SIZE}, "INVALID_ARGUMENT", [str(SIZE)]),
        ({"offset": 2**64 - 8}, "INVALID_ARGUMENT", []),
        ({"byte_size": 0}, "INVALID_ARGUMENT", ["0 bytes"]),
        ({"key": "/triton_python_backend_shm_region_1"}, "INVALID_ARGUMENT", ["reserved"]),
        ({"key": ""}, "INVALID_ARGUMENT", ["key"]),
        ({"key": "/../etc/passwd"}, "INVALID_ARGUMENT", ["key"]),
        ({"key": "/none-of-this-name"}, "INTERNAL", ["none-of-this-name"]),
        ({"name": ""}, "INVALID_ARGUMENT", ["name"]),
    ],
)
def test_bad_registrations(
    channel: grpc.Channel, region: Any, fields: dict[str, Any], code: str, words: list[str]
) -> None:
    values: dict[str, Any] = {"name": "other", "key": KEY, "byte_size": 16}
    request = pb.SystemSharedMemoryRegisterRequest(**(values | fields))
    got, message = error_of(channel, "SystemSharedMemoryRegister", request)
    assert got == code, message
    assert all(word in message for word in words), message
    assert set(rpc(channel, "SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest()).regions) == {"region"}


def with_contents() -> pb.ModelInferRequest:
    request = request_in()
    request.inputs[0].contents.fp32_contents.extend(ROWS.ravel().tolist())
    return request


def with_a_raw_entry() -> pb.ModelInferRequest:
    request = request_in()
    request.raw_input_contents.append(ROWS.tobytes())
    return request


def without(parameter: str) -> pb.ModelInferRequest:
    request = request_in(offset=32)
    del request.inputs[0].parameters[parameter]
    return request


def classified() -> pb.ModelInferRequest:
    request = to_region()
    request.outputs[0].parameters["classification"].int64_param = 1
    return request


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda: request_in("nowhere"), "NOT_FOUND", ["'x'", "'nowhere'"]),
        (lambda: request_in(offset=SIZE), "INVALID_ARGUMENT", ["'x'", "offset", str(SIZE)]),
        (lambda: request_in(offset=SIZE - 31), "INVALID_ARGUMENT", ["'x'", "32", str(SIZE)]),
        (lambda: request_in(size=2**63 - 1, offset=1), "INVALID_ARGUMENT", ["'x'"]),
        (lambda: request_in(size=36), "INVALID_ARGUMENT", ["36", "32"]),
        (lambda: request_in(size=-1), "INVALID_ARGUMENT", ["-1"]),
        (with_contents, "INVALID_ARGUMENT", ["'x'", "contents"]),
        (with_a_raw_entry, "INVALID_ARGUMENT", ["'x'", "raw_input_contents"]),
        (lambda: without("shared_memory_region"), "INVALID_ARGUMENT", ["'x'", "shared_memory_region"]),
        (lambda: without("shared_memory_byte_size"), "INVALID_ARGUMENT", ["'x'", "shared_memory_byte_size"]),
        (lambda: to_region(size=31), "INTERNAL", ["'x'", "31", "32"]),
        (lambda: to_region(offset=SIZE), "INVALID_ARGUMENT", ["'x'", str(SIZE)]),
        (classified, "INVALID_ARGUMENT", ["'x'", "classified"]),
    ],
)
def test_bad_places(
    channel: grpc.Channel, region: Any, make: Callable[[], pb.ModelInferRequest], code: str, words: list[str]
) -> None:
    got, message = error_of(channel, "ModelInfer", make())
    assert got == code, message
    assert all(word in message for word in words), message
    assert not rpc(channel, "ModelInfer", to_region()).raw_output_contents[0]


def test_an_output_that_does_not_fit_counts_as_failed(
    server: RunningServer, channel: grpc.Channel, region: Any
) -> None:
    def failed() -> float:
        return server.metric("quadriga_requests_total", model="echo", outcome="failed", reason="region_unusable")

    before = failed()
    error_of(channel, "ModelInfer", to_region(size=31))
    assert failed() == before + 1


def test_a_broken_text_in_shared_memory_is_refused(channel: grpc.Channel, region: Any) -> None:
    shm.set_shared_memory_region(region, [np.full(8, 255, np.uint8)])
    request = pb.ModelInferRequest(model_name="echo_bytes")
    put(request.inputs.add(name="x", datatype="BYTES", shape=[1, 2]).parameters, size=8)
    code, message = error_of(channel, "ModelInfer", request)
    assert (code, "BYTES element 0" in message) == ("INVALID_ARGUMENT", True)


def test_the_server_survives_a_file_that_is_shortened(
    server: RunningServer, channel: grpc.Channel, region: Any
) -> None:
    shm.set_shared_memory_region(region, [ROWS])
    assert rpc(channel, "ModelInfer", request_in()).raw_output_contents[0] == ROWS.tobytes()
    os.truncate(Path("/dev/shm") / KEY[1:], 16)
    code, message = error_of(channel, "ModelInfer", request_in())
    assert (code, "16 bytes now" in message) == ("INVALID_ARGUMENT", True)
    code, message = error_of(channel, "ModelInfer", to_region())
    assert (code, "16 bytes now" in message) == ("INTERNAL", True)
    np.testing.assert_array_equal(outputs_of(rpc(channel, "ModelInfer", infer_request("echo", x=ROWS)))["x"], ROWS)
    os.truncate(Path("/dev/shm") / KEY[1:], SIZE)


def test_a_region_in_use_goes_with_its_last_request(
    server: RunningServer,
    repository: Path,
    client: "tritonclient.grpc.InferenceServerClient",
    channel: grpc.Channel,
    region: Any,
) -> None:
    def listed() -> set[str]:
        return set(client.get_system_shared_memory_status().regions)

    def in_flight() -> float:
        return server.metric("quadriga_batches_in_flight", model="held")

    request = infer_request("held", x=ROWS)
    put(request.outputs.add(name="x").parameters)
    call = method(channel, "ModelInfer").future(request.SerializeToString(), timeout=30)
    wait_for(in_flight, "the request to run")
    client.unregister_system_shared_memory("region")
    assert listed() == {"region"}
    code, _ = error_of(channel, "ModelInfer", request_in())
    assert code == "NOT_FOUND"
    code, _ = error_of(
        channel, "SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name="region", key=KEY, byte_size=8)
    )
    assert code == "ALREADY_EXISTS"
    (repository / "held" / "1" / "go").touch()
    call.result()
    wait_for(lambda: not listed(), "the region to go")
    np.testing.assert_array_equal(shm.get_contents_as_numpy(region, np.float32, ROWS.shape), ROWS)


def test_cuda_shared_memory_cannot_be_registered_and_is_cleared_without_complaint(channel: grpc.Channel) -> None:
    request = pb.CudaSharedMemoryRegisterRequest(name="region", raw_handle=bytes(64), byte_size=8)
    code, message = error_of(channel, "CudaSharedMemoryRegister", request)
    assert (code, "CUDA" in message) == ("UNIMPLEMENTED", True)
    rpc(channel, "CudaSharedMemoryUnregister", pb.CudaSharedMemoryUnregisterRequest())
    assert not rpc(channel, "CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest()).regions


def test_without_the_flag_it_is_off(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "echo")
    server = start("--repository", str(tmp_path))
    with grpc.insecure_channel(server.grpc) as channel:
        assert "system_shared_memory" not in rpc(channel, "ServerMetadata", pb.ServerMetadataRequest()).extensions
        assert not rpc(channel, "SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest(name="x")).regions
        for name, request in (
            ("SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name="x", key=KEY, byte_size=1)),
            ("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest()),
            ("ModelInfer", request_in()),
            ("ModelInfer", to_region()),
        ):
            code, message = error_of(channel, name, request)
            assert (code, "--allow-client-shm" in message) == ("UNIMPLEMENTED", True), message
