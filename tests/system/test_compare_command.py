"""`quadriga compare` against the real server: agreement, verdicts, one awake at a time, Ctrl-C."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparisons import comparison
from running_server import RunningServer, run_cli, wait_for, write_fake

from quadriga_client import Client
from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.formats import NAMES, json

#: The shortest that two models can be timed.
SHORTEST = ("--duration", "6")
SAME = ("same_onnx", "same_torchscript", "same_keras", "same_savedmodel")
TWO = [{"name": "x", "datatype": "FP32", "shape": [4]}, {"name": "y", "datatype": "FP32", "shape": [4]}]


@pytest.fixture(scope="module")
def transport() -> str:
    """One is enough: what is tested is the client."""
    return "native"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models: "fast", "twin" and "slow" agree; "swapped" has the outputs of "straight" under swapped names."""
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "fast")
    write_fake(repository, "twin")
    write_fake(repository, "slow", {"sleep_ms": 30})
    write_fake(repository, "straight", {"inputs": TWO})
    write_fake(repository, "swapped", {"inputs": TWO, "outputs": TWO[::-1]})
    write_fake(repository, "failing", {"raise_on": 7.0})
    return repository


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], repository: Path) -> RunningServer:
    return start("--repository", str(repository))


@pytest.fixture
def explicit(start: Callable[..., RunningServer], repository: Path) -> Iterator[RunningServer]:
    """Has "fast" loaded, and loads others by request."""
    server = start("--repository", str(repository), "--model-control", "explicit", "--load-model", "fast")
    yield server
    server.stop()


def loaded(server: RunningServer) -> set[str]:
    with Client(server.grpc) as client:
        return {status.model for status in client.repository_index() if status.state == "READY"}


