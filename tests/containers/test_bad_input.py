"""What an operator gets wrong: a clear line in the container's log, and an exit status, or `unhealthy`."""

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from docker_engine import Engine
from running_container import Container, running
from running_server import wait_for

from quadriga_client import Client, RetryPolicy
from quadriga_client.errors import QuadrigaClientError

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

#: Exit statuses: what was asked for cannot be; the command's options are no such options.
FAILED, USAGE = 1, 2
#: And SIGKILL.
KILLED = 137
#: Of /dev/shm, and in a request.
SHM_BYTES, ROWS = 65_536, 16
#: Writes a model that takes four bytes for each of the ones that it is told to add up.
HUNGRY = """
import sys, onnx
graph = "ones = ConstantOfShape <value = float[1] {1.0}> (count)  sum = ReduceSum <keepdims = 1> (ones)"
header = '<ir_version: 8, opset_import: ["": 17]>'
onnx.save(onnx.parser.parse_model(header + "hungry (int64[1] count) => (float[1] sum) { " + graph + " }"), sys.argv[1])
"""
Start = Callable[..., Container]


@pytest.fixture
def start(engine: Engine, built: Callable[[str], str], network: tuple[str, ...]) -> Iterator[Start]:
    """Starts containers of the image for ONNX, which go with the test."""
    with contextlib.ExitStack() as stack:

        def start(*options: str, command: tuple[str, ...] = (), join: tuple[str, ...] = network) -> Container:
            return stack.enter_context(running(engine, built("onnx"), *join, *options, command=command))

        yield start


@pytest.fixture
def models(tmp_path: Path, demo_repository: Path) -> Path:
    """A repository with one model, which anybody can read."""
    for folder in itertools.takewhile(lambda folder: folder != Path("/tmp"), [tmp_path, *tmp_path.parents]):
        if folder.owner() == tmp_path.owner():
            folder.chmod(folder.stat().st_mode | 0o711)
    repository = tmp_path / "models"
    shutil.copytree(demo_repository / "same_onnx", repository / "same_onnx")
    return repository


def volume(models: Path) -> str:
    return f"--volume={models}:/models:ro"


def test_without_a_volume(start: Start) -> None:
    container = start()
    assert container.wait_for_end() == FAILED
    assert "Error: model repository /models does not exist" in container.log()


def test_an_empty_volume(start: Start, models: Path) -> None:
    shutil.rmtree(models / "same_onnx")
    container = start(volume(models))
    container.wait_for_health("unhealthy")  # which it may be before it is up
    wait_for(lambda: "/models has no models: nothing is served" in container.log(), "the line in the log")
    assert container.stop() == 0


def test_a_volume_that_fills_heals(start: Start, models: Path) -> None:
    (models / "same_onnx").rename(models.parent / "elsewhere")
    container = start(volume(models), command=("serve", "--model-control", "poll", "--poll-seconds", "0.5"))
    container.wait_for_health("unhealthy")
    (models.parent / "elsewhere").rename(models / "same_onnx")
    container.wait_for_health("healthy")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that the container's user may not read")
def test_a_volume_that_cannot_be_read(start: Start, models: Path) -> None:
    models.chmod(0o700)
    container = start(volume(models))
    assert container.wait_for_end() == FAILED
    assert "Error: model repository /models cannot be read: Permission denied" in container.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that the container's user may not read")
@pytest.mark.parametrize("path", ["same_onnx", "same_onnx/1", "same_onnx/1/model.onnx"])
def test_a_model_that_cannot_be_read(start: Start, models: Path, path: str) -> None:
    (models / path).chmod(0)
    container = start(volume(models))
    container.wait_for_health("unhealthy")  # which it may be before it is up
    wait_for(lambda: re.search("same_onnx.*Permission denied", container.log()), "the line in the log")
    wait_for(lambda: "has no model that can answer" in container.last_probe(), "a probe that says so")


def test_little_shared_memory_does_no_harm(start: Start, models: Path) -> None:
    """Tensors lie in memory without a name, which /dev/shm does not bound: here more of them than that holds."""
    container = start(volume(models), "--shm-size", str(SHM_BYTES))
    container.wait_for_health("healthy")
    with Client(container.address(8001), timeout=60) as client:
        images = np.zeros((ROWS, 32, 32, 3), np.float32)
        assert images.nbytes > SHM_BYTES
        assert client.infer("same_onnx", images).outputs["scores"].shape == (ROWS, 10)


def test_memory_that_is_too_little_for_the_server(start: Start, models: Path) -> None:
    container = start(volume(models), "--memory", "32m", "--memory-swap", "32m")
    assert container.wait_for_end() == KILLED
    wait_for(lambda: container.inspect()["State"]["OOMKilled"], "the engine to hear why")


def test_memory_that_is_too_little_for_a_request_costs_a_worker(start: Start, models: Path) -> None:
    """The kernel takes the worker and not the server, which replaces it."""
    file = models / "same_onnx" / "1" / "model.onnx"
    subprocess.run([sys.executable, "-c", HUNGRY, str(file)], check=True, timeout=120)
    container = start(volume(models), "--memory", "256m", "--memory-swap", "256m")
    container.wait_for_health("healthy")
    with Client(container.address(8001), timeout=60, retry=RetryPolicy(attempts=1)) as client:
        assert client.infer("same_onnx", np.array([7])).outputs["sum"].tolist() == [7]
        with pytest.raises(QuadrigaClientError, match="worker"):
            client.infer("same_onnx", np.array([200 << 20]))
        wait_for(lambda: client.ready("same_onnx"), "another worker", 60)
        assert client.infer("same_onnx", np.array([7])).outputs["sum"].tolist() == [7]
    assert "killed by SIGKILL" in container.log()


def test_a_port_in_use(start: Start, models: Path) -> None:
    first = start(volume(models))
    first.wait_for_health("healthy")
    second = start(volume(models), join=("--network", f"container:{first.name}"))
    assert second.wait_for_end() == FAILED
    assert (
        "Error: cannot listen on 0.0.0.0:8000: Address already in use; choose another with --http-port" in second.log()
    )
    assert first.health() == "healthy"


@pytest.mark.parametrize(
    ("options", "status", "line"),
    [
        (("--env", "QUADRIGA_GRPC_PORT=99999"), FAILED, "Error: grpc_port is 99999; expected"),
        (("--env", "QUADRIGA_GRPC_PORT=many"), USAGE, "Error: Invalid value for '--grpc-port'"),
        (("--env", "QUADRIGA_TRANSPORT=pigeon"), USAGE, "Error: Invalid value for '--transport'"),
        (("--env", "QUADRIGA_TLS_CERTIFICATE=/none.pem"), FAILED, "Error: tls_certificate is given without tls_key"),
        (("--env", "QUADRIGA_TOKEN_FILE=/none"), FAILED, "Error: token file /none cannot be read"),
    ],
)
def test_a_setting_that_cannot_be(start: Start, models: Path, options: tuple[str, ...], status: int, line: str) -> None:
    container = start(volume(models), *options)
    assert container.wait_for_end() == status
    assert line in container.log()
    assert "Traceback" not in container.log()


def test_a_models_configuration_that_cannot_be(start: Start, models: Path) -> None:
    (models / "same_onnx" / "model.toml").write_text("max_batch_sise = 4\n")
    container = start(volume(models))
    assert container.wait_for_end() == FAILED
    assert "max_batch_sise" in container.log()
    assert "Traceback" not in container.log()
