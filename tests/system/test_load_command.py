"""`quadriga load` as a user runs it: on real servers, to its end, and to ends that nobody wished for."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import psutil
import pytest
from running_server import END_SECONDS, RunningServer, is_alive, run_cli, wait_for, write_fake

from quadriga_client.load.formats import json as report_json

#: In the environment of the load tests here, from which their generators have it.
MARK = {"LOAD_COMMAND_MARK": str(os.getpid())}
SHORT = ("--window", "0.1", "--max-windows", "3", "--measured-windows", "2", "--no-ceiling")


@pytest.fixture(scope="module")
def transport() -> str:
    """One is enough: `test_load_engine` puts load on both."""
    return "native"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that are quick, slow, choosy about sizes, and that refuse what is too much at once."""
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "slow", {"sleep_ms": 5}, "max_batch_size = 8")
    write_fake(repository, "open", {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [3, -1, -1]}]})
    write_fake(
        repository,
        "narrow",
        {"sleep_ms": 20},
        "max_batch_size = 1\n[dynamic_batching.default_queue_policy]\nmax_queue_size = 1",
    )
    return repository


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], repository: Path) -> RunningServer:
    """A server of these models."""
    return start("--repository", str(repository))


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """However a load test ends, its generators and echo server end with it."""
    yield
    wait_for(lambda: not any(map(is_of_a_load_test, psutil.process_iter())), "the processes of the load test to end")


def is_of_a_load_test(process: psutil.Process) -> bool:
    """Whether a living process is one of the load tests here."""
    try:
        return process.environ().items() >= MARK.items() and is_alive(process)
    except (psutil.Error, OSError):
        return False


