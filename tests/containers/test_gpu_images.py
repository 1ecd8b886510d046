"""The GPU images, which are built by hand: what each installs fits together, with CUDA, on PyPI.

The image's own Python resolves it, with the newer pip of the tests, which reads what a wheel needs without the wheel.
"""

import json
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import dependencies
import pip
import pytest
from docker_engine import BASE_IMAGE, Engine

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
def test_what_a_gpu_image_installs_fits_together(
    engine: Engine, built: Callable[[str], str], extras: tuple[str, ...], tmp_path: Path
) -> None:
    shutil.copytree(Path(pip.__file__).parent, tmp_path / "pip")
    shutil.copy2(ROOT / "constraints.txt", tmp_path)
    (tmp_path / "requirements.txt").write_text("\n".join(dependencies.requirements(PROJECT, extras)))
    tmp_path.chmod(0o755)
    options = [f"--volume={tmp_path}:/given:ro", "--env=PYTHONPATH=/given", "--network=host", "--entrypoint=python"]
    if "PIP_CERT" in os.environ:  # a proxy with an authority of its own
        options += [f"--volume={os.environ['PIP_CERT']}:/given-ca.crt:ro", "--env=PIP_CERT=/given-ca.crt"]
    result = engine.run(
        "run", "--rm", "--tmpfs=/tmp", *options, built("onnx"), "-m", "pip", "install", "--quiet", "--dry-run",
        "--ignore-installed", "--only-binary=:all:", "--constraint=/given/constraints.txt",
        "--requirement=/given/requirements.txt", "--report=-", seconds=800,
    )  # fmt: skip
    report = json.loads(result.stdout)
    assert f"python:{report['environment']['python_version']}-slim" == BASE_IMAGE
    assert ENVIRONMENTS[extras] <= {each["metadata"]["name"].lower() for each in report["install"]}
