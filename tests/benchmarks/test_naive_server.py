"""A naive server in a process of its own, beside Quadriga: the same bytes get the same answer, and nothing is left."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from load_runs import command_line
from running_server import RunningServer
from study.errors import StudyError
from study.naive_server import NaiveServer
from study.ways import SCRIPT, SESSION, Way
from target import first_output, request_for, target

WAYS = (Way("onnx", SESSION, "onnx"), Way("pytorch", SCRIPT, "torchscript"))


@pytest.fixture(scope="module")
def quadriga(demo_repository: Path) -> Iterator[RunningServer]:
    server = RunningServer(
        "--repository", str(demo_repository), "--model-control", "explicit", "--load-model", "same_onnx"
    )
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.framework)
def test_it_answers_as_quadriga_does(way: Way, quadriga: RunningServer, demo_repository: Path) -> None:
    request = request_for(quadriga.grpc, "same_onnx", rows=3)
    expected = first_output(target(quadriga.grpc, request).answer)
    with NaiveServer(way, demo_repository) as naive:
        found = first_output(target(naive.url(), request).answer)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4
    assert not psutil.pid_exists(naive.pid)


def test_one_that_cannot_start_is_told_of_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "same_onnx" / "1").mkdir(parents=True)
    (tmp_path / "same_onnx" / "1" / "model.onnx").write_bytes(b"no model")
    with (
        NaiveServer(WAYS[0], tmp_path, threads=2) as naive,
        pytest.raises(StudyError, match=r"naive server of onnx: session\.run\(None, x\), 2 threads does not start"),
    ):
        naive.url()
    assert not [child for child in psutil.Process().children() if "study.naive_server" in command_line(child)]
