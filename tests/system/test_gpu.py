"""The demo network on a GPU, in every format whose framework is built for one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from running_server import RunningServer

from quadriga_client import Client
from quadriga_zoo import datasets

SAME = ("same_savedmodel", "same_keras", "same_torchscript", "same_onnx")
GPU_CONFIG = '[[instance_group]]\nkind = "KIND_GPU"\ngpus = [0]\n'
#: TF32 and other orders of summation: wider than between CPUs.
TOLERANCE = 5e-3

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not Path("/dev/nvidia0").exists(), reason="no NVIDIA GPU on this machine"),
]


def test_a_gpu_computes_what_the_cpu_does(
    start: Callable[..., RunningServer], demo_repository: Path, tmp_path: Path
) -> None:
    for name in SAME:
        shutil.copytree(demo_repository / name, tmp_path / name)
        (tmp_path / name / "model.toml").write_text(GPU_CONFIG)
    shutil.copytree(demo_repository / "same_onnx", tmp_path / "cpu")
    (tmp_path / "cpu" / "model.toml").write_text('[[instance_group]]\nkind = "KIND_CPU"\n')
    server = start("--repository", str(tmp_path))
    images = datasets.load("digits").test_images[:16]
    with Client(server.grpc) as client:
        expected = client.infer("cpu", images)["scores"]
        ready = [row.model for row in client.status() if row.state == "READY" and row.model in SAME]
        assert ready, server.log
        for name in ready:
            assert client.metadata(name).properties["device"] == "cuda:0"
            assert np.abs(client.infer(name, images)["scores"] - expected).max() < TOLERANCE