def compare(server: RunningServer, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_cli("compare", "--url", server.grpc, "--metrics", server.http, *arguments)


def report_in(folder: Path) -> Comparison:
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    return json.read(folder / "comparison.json")


def test_the_faster_of_two_that_agree_wins(server: RunningServer, tmp_path: Path) -> None:
    result = compare(server, "slow", "fast", *SHORTEST, "--concurrency", "2", "--output", str(tmp_path / "out"))
    assert (result.returncode, result.stderr) == (0, "")
    assert "requests/s: fast has the highest throughput: " in result.stdout
    report = report_in(tmp_path / "out")
    (level,) = report.levels
    winners = {verdict.measure: verdict.winner for verdict in level.verdicts}
    assert (winners["throughput"], winners["p50_ms"]) == ("fast", "fast")
    assert [agreement.agrees for agreement in report.agreements] == [True]
    assert (level.rounds, report.inputs.requests, report.failed_requests) == (6, 16, {})
    assert all(block.cpu_ms_per_row is not None for block in level.blocks)
    for contestant in report.contestants:
        assert contestant.server.startswith("quadriga ")
        assert contestant.file_bytes
        assert contestant.memory_bytes
        assert contestant.load_ms is not None
    again = str(tmp_path / "out" / "comparison.json")
    unchanged = run_cli("compare", "--report", again, "--against", again)
    assert unchanged.returncode == 0, unchanged.stderr
    assert "\n0 of " in unchanged.stdout
    assert " figures are worse by more than 5% than in " in unchanged.stdout


def test_what_is_worse_than_an_older_report_is_an_exit_status(server: RunningServer, tmp_path: Path) -> None:
    old = comparison({"fast": 1e9, "twin": 1e9})
    old = replace(old, inputs=replace(old.inputs, tensors=("FP32[1,4]",)))
    (tmp_path / "old.json").write_bytes(json.encode(old))
    result = compare(
        server, "fast", "twin", *SHORTEST, "--against", str(tmp_path / "old.json"), "--output", str(tmp_path / "out")
    )
    assert result.returncode == 4, result.stderr
    changes = report_in(tmp_path / "out").changes
    assert changes is not None
    assert {("fast", "cpu_ms_per_row"), ("twin", "cpu_ms_per_row")} <= {
        (entry.contestant, entry.measure) for entry in changes.worse
    }
    assert changes.warnings[0].startswith("the machines differ, so the changes may be theirs: cpu Made Up 1 -> ")
    assert "the machines differ, so the changes may be theirs" in result.stdout


def test_an_older_report_of_other_requests_is_refused_before_the_timing(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_bytes(json.encode(comparison({"fast": 1.0, "twin": 2.0})))
    result = compare(server, "fast", "twin", *SHORTEST, "--against", str(tmp_path / "old.json"))
    assert result.returncode == 1
    assert "the older report is of requests of FP32[1,8,8,1], and these are of FP32[1,4]" in result.stderr


def test_models_that_differ_are_not_timed(server: RunningServer, tmp_path: Path) -> None:
    result = compare(server, "straight", "swapped", *SHORTEST, "--output", str(tmp_path / "out"))
    assert result.returncode == 3
    assert "swapped's 'x' differs from straight's 'x' in 64 of 64 elements by up to 0." in result.stderr
    assert "--allow-different" in result.stderr
    assert "Traceback" not in result.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_models_that_differ_are_timed_where_that_is_allowed(server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = compare(server, "straight", "swapped", *SHORTEST, "--allow-different", "--output", str(out))
    assert result.returncode == 0, result.stderr
    assert "these models do not answer alike" in result.stdout
    assert report_in(out).allowed_different
    for name in ("comparison.md", "comparison.html"):
        assert "--allow-different: swapped and straight do not answer alike" in (out / name).read_text()


def test_a_tolerance_decides_what_agrees(server: RunningServer) -> None:
    refused = compare(server, "straight", "swapped", *SHORTEST, "--atol", "0.5")
    assert (refused.returncode, "swapped's 'x' differs" in refused.stderr) == (3, True)


def test_a_model_that_answers_with_an_error_is_told(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "sevens.npy"
    np.save(file, np.full((16, 4), 7, np.float32))
    result = compare(server, "fast", "failing", *SHORTEST, "--input", str(file))
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert "failing answers with an error: " in result.stderr
    assert "an element is 7.0, on which this model is made to fail" in result.stderr


def test_models_of_other_inputs_are_told_apart(server: RunningServer) -> None:
    result = compare(server, "fast", "straight", *SHORTEST)
    assert result.returncode == 1
    assert "straight cannot be sent what fast is sent: it takes x FP32[-1,4], y FP32[-1,4]" in result.stderr


def test_a_model_that_is_not_there_is_told(server: RunningServer) -> None:
    result = compare(server, "fast", "missing", *SHORTEST)
    assert (result.returncode, "missing at " in result.stderr) == (1, True)


def test_without_a_server_there_is_one_line() -> None:
    result = run_cli("compare", "a", "b@127.0.0.1:1", "--url", "127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr == "Error: no server answers at 127.0.0.1:1; start one with `quadriga serve`\n"


def test_one_awake_needs_a_server_that_loads_by_request(server: RunningServer) -> None:
    result = compare(server, "fast", "slow", *SHORTEST, "--one-awake")
    assert result.returncode == 1
    assert "--one-awake needs servers that load and unload by request" in result.stderr
    assert {"fast", "slow"} <= loaded(server)


def test_one_is_awake_at_a_time_and_all_is_put_back(explicit: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = compare(explicit, "fast", "twin", *SHORTEST, "--one-awake", "--output", str(out))
    assert result.returncode == 0, result.stderr
    assert loaded(explicit) == {"fast"}
    report = report_in(out)
    assert report.one_awake
    assert all(contestant.load_ms for contestant in report.contestants)
    # In each round it comes twice in a row or at both ends; before, it was loaded for its answers.
    assert 1 < explicit.log.count("twin/1 is ready: pid") <= 1 + 12


def test_ctrl_c_writes_what_there_is_and_puts_back_what_was_loaded(explicit: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "quadriga", "compare", "fast", "twin", "--url", explicit.grpc]
    command += ["--metrics", explicit.http, "--one-awake", "--duration", "100", "--output", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # The first load was for its answers; the second comes after the first block of somebody.
        wait_for(lambda: explicit.log.count("twin/1 is ready: pid") > 1 or process.poll() is not None, "the timing", 60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert loaded(explicit) == {"fast"}
    report = report_in(out)
    assert report.interrupted
    assert report.levels[0].blocks


def test_one_network_in_four_formats_agrees_and_is_compared(
    start: Callable[..., RunningServer], demo_repository: Path, tmp_path: Path
) -> None:
    server = start("--repository", str(demo_repository))
    out = tmp_path / "out"
    result = compare(server, *SAME, "--duration", "12", "--rows", "2", "--output", str(out))
    assert result.returncode == 0, result.stderr
    report = report_in(out)
    assert [(agreement.contestant, agreement.agrees, agreement.top1) for agreement in report.agreements] == [
        (name, True, 1.0) for name in SAME[1:]
    ]
    assert len(report.levels[0].verdicts) == 4
    assert {contestant.backend for contestant in report.contestants} == {"onnx", "torchscript", "keras", "tensorflow"}
