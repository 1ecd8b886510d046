"""`quadriga compare` against the real server: a report and its files, refusals, Ctrl-C.

How a comparison is timed and judged is tested without real time in `tests/client/compare`: here, no figure is looked at
that a busy machine could change. That models of all formats answer alike for it is in `test_models.py`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from running_server import RunningServer, run_cli, wait_for, write_fake

from quadriga.cli import main
from quadriga_client import Client
from quadriga_client.compare.formats import NAMES, json

#: The shortest that two models can be timed.
SHORTEST = ("--duration", "6")
LOADED = ("fast", "straight", "swapped", "failing")
TWO = [{"name": "x", "datatype": "FP32", "shape": [4]}, {"name": "y", "datatype": "FP32", "shape": [4]}]


@pytest.fixture(scope="module")
def transport() -> str:
    """One is enough: what is tested is the client."""
    return "native"


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    """Loads "twin" by request alone; "swapped" has the outputs of "straight" under swapped names."""
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "fast")
    write_fake(repository, "twin")
    write_fake(repository, "straight", {"inputs": TWO})
    write_fake(repository, "swapped", {"inputs": TWO, "outputs": TWO[::-1]})
    write_fake(repository, "failing", {"raise_on": 7.0})
    chosen = [option for name in LOADED for option in ("--load-model", name)]
    return start("--repository", str(repository), "--model-control", "explicit", *chosen)


def loaded(server: RunningServer) -> set[str]:
    with Client(server.grpc) as client:
        return {status.model for status in client.repository_index() if status.state == "READY"}


def refused(server: RunningServer, *arguments: str) -> Result:
    """The command in this process: what is refused takes no time."""
    return CliRunner().invoke(main, ["compare", "--url", server.grpc, "--metrics", server.http, *arguments])


def test_a_comparison_is_written_and_can_be_held_to_itself(server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = ["one=fast", "two=fast"]
    given = ["--url", server.grpc, "--metrics", server.http, *SHORTEST, "--concurrency", "2", "--output", str(out)]
    result = run_cli("compare", *names, *given)
    assert (result.returncode, result.stderr) == (0, "")
    assert "requests/s: " in result.stdout
    assert sorted(path.name for path in out.iterdir()) == sorted(NAMES)
    report = json.read(out / "comparison.json")
    assert [agreement.agrees for agreement in report.agreements] == [True]
    assert (report.levels[0].rounds, report.inputs.requests, report.failed_requests) == (6, 16, {})
    for contestant in report.contestants:
        assert contestant.server.startswith("quadriga ")
        assert contestant.file_bytes
        assert contestant.memory_bytes
        assert contestant.load_ms is not None
        own = [block for block in report.levels[0].blocks if block.contestant == contestant.name]
        assert len(own) == 12
        assert any(block.cpu_ms_per_row for block in own)
    file = str(out / "comparison.json")
    again = CliRunner().invoke(main, ["compare", "--report", file, "--against", file])
    assert again.exit_code == 0, again.output
    assert "\n0 of " in again.stdout


def test_models_that_differ_are_not_timed(server: RunningServer, tmp_path: Path) -> None:
    result = refused(server, "straight", "swapped", *SHORTEST, "--output", str(tmp_path / "out"))
    assert result.exit_code == 5, result.output
    assert "swapped's 'x' differs from straight's 'x' in 64 of 64 elements by up to 0." in result.stderr
    assert "--allow-different" in result.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("fast", "failing", "--input", "sevens.npy"), 1, "an element is 7.0, on which this model is made to fail"),
        (("fast", "straight"), 1, "straight cannot be sent what fast is sent: it takes x FP32[-1,4], y FP32[-1,4]"),
        (("fast", "missing"), 1, "missing at "),
        (("fast", "fast:1", "--shape", "z:4"), 2, "--shape is for input 'z'; the first model, 'fast', has x"),
        (("fast", "other=fast@127.0.0.1:1"), 1, "no server answers at 127.0.0.1:1; start one with `quadriga serve`"),
    ],
)
def test_what_cannot_be_compared_is_told(
    server: RunningServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("sevens.npy", np.full((16, 4), 7, np.float32))
    result = refused(server, *arguments, *SHORTEST)
    assert (result.exit_code, said in result.stderr) == (status, True), result.output


def test_ctrl_c_writes_what_there_is_and_puts_back_what_was_loaded(server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "quadriga", "compare", "fast", "twin", "--url", server.grpc]
    command += ["--metrics", server.http, "--one-awake", *SHORTEST, "--output", str(out)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        # It is loaded for its answers, for its warm-up, and again after somebody else's first block. Ten loads follow.
        wait_for(lambda: server.log.count("twin/1 is ready: pid") > 2 or process.poll() is not None, "the timing", 90)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: the generators get it too
        _, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert errors == ""
    assert loaded(server) == set(LOADED)
    report = json.read(out / "comparison.json")
    assert (report.interrupted, report.one_awake, report.error) == (True, True, "")
    assert report.levels[0].blocks
    assert all(contestant.load_ms for contestant in report.contestants)
