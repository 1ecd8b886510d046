"""The wire, against a real server: every rpc and every datatype."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from oip import SERVICE, error_of, infer_request, outputs_of, rpc
from running_server import RunningServer, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import DATATYPES, numpy_dtype

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    repository = tmp_path_factory.mktemp("repository")
    echo = write_fake(repository, "echo", {"labels": ["a", "b", "c", "d"]}, "max_batch_size = 8")
    (echo / "export.json").write_text('{"format": "fake", "accuracy": 0.975, "dataset": "digits"}')
    for datatype in DATATYPES:
        tensor = {"name": "x", "datatype": datatype, "shape": [3]}
        write_fake(repository, f"echo_{datatype.lower()}", {"inputs": [tensor]})
    pair = [{"name": name, "datatype": "INT32", "shape": [2]} for name in ("first", "second")]
    (write_fake(repository, "pair", {"inputs": pair}) / "export.json").write_text('{"accuracy": "unknown"}')
    write_fake(repository, "fixed", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2]}], "batches": False})
    write_fake(repository, "open", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}]})
    write_fake(repository, "raising", {"raise_on": 13})
    write_fake(repository, "broken", {"load_error": "made to fail"})
    return start("--repository", str(repository))


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc, options) as channel:
        yield channel


def test_server_rpcs(channel: grpc.Channel) -> None:
    assert rpc(channel, "ServerLive", pb.ServerLiveRequest()).live
    assert rpc(channel, "ServerReady", pb.ServerReadyRequest()).ready
    metadata = rpc(channel, "ServerMetadata", pb.ServerMetadataRequest())
    assert metadata.name == "quadriga"
    assert metadata.version
    assert set(metadata.extensions) == {
        "binary_tensor_data", "classification", "logging", "model_configuration", "parameters", "schedule_policy",
        "statistics",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [("echo", "", True), ("echo", "1", True), ("echo", "2", False), ("broken", "", False), ("nobody", "", False)],
)
def test_model_ready(channel: grpc.Channel, name: str, version: str, ready: bool) -> None:
    assert rpc(channel, "ModelReady", pb.ModelReadyRequest(name=name, version=version)).ready is ready


def test_model_metadata(channel: grpc.Channel) -> None:
    metadata = rpc(channel, "ModelMetadata", pb.ModelMetadataRequest(name="echo"))
    assert (metadata.name, list(metadata.versions), metadata.platform) == ("echo", ["1"], "quadriga_fake")
    (tensor,) = metadata.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", "FP32", [-1, 4])
    assert metadata.properties["labels"] == '["a", "b", "c", "d"]'
    assert metadata.properties["max_batch_size"] == "8"
    assert metadata.properties["backend"] == "fake"
    assert (metadata.properties["accuracy"], metadata.properties["dataset"]) == ("0.975", "digits")


def test_what_was_measured_is_told_where_it_can_be_read(server: RunningServer, channel: grpc.Channel) -> None:
    metadata = rpc(channel, "ModelMetadata", pb.ModelMetadataRequest(name="pair"))
    assert not {"accuracy", "dataset"} & metadata.properties.keys()
    wait_for(lambda: "pair/export.json is ignored" in server.log, "the warning in the log")


def test_model_config(channel: grpc.Channel) -> None:
    config = rpc(channel, "ModelConfig", pb.ModelConfigRequest(name="echo")).config
    assert (config.name, config.max_batch_size) == ("echo", 8)
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [("x", [4])]
    assert config.dynamic_batching.default_queue_policy.max_queue_size > 0
    assert config.version_policy.latest.num_versions == 1


def test_repository_index(channel: grpc.Channel) -> None:
    index = rpc(channel, "RepositoryIndex", pb.RepositoryIndexRequest())
    states = {model.name: (model.version, model.state, model.reason) for model in index.models}
    assert states["echo"] == ("1", "READY", "")
    version, state, reason = states["broken"]
    assert (version, state) == ("1", "UNAVAILABLE")
    assert "made to fail" in reason
    ready = rpc(channel, "RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
    assert {model.name for model in ready.models} == set(states) - {"broken"}
    code, _ = error_of(channel, "RepositoryIndex", pb.RepositoryIndexRequest(repository_name="other"))
    assert code == "UNIMPLEMENTED"


def test_statistics_count_exactly(channel: grpc.Channel) -> None:
    def read() -> pb.ModelStatistics:
        stats: pb.ModelStatistics = rpc(
            channel, "ModelStatistics", pb.ModelStatisticsRequest(name="fixed")
        ).model_stats[0]
        return stats

    before = read()
    for _ in range(5):
        rpc(channel, "ModelInfer", infer_request("fixed", x=np.ones((2, 2), np.float32)))
    error_of(channel, "ModelInfer", infer_request("fixed", x=np.ones((3, 2), np.float32)))
    after = read()
    assert after.inference_count - before.inference_count == 5
    assert after.execution_count - before.execution_count == 5
    stats = after.inference_stats
    assert stats.success.count == stats.queue.count == stats.compute_infer.count == stats.compute_input.count
    assert stats.success.ns >= stats.queue.ns + stats.compute_input.ns + stats.compute_infer.ns
    assert sum(batch.compute_infer.count for batch in after.batch_stats) == after.execution_count
    everything = rpc(channel, "ModelStatistics", pb.ModelStatisticsRequest()).model_stats
    assert {"fixed", "echo"} <= {model.name for model in everything}


def test_health(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert stub.Check(health_pb2.HealthCheckRequest(service="")).status == serving
    assert stub.Check(health_pb2.HealthCheckRequest(service="echo")).status == serving
    broken = stub.Check(health_pb2.HealthCheckRequest(service="broken")).status
    assert broken == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.RpcError) as error:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="echo"))
    assert next(watch).status == serving
    watch.cancel()


def test_reflection_describes_the_service(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
    file = database.FindFileContainingSymbol(SERVICE)
    methods = {method.name for service in file.service for method in service.method}
    assert {"ModelInfer", "ModelConfig", "RepositoryIndex"} <= methods
    assert database.FindFileContainingSymbol("grpc.health.v1.Health").package == "grpc.health.v1"


def values_of(datatype: str) -> np.ndarray[Any, Any]:
    if datatype == "BYTES":
        rows = np.empty((2, 3), dtype=object)
        rows[:] = [[b"", b"\x00\xff", b"three"], [b"four", "fünf".encode(), b"6" * 300]]
        return rows
    return np.array([[0, 1, 1], [1, 0, 1]]).astype(numpy_dtype(datatype))


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_raw(channel: grpc.Channel, datatype: str) -> None:
    array = values_of(datatype)
    response = rpc(channel, "ModelInfer", infer_request(f"echo_{datatype.lower()}", x=array))
    (output,) = response.outputs
    assert (output.datatype, list(output.shape)) == (datatype, [2, 3])
    assert not output.HasField("contents")
    np.testing.assert_array_equal(outputs_of(response)[output.name], array)


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False, True]),
        ("INT8", "int_contents", [-128, 0, 127]),
        ("INT16", "int_contents", [-1, 0, 300]),
        ("INT32", "int_contents", [-1, 0, 70000]),
        ("INT64", "int64_contents", [-1, 0, 2**40]),
        ("UINT8", "uint_contents", [0, 1, 255]),
        ("UINT16", "uint_contents", [0, 1, 65535]),
        ("UINT32", "uint_contents", [0, 1, 2**31]),
        ("UINT64", "uint64_contents", [0, 1, 2**63]),
        ("FP32", "fp32_contents", [0.5, -1.0, 3.0]),
        ("FP64", "fp64_contents", [0.5, -1.0, 3.0]),
        ("BYTES", "bytes_contents", [b"", b"a", b"bc"]),
    ],
)
def test_typed_contents(channel: grpc.Channel, datatype: str, field: str, values: list[Any]) -> None:
    request = pb.ModelInferRequest(model_name=f"echo_{datatype.lower()}")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[1, 3])
    getattr(tensor.contents, field).extend(values)
    response = rpc(channel, "ModelInfer", request)
    (array,) = outputs_of(response).values()
    assert array[0].tolist() == values


def test_id_version_and_outputs_are_echoed(channel: grpc.Channel) -> None:
    ones = np.ones((1, 2), np.int32)
    request = infer_request("pair", second=ones * 2, first=ones)  # not the model's order
    request.id = "request-7"
    request.outputs.add(name="second")
    response = rpc(channel, "ModelInfer", request)
    assert (response.model_name, response.model_version, response.id) == ("pair", "1", "request-7")
    assert [output.name for output in response.outputs] == ["second"]
    np.testing.assert_array_equal(outputs_of(response)["second"], ones * 2)


def test_open_dimensions_grow_the_slab(channel: grpc.Channel) -> None:
    for shape in ((1, 1, 1), (2, 300, 400), (1, 0, 5), (3, 700, 700)):
        array = np.random.default_rng(1).random(shape, np.float32)
        response = rpc(channel, "ModelInfer", infer_request("open", x=array))
        np.testing.assert_array_equal(outputs_of(response)["x"], array)


def test_timings_are_told_when_asked_for(channel: grpc.Channel) -> None:
    request = infer_request("echo", x=ROW)
    assert not rpc(channel, "ModelInfer", request).parameters
    request.parameters["quadriga_timings"].bool_param = True
    parameters = rpc(channel, "ModelInfer", request).parameters
    parts = {
        key: parameters[f"quadriga_{key}"].int64_param for key in ("queue_ns", "batch_ns", "compute_ns", "total_ns")
    }
    assert all(part > 0 for part in parts.values())
    assert parts["queue_ns"] + parts["batch_ns"] + parts["compute_ns"] <= parts["total_ns"]


def test_a_backend_that_raises_fails_its_request_alone(channel: grpc.Channel) -> None:
    code, message = error_of(channel, "ModelInfer", infer_request("raising", x=np.full((1, 4), 13, np.float32)))
    assert code == "INTERNAL"
    assert "raising" in message
    np.testing.assert_array_equal(outputs_of(rpc(channel, "ModelInfer", infer_request("raising", x=ROW)))["x"], ROW)
