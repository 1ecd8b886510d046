"""Model files that cannot be served, in each format: named with their reason wherever one looks; others serve."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from oip import infer_request, model_index, rpc
from running_server import RunningServer, run_cli, wait_for, write_fake

TINY_MODELS = Path(__file__).parents[1] / "server" / "backends"
FILES = {
    "savedmodel": "model.savedmodel",
    "keras": "model.keras",
    "torchscript": "model.pt",
    "onnx": "model.onnx",
}
#: By model, what its reason has to say.
REASONS = {
    "damaged_savedmodel": "is no SavedModel that can run",
    "damaged_keras": "is damaged",
    "damaged_torchscript": "is damaged",
    "damaged_onnx": "is no ONNX model that can run",
    "empty_savedmodel": "has no saved_model.pb in it; expected a SavedModel's folder",
    "empty_keras": "is empty; expected a Keras 3 model",
    "empty_torchscript": "is empty; expected a TorchScript archive",
    "empty_onnx": "is empty; expected an ONNX model",
    "misnamed_savedmodel": "has no saved_model.pb in it; expected a SavedModel's folder",
    "misnamed_keras": "is a protocol buffer (an ONNX file?); expected a Keras 3 model",
    "misnamed_torchscript": "is a Keras 3 model (a zip archive); expected a TorchScript archive",
    "misnamed_onnx": "is a zip archive (a .keras or .pt file?); expected an ONNX model",
    "custom_keras": "it uses the custom class 'Doubling', which is not there",
    "fileless": "has no model; expected one of model.savedmodel, model.keras, model.pt, model.onnx",
    "versionless": "has no versions; expected a folder 1",
}


def version_folder(repository: Path, name: str) -> Path:
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    return folder


def write_bad_models(repository: Path, demo_repository: Path) -> None:
    """A model for each of `REASONS`."""
    good = {kind: demo_repository / f"same_{kind}" / "1" / file for kind, file in FILES.items()}
    others = {"savedmodel": "keras", "keras": "onnx", "torchscript": "keras", "onnx": "torchscript"}
    for kind, file in FILES.items():
        damaged, empty, misnamed = (
            version_folder(repository, f"{what}_{kind}") / file for what in ("damaged", "empty", "misnamed")
        )
        if kind == "savedmodel":
            shutil.copytree(good[kind], damaged)
            cut(damaged / "saved_model.pb")
            empty.mkdir()
            misnamed.mkdir()
            shutil.copy(good[others[kind]], misnamed)
        else:
            shutil.copy(good[kind], damaged)
            cut(damaged)
            empty.touch()
            shutil.copy(good[others[kind]], misnamed)
    version_folder(repository, "fileless")
    (repository / "versionless").mkdir()
    custom = version_folder(repository, "custom_keras") / FILES["keras"]
    code = (
        f"from pathlib import Path; from tiny_models import make_custom_layer; make_custom_layer(Path({str(custom)!r}))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=TINY_MODELS, check=True, capture_output=True)


def cut(file: Path) -> None:
    """Cuts a file to half its length, as a copy that was broken off leaves it."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


@pytest.fixture(scope="module")
def server(
    start: Callable[..., RunningServer], demo_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    repository: Path = tmp_path_factory.mktemp("repository")
    write_bad_models(repository, demo_repository)
    write_fake(repository, "good")
    return start("--repository", str(repository))


@pytest.fixture(scope="module")
def reasons(server: RunningServer) -> dict[str, str]:
    """What RepositoryIndex says of each model that is unavailable."""
    with grpc.insecure_channel(server.grpc) as channel:
        index = model_index(channel)
    return {name: model.reason for name, model in index.items() if model.state == "UNAVAILABLE"}


def test_only_what_is_bad_is_unavailable(reasons: dict[str, str]) -> None:
    assert set(reasons) == set(REASONS)


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_names_the_file_and_says_what_is_wrong(reasons: dict[str, str], name: str) -> None:
    assert name in reasons[name]
    assert REASONS[name] in reasons[name]


def test_the_log_has_every_reason_in_one_line_and_no_traceback(server: RunningServer, reasons: dict[str, str]) -> None:
    def lines() -> list[str]:
        return [line for line in server.log.splitlines() if " ERROR " in line]

    wait_for(lambda: len(lines()) >= len(reasons), "the last one in the log")
    errors = lines()
    for name, reason in reasons.items():
        (line,) = (line for line in errors if f"model {name} " in line)
        assert line.endswith(reason)
    assert len(errors) == len(reasons)
    assert "Traceback" not in server.log


def test_status_has_every_reason(server: RunningServer, reasons: dict[str, str]) -> None:
    result = run_cli("status", "--url", server.grpc, "--json")
    assert result.returncode == 0, result.stderr
    models = {model["model"]: (model["state"], model["reason"]) for model in json.loads(result.stdout)["models"]}
    assert models == {"good": ("READY", ""), **{name: ("UNAVAILABLE", reason) for name, reason in reasons.items()}}
    assert reasons_of_table(run_cli("status", "--url", server.grpc).stdout.splitlines()) == without_spaces(reasons)


def test_the_servers_own_table_has_every_reason(server: RunningServer, reasons: dict[str, str]) -> None:
    assert reasons_of_table(server.printed) == without_spaces(reasons)


def reasons_of_table(lines: list[str]) -> dict[str, str]:
    """The last column by the first one, where it has something; without the spaces at which it may be folded."""
    column = lines[0].index("REASON")
    found: dict[str, str] = {}
    name = ""
    for line in lines[1:]:
        name = line.partition(" ")[0] or name
        found[name] = found.get(name, "") + "".join(line[column:].split())
    return {name: reason for name, reason in found.items() if reason}


def without_spaces(reasons: dict[str, str]) -> dict[str, str]:
    return {name: "".join(reason.split()) for name, reason in reasons.items()}


def test_the_good_model_serves(server: RunningServer) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        rpc(channel, "ModelInfer", infer_request("good", x=np.ones((1, 4), np.float32)))
    assert [worker.pid for worker in server.workers()] == [server.worker_of("good")]
