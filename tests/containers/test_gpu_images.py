"""The GPU images, which are built by hand: what each installs fits together, with CUDA, on PyPI."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import dependencies
import pytest

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Extras that share an environment -> what has to be among what they install.
ENVIRONMENTS = {
    ("onnx-gpu", "fast", "otel", "nvml"): {"onnxruntime-gpu", "nvidia-cudnn-cu13"},
    ("torch-gpu", "fast", "otel", "nvml"): {"torch", "nvidia-cudnn-cu13"},
    ("tensorflow-gpu", "fast", "otel", "nvml"): {"tensorflow", "nvidia-cudnn-cu12"},
    ("onnx-gpu", "torch-gpu", "fast", "otel", "nvml"): {"onnxruntime-gpu", "torch", "nvidia-cudnn-cu13"},
}


@pytest.mark.parametrize("extras", ENVIRONMENTS, ids="-".join)
def test_what_a_gpu_image_installs_fits_together(extras: tuple[str, ...], tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join(dependencies.requirements(PROJECT, extras)))
    report = tmp_path / "report.json"
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary", ":all:",
        "--constraint", str(ROOT / "constraints.txt"), "--requirement", str(requirements), "--report", str(report),
    ]  # fmt: skip
    # Wheels that this machine keeps may be for CPUs alone.
    environment = {key: value for key, value in os.environ.items() if key != "PIP_FIND_LINKS"}
    environment["PIP_CONFIG_FILE"] = os.devnull
    result = subprocess.run(command, capture_output=True, text=True, timeout=800, env=environment)
    assert result.returncode == 0, result.stderr[-4000:]
    names = {each["metadata"]["name"].lower() for each in json.loads(report.read_text())["install"]}
    assert ENVIRONMENTS[extras] <= names
