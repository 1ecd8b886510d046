"""The ClusterServingRuntime's container as KServe starts it: a flat folder of files, under the name of a service."""

import re
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from manifests import one
from oip import error_of, infer_request, outputs_of, rpc
from running_server import RunningServer

from quadriga_proto import inference_pb2 as pb

SERVICE = "digits-onnx"


@pytest.fixture(scope="module")
def transport() -> str:
    """One is enough: what is tested is where models are found."""
    return "native"


def test_a_flat_folder_is_served_under_the_services_name(
    start: Callable[..., RunningServer], demo_repository: Path, tmp_path: Path
) -> None:
    (container,) = one("kubernetes/kserve", "ClusterServingRuntime")["spec"]["containers"]
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "whatever.onnx").write_bytes((demo_repository / "same_onnx" / "1" / "model.onnx").read_bytes())
    command, *arguments = [
        argument.replace("{{.Name}}", SERVICE).replace("/mnt/models", str(folder))
        for argument in container["args"]
        if not re.match(r"--(host|grpc-port|http-port)=", argument)  # free ones of the loopback
    ]
    assert command == "serve"
    env = {"QUADRIGA_REPOSITORY": "/models", **{each["name"]: each["value"] for each in container["env"]}}
    server = start(*arguments, "--templates", "off", env=env)
    probe = container["readinessProbe"]["grpc"]["service"].replace("{{.Name}}", SERVICE)
    with grpc.insecure_channel(server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        status = health.Check(health_pb2.HealthCheckRequest(service=probe)).status
        assert status == health_pb2.HealthCheckResponse.SERVING
        images = np.zeros((2, 32, 32, 3), np.float32)
        answer = rpc(channel, "ModelInfer", infer_request(SERVICE, image=images))
        assert (answer.model_name, answer.model_version) == (SERVICE, "1")
        assert outputs_of(answer)["scores"].shape[0] == 2
        assert error_of(channel, "ModelMetadata", pb.ModelMetadataRequest(name="whatever"))[0] == "NOT_FOUND"
