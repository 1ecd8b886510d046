"""What users install: the built wheel in a fresh environment, with one extra, serving a real model."""

import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from running_server import RunningServer

from quadriga_client import Client

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS = 280
NOT_FOR_ONNX = {"tensorflow", "keras", "torch", "scikit-learn", "onnx"}


def pip(python: Path | str, *arguments: str) -> str:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.timeout(2 * INSTALL_SECONDS)
def test_an_onnx_only_install_serves_and_pulls_no_other_framework(tmp_path: Path, demo_repository: Path) -> None:
    pip(sys.executable, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("quadriga-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip(python, "install", "--quiet", "-c", str(ROOT / "constraints.txt"), f"quadriga[onnx] @ {wheel.as_uri()}")
    installed = {line.partition("==")[0].lower() for line in pip(python, "list", "--format=freeze").splitlines()}
    assert "onnxruntime" in installed
    assert not installed & NOT_FOR_ONNX
    model = demo_repository / "digits_onnx"
    server = RunningServer(str(model / "1" / "model.onnx"), python=str(python))
    try:
        with Client(server.grpc) as client:
            scores = client.infer("digits_onnx", np.zeros((2, 32, 32, 3), np.float32))["scores"]
    finally:
        status = server.stop()
    assert status == 0
    assert scores.shape == (2, 10)
    missing = RunningServer(str(demo_repository / "digits_keras" / "1" / "model.keras"), python=str(python))
    with Client(missing.grpc) as client:
        (row,) = client.status()
    assert missing.stop() == 0
    assert row.state == "UNAVAILABLE"
    assert "quadriga[tensorflow]" in row.reason
