"""Loading and unloading through both clients and from the command line, against a real server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running_server import RunningServer, run_cli, write_fake

from quadriga_client import errors

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


@pytest.fixture(scope="module")
def explicit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A real server that has loaded nothing of what it has."""
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "model")
    write_fake(repository, "bad", {"load_error": "made to fail"})
    running = RunningServer("--repository", str(repository), "--model-control", "explicit")
    yield running
    running.stop()


@pytest.fixture
def client(connect: Callable[..., Any], explicit: RunningServer) -> Any:
    return connect(explicit.grpc)


def states(client: Any) -> dict[str, str]:
    return {row.model: row.state for row in client.repository_index() if row.model != "bad"}


def test_a_model_comes_and_goes(client: Any) -> None:
    client.unload_model("model")
    assert states(client)["model"] != "READY"
    client.load_model("model")
    assert states(client) == {"model": "READY"}
    np.testing.assert_array_equal(client.infer("model", ROW)["x"], ROW)
    client.unload_model("model")
    with pytest.raises(errors.NotFound):
        client.infer("model", ROW)


def test_configuration_and_files_go_along_and_old_metadata_is_forgotten(client: Any) -> None:
    client.load_model("model")
    client.infer("model", ROW)
    described = {"inputs": [{"name": "y", "datatype": "INT32", "shape": [2]}]}
    client.load_model("model", config={"max_batch_size": 2}, files={"3/model.fake": json.dumps(described).encode()})
    result = client.infer("model", np.ones((2, 2), np.int32))
    assert (result.model_version, list(result.outputs)) == ("3", ["y"])
    assert client.metadata("model").max_batch_size == 2
    client.load_model("model", config="{}")
    assert client.metadata("model").versions == ("1",)
    client.unload_model("model")


def test_what_cannot_be_loaded_says_why(client: Any) -> None:
    with pytest.raises(errors.InvalidArgument, match="made to fail"):
        client.load_model("bad")
    with pytest.raises(errors.RpcFailed, match="nobody"):
        client.load_model("nobody")
    with pytest.raises(errors.InputError, match="config cannot be written as JSON"):
        client.load_model("model", config={"max_batch_size": object()})
    with pytest.raises(errors.InputError, match="expected its content as bytes"):
        client.load_model("model", config={}, files={"1/model.fake": "text"})


def test_the_commands_load_and_unload(explicit: RunningServer, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        result = run_cli("models", *arguments, "--url", explicit.grpc)
        assert (result.returncode == 0) is not result.stderr.startswith("Error: ")
        assert (result.stdout + result.stderr).count("\n") == 1
        return result.stdout + result.stderr

    assert run("load", "model") == "model is loaded\n"
    table = run_cli("status", "--url", explicit.grpc).stdout
    assert "READY" in next(line for line in table.splitlines() if line.startswith("model "))
    (tmp_path / "config.json").write_text('{"max_batch_size": 3}')
    (tmp_path / "any.fake").write_text('{"inputs": [{"name": "y", "datatype": "FP32", "shape": [2]}]}')
    file = f"4/model.fake={tmp_path / 'any.fake'}"
    assert run("load", "model", "--config", str(tmp_path / "config.json"), "--file", file) == "model is loaded\n"
    assert "y FP32[-1,2]" in run_cli("status", "--url", explicit.grpc).stdout
    assert run("unload", "model") == "model is unloaded\n"
    assert "nobody" in run("load", "nobody")
    assert "expected VERSION/NAME=PATH" in run("load", "model", "--file", "any.fake")
    assert "missing cannot be read" in run("load", "model", "--file", f"4/model.fake={tmp_path / 'missing'}")
    assert "'config'" in run("load", "model", "--file", file)
