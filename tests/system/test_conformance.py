"""The conformance kit against the real server: everything of the Open Inference Protocol, and whatever else it has."""

from collections.abc import Callable
from pathlib import Path

import pytest
from running_server import RunningServer, run_cli, write_fake

from quadriga_client.conformance import ZOO_MODELS, Outcome, Report, Settings, run, select

#: ONNX has no echo of this datatype.
BF16 = "conformance_echo_bf16"
MODELS = {**ZOO_MODELS, "echo": (*ZOO_MODELS["echo"], BF16)}


@pytest.fixture(scope="module")
def report(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> Report:
    repository = tmp_path_factory.mktemp("repository")
    written = run_cli("zoo", "conformance", "--repository", str(repository))
    assert written.returncode == 0, written.stderr
    write_fake(repository, BF16, {"inputs": [{"name": "x", "datatype": "BF16", "shape": [-1]}]})
    server = start("--repository", str(repository), "--model-control", "explicit", "--load-model", "*")
    settings = Settings(url=server.grpc, models=MODELS, timeout=30.0, allow_model_control=True)
    return run(settings, select())


def test_no_rule_is_broken(report: Report) -> None:
    wrong = [entry for entry in report.entries if entry.outcome in (Outcome.FAILED, Outcome.ERROR)]
    assert [(entry.id, entry.message) for entry in wrong] == []
    assert report.ended_early == ""
    assert report.conforms


def test_every_check_of_the_protocol_and_of_health_passes(report: Report) -> None:
    # ONNX's strings are text.
    besides = {"OIP-INFER-BYTES-BINARY"}
    outcomes = {
        entry.id: entry.outcome
        for entry in report.entries
        if entry.group.startswith("oip.") or entry.group in ("health.v1", "reflection")
    }
    assert {id for id, outcome in outcomes.items() if outcome is not Outcome.PASSED} <= besides


def test_every_check_is_tried(report: Report) -> None:
    assert {entry.id for entry in report.entries if entry.outcome is Outcome.SKIPPED} == set()


def test_the_server_names_itself_and_its_models_play_their_roles(report: Report) -> None:
    assert report.server == "quadriga"
    assert report.roles == {role: list(names) for role, names in MODELS.items()}


def test_models_are_written_again_over_those_of_before(tmp_path: Path) -> None:
    names = {name for models in ZOO_MODELS.values() for name in models}
    for _ in range(2):
        result = run_cli("zoo", "conformance", "--repository", str(tmp_path))
        assert (result.returncode, f"made {len(names)} models" in result.stdout) == (0, True), result.stderr
        assert {path.name for path in tmp_path.iterdir()} == names
    theirs = tmp_path / "conformance_add" / "2"
    theirs.mkdir()
    refused = run_cli("zoo", "conformance", "--repository", str(tmp_path))
    assert refused.returncode == 1
    assert "conformance_add holds what the zoo did not make" in refused.stderr
    assert theirs.is_dir()
