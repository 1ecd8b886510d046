"""MLPerf's official load generator against a real server: verdicts, failures, and what is left after each end."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from running_server import END_SECONDS, RunningServer, is_alive, wait_for, write_fake

from quadriga_client.load.errors import LoadError
from quadriga_client.load.mlperf import SCENARIOS, MlperfSettings, Scenario, run_scenario
from quadriga_client.load.mlperf.scenario import CORES_KEY
from quadriga_client.load.target import LoadTarget
from quadriga_proto import inference_pb2 as pb

pytest.importorskip("mlperf_loadgen")

SHORT = MlperfSettings(min_duration=0.5, min_queries=10, target_qps=200.0)
LONG = MlperfSettings(min_duration=600.0, target_qps=50.0)
MARK = "MLPERF_TEST_MARK"
#: A run that only a signal ends; stands for the command.
PROGRAM = """
import sys
from quadriga_client.load.mlperf import MlperfSettings, run_scenario
from quadriga_client.load.target import LoadTarget
target = LoadTarget(url=sys.argv[1], requests=(bytes.fromhex(sys.argv[2]),), timeout=10.0)
run_scenario(target, "Server", settings=MlperfSettings(min_duration=600.0, target_qps=50.0))
"""


def request(model: str) -> bytes:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    message = pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[bytes(16)])
    return message.SerializeToString()


def target(server: RunningServer, model: str = "echo", timeout: float = 10.0) -> LoadTarget:
    return LoadTarget(url=server.grpc, requests=(request(model),), timeout=timeout)


def running(folder: Path) -> bool:
    """Whether a load generator that keeps its logs under `folder` has begun its run."""
    return any(folder.glob("quadriga-mlperf-*/mlperf_log_detail.txt"))


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[RunningServer]:
    server = RunningServer("--repository", str(repository))
    yield server
    server.stop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_ends_with_a_verdict(
    server: RunningServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: Scenario
) -> None:
    current = tmp_path / "current"
    current.mkdir()
    monkeypatch.chdir(current)
    mlperf = run_scenario(target(server), scenario, settings=SHORT)
    assert mlperf.scenario == mlperf.summary["Scenario"] == scenario
    assert mlperf.summary["Result is"] == ("VALID" if mlperf.valid else "INVALID")
    assert bool(mlperf.reasons) != mlperf.valid
    assert int(mlperf.summary["99.00 percentile latency (ns)"]) > 0
    assert mlperf.settings["min_duration (ms)"] == "500"
    assert mlperf.notes[0] == "not a submission: min duration is 0.5 s instead of 600 s"
    assert float(mlperf.summary[CORES_KEY]) > 0
    assert mlperf.errors == {}
    assert list(folder.iterdir()) == list(current.iterdir()) == []


def test_too_few_queries_are_not_valid(server: RunningServer) -> None:
    """Early stopping needs more queries for its confidence than this run makes."""
    mlperf = run_scenario(target(server), "server", settings=MlperfSettings(min_duration=0.2, target_qps=100.0))
    assert not mlperf.valid
    assert "Early stopping satisfied: NO" in mlperf.reasons
    assert any(reason.startswith("Run unsuccessful. Processed ") for reason in mlperf.reasons)


def test_failing_requests_are_not_valid(server: RunningServer) -> None:
    mixed = LoadTarget(url=server.grpc, requests=(request("echo"), request("nobody")), timeout=10.0)
    mlperf = run_scenario(mixed, "MultiStream", settings=SHORT)
    assert not mlperf.valid
    assert mlperf.reasons[0] == f"{mlperf.errors['NOT_FOUND']} requests failed: NOT_FOUND"
    assert any(re.fullmatch(r"requests failed before the run: [\d,]+ NOT_FOUND", note) for note in mlperf.notes)


@pytest.mark.parametrize("scenario", ["Server", "Offline"])
def test_a_server_that_answers_nothing_with_ok(server: RunningServer, folder: Path, scenario: Scenario) -> None:
    with pytest.raises(LoadError, match=r"no request before the run was answered with OK: [\d,]+ NOT_FOUND"):
        run_scenario(target(server, "nobody"), scenario, settings=SHORT)
    assert list(folder.iterdir()) == []


def test_an_error_of_the_load_generator_is_a_reason(server: RunningServer) -> None:
    # Four queries, which end long before the time is over.
    settings = MlperfSettings(min_duration=60.0, min_queries=1, expected_latency_ms=30_000.0)
    mlperf = run_scenario(target(server), "SingleStream", settings=settings)
    assert not mlperf.valid
    assert mlperf.reasons[-1].startswith("the load generator's error: Ending early: Ran out of generated queries")


def test_a_run_that_memory_is_too_small_for(server: RunningServer, folder: Path) -> None:
    with pytest.raises(LoadError, match=r"Server would hold 600,000,000 samples in memory.* a lower rate$"):
        run_scenario(target(server), "Server", settings=MlperfSettings(target_qps=1e6))
    assert list(folder.iterdir()) == []


def test_nobody_listens(folder: Path) -> None:
    with pytest.raises(LoadError):
        run_scenario(LoadTarget(url="127.0.0.1:1", requests=(b"",), timeout=1.0), "Offline", settings=SHORT)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("scenario", ["SingleStream", "Server"])
def test_a_server_that_is_killed_ends_the_run(tmp_path: Path, folder: Path, scenario: Scenario) -> None:
    repository = tmp_path / "repository"
    write_fake(repository, "echo")
    server = RunningServer("--repository", str(repository))
    with ThreadPoolExecutor(1) as executor:
        run = executor.submit(run_scenario, target(server), scenario, settings=LONG)
        try:
            wait_for(lambda: running(folder) or run.done(), "the run")
        finally:
            server.stop(signal.SIGKILL)
        with pytest.raises(LoadError):
            run.result(END_SECONDS)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("scenario", ["SingleStream", "Server"])
def test_a_server_that_falls_silent_ends_the_run(server: RunningServer, folder: Path, scenario: Scenario) -> None:
    with ThreadPoolExecutor(1) as executor:
        run = executor.submit(run_scenario, target(server, timeout=2.0), scenario, settings=LONG)
        wait_for(lambda: running(folder) or run.done(), "the run")
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(LoadError, match="has not answered anything for 2 s"):
                run.result(END_SECONDS)
        finally:
            server.process.send_signal(signal.SIGCONT)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_a_run_that_is_ended_leaves_nothing(
    server: RunningServer, folder: Path, tmp_path: Path, end: signal.Signals
) -> None:
    command = [sys.executable, "-c", PROGRAM, server.grpc, request("echo").hex()]
    environment = {**os.environ, MARK: str(tmp_path), "TMPDIR": str(folder)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(lambda: running(folder) or process.poll() is not None, "the run")
        os.killpg(process.pid, end)
        _, errors = process.communicate(timeout=END_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -end, errors
    if end is signal.SIGINT:
        assert errors.strip().endswith("KeyboardInterrupt")
    wait_for(lambda: not marked(str(tmp_path)), "the load generator to end")
    wait_for(lambda: not any(folder.iterdir()), "its folder to go")


def test_a_load_generator_that_is_killed_is_an_error(server: RunningServer, folder: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        run = executor.submit(run_scenario, target(server), "Server", settings=LONG)
        wait_for(lambda: running(folder) or run.done(), "the run")
        for child in psutil.Process().children():
            if "quadriga_client.load.mlperf.process" in " ".join(child.cmdline()):
                child.kill()
        with pytest.raises(LoadError, match="load generator ended with status -9"):
            run.result(END_SECONDS)
    assert list(folder.iterdir()) == []


def marked(mark: str) -> list[psutil.Process]:
    """The processes with this mark in their environment that are alive."""
    return [process for process in psutil.process_iter() if _mark(process) == mark and is_alive(process)]


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None