def load(server: RunningServer, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_cli("load", *arguments, "--url", server.grpc, env=MARK)


def report_of(server: RunningServer, *arguments: str, status: int = 0) -> dict[str, Any]:
    """The JSON of a load test that ends with that status."""
    result = load(server, *arguments, "--json")
    assert result.returncode == status, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_closed_sweep_and_every_format(server: RunningServer, tmp_path: Path) -> None:
    names = ("r.json", "r.csv", "r.perf_analyzer.csv", "r.md", "r.html")
    outputs = [text for name in names for text in ("--output", str(tmp_path / name))]
    windows = ("--window", "0.2", "--max-windows", "3", "--measured-windows", "2")
    levels = ("--concurrency", "1,4", *windows, "--metrics", server.http)
    result = load(server, "slow", *levels, "--rows", "2", *outputs)
    assert result.returncode == 0, result.stderr
    document = json.loads((tmp_path / "r.json").read_text())
    jsonschema.validate(document, json.loads(report_json.encoded_schema()))
    report = report_json.decode((tmp_path / "r.json").read_bytes())
    assert [(row.mode, row.level) for row in report.rows] == [("closed", 1), ("closed", 4)]
    for row in report.rows:
        assert row.latency.count > 0
        assert row.latency.percentile_ms(50.0) >= 5
        assert row.errors == {}
        assert row.rows_per_second == pytest.approx(2 * row.throughput.value)
        assert row.server is not None
        assert row.server.source.startswith(f"http://{server.http}/metrics")
        assert row.server.assembly_ms is not None
        assert row.server.compute_ms is not None
        assert row.server.assembly_ms + row.server.compute_ms >= 5  # only their sum is exact where batches differ
        assert row.server.compute_ms >= 5 or row.level > 1
    assert report.ceiling is not None
    assert report.ceiling.throughput > 0
    assert report.ceiling.concurrency == 4
    assert (report.request.model, report.request.version, report.request.inputs) == ("slow", "1", {"x": "FP32[2,4]"})
    assert report.server.startswith("quadriga")
    assert report.command.startswith("quadriga load slow --concurrency 1,4")
    assert (report.error, report.interrupted) == ("", False)
    lines = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert [float(line["level"]) for line in lines] == [1, 4]
    lines = list(csv.DictReader((tmp_path / "r.perf_analyzer.csv").read_text().splitlines()))
    # Rows whose generator was saturated, as on a busy machine, are not in it.
    assert [line["Concurrency"] for line in lines if line["p99 latency"]] == [
        f"{row.level:g}" for row in sorted(report.rows, key=lambda row: row.throughput.value) if not row.saturated
    ]
    assert "4 callers" in (tmp_path / "r.md").read_text()
    assert "<svg" in (tmp_path / "r.html").read_text()
    assert "4 callers" in result.stdout
    assert "answers per second with 4 callers" in result.stdout
    assert "measuring the generators' own ceiling" in result.stderr


def test_open_loops_of_a_rate_and_of_a_trace(server: RunningServer, tmp_path: Path) -> None:
    rate = ("--rate", "300", "--arrivals", "constant", "--timeout", "5")
    (row,) = report_of(server, "slow", *rate, *SHORT)["rows"]
    assert (row["mode"], row["arrivals"], row["level"]) == ("open", "constant", 300)
    assert row["latency"]["count"] > 0
    trace = tmp_path / "trace.txt"
    trace.write_text("".join(f"{number / 300}\n" for number in range(300)))
    (row,) = report_of(server, "slow", "--trace", str(trace), "--timeout", "5", *SHORT)["rows"]
    assert (row["arrivals"], row["level"]) == ("trace", pytest.approx(300, rel=0.1))
    assert row["latency"]["count"] > 0


def test_the_search_for_a_rate(server: RunningServer) -> None:
    """In Poisson arrivals, from a rate that nothing bears down to one that nothing minds."""
    report = report_of(server, "slow", "--slo", "p99<1us", "--rate", "8000", "--timeout", "0.5", *SHORT, status=3)
    assert report["slo"]["objective"] == "p99<1us"
    assert report["slo"]["rate"] is None
    assert report["rows"][0]["level"] == 8000
    assert {row["arrivals"] for row in report["rows"]} == {"poisson"}
    assert len(report["rows"]) > 1


def test_requests_that_the_server_refuses_are_counted_by_code(server: RunningServer) -> None:
    report = report_of(server, "narrow", "--concurrency", "16", *SHORT, status=3)
    (row,) = report["rows"]
    assert row["errors"].keys() == {"UNAVAILABLE"}
    assert row["requests"] >= row["latency"]["count"] + sum(row["errors"].values()) > 0


def test_inputs_of_files_and_of_sizes(server: RunningServer, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((3, 4), np.float32))
    report = report_of(server, "slow", "--input", str(tmp_path / "rows.npy"), "--concurrency", "1", *SHORT)
    assert (report["request"]["rows"], report["request"]["content"]) == (3, "rows.npy")
    report = report_of(server, "open", "--shape", "image:3,8,9", "--concurrency", "1", *SHORT)
    assert report["request"]["inputs"] == {"image": "UINT8[1,3,8,9]"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nobody",), "no model 'nobody' is served here"),
        (("slow", "--version", "7"), "no version 7"),
        (("open",), "input image UINT8[-1,3,-1,-1] leaves sizes open; give them with --shape image:3,N,N"),
        (("slow", "--rows", "9"), "9 rows"),
        (("slow", "--input", "missing.npy"), "missing.npy cannot be read: No such file"),
        (("slow", "--metrics", "127.0.0.1:1"), "no metrics page came from http://127.0.0.1:1/metrics"),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_line(
    server: RunningServer, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    result = load(server, *arguments, "--quiet", "--output", str(tmp_path / "report.json"))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert not list(tmp_path.iterdir())


class RunningLoad:
    """A load test in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quadriga", "load", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **MARK},
        )

    def wait_for_line(self, text: str) -> None:
        """Reads its progress until a line has the text."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if text in line:
                return
        raise AssertionError(f"it ended without {text!r}")

    def end(self) -> tuple[int, str, str]:
        """Its exit status, and what else it said on both streams."""
        output, errors = self.process.communicate(timeout=END_SECONDS)
        return self.process.returncode, output, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_write_what_was_measured(
    server: RunningServer, tmp_path: Path, number: signal.Signals
) -> None:
    outputs = ("--output", str(tmp_path / "r.json"), "--output", str(tmp_path / "r.html"))
    running = RunningLoad(
        "slow", "--url", server.grpc, "--concurrency", "1,2", "--max-windows", "100000", "--tolerance", "0.000001",
        "--window", "0.1", "--no-ceiling", *outputs,
    )  # fmt: skip
    running.wait_for_line("starting the generators")
    generators = psutil.Process(running.process.pid)
    wait_for(lambda: generators.children(), "a generator")
    # Windows go by; none agree that closely.
    before = server.metric("quadriga_requests_total", model="slow")
    wait_for(lambda: server.metric("quadriga_requests_total", model="slow") > before + 100, "load")
    running.process.send_signal(number)
    status, output, errors = running.end()
    assert (status, errors) == (128 + number, "")
    assert "The test was interrupted" in output
    report = report_json.decode((tmp_path / "r.json").read_bytes())
    assert report.interrupted
    (row,) = report.rows
    assert (row.level, row.stable) == (1, False)
    assert row.latency.count > 0
    assert (tmp_path / "r.html").exists()


def test_ctrl_c_before_the_first_answer_is_no_report(server: RunningServer, tmp_path: Path) -> None:
    silent = subprocess.Popen(
        [sys.executable, "-c", "import socket; s = socket.create_server(('127.0.0.1', 0)); s.listen();"
         "print(s.getsockname()[1], flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with silent:
        assert silent.stdout is not None
        port = silent.stdout.readline().strip()
        running = RunningLoad("slow", "--url", f"127.0.0.1:{port}", "--output", str(tmp_path / "r.json"))
        connections = psutil.Process(running.process.pid)
        wait_for(lambda: [each for each in connections.net_connections() if each.raddr], "the call")
        running.process.send_signal(signal.SIGINT)
        status, output, errors = running.end()
        silent.kill()
    assert (status, output, errors) == (130, "", "")
    assert not (tmp_path / "r.json").exists()


def test_a_server_that_goes_away_leaves_a_report_of_what_was_measured(
    start: Callable[..., RunningServer], repository: Path, tmp_path: Path
) -> None:
    going = start("--repository", str(repository))
    running = RunningLoad(
        "slow", "--url", going.grpc, "--concurrency", "1:20:1", *SHORT, "--output", str(tmp_path / "r.json"),
    )  # fmt: skip
    running.wait_for_line("1 caller: ")
    going.process.send_signal(signal.SIGKILL)
    status, output, errors = running.end()
    going.wait_until_nothing_is_left()
    report = report_json.decode((tmp_path / "r.json").read_bytes())
    assert report.rows[0].level == 1
    assert report.rows[0].latency.count > 0
    assert len(report.rows) < 20
    assert status == 1
    assert report.error
    assert errors.splitlines()[-1] == f"Error: {report.error}"
    assert "The test ended early" in output


def test_a_demo_model_of_a_real_backend(
    start: Callable[..., RunningServer], demo_repository: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_repository / "same_onnx", tmp_path / "same_onnx")
    backend = start("--repository", str(tmp_path))
    report = report_of(backend, "same_onnx", "--concurrency", "2", *SHORT)
    (row,) = report["rows"]
    assert row["latency"]["count"] > 0
    assert report["request"]["inputs"] == {"image": "FP32[1,32,32,3]"}
