"""Which GPUs are visible, and the devices of a group's workers."""

from pathlib import Path

import pytest

from quadriga.gpus import visible_gpus
from quadriga.model_config import InstanceGroup
from quadriga.model_version import instance_devices


@pytest.mark.parametrize(
    ("listed", "count"), [("0", 1), ("2, 0", 2), ("GPU-8932f937,MIG-1", 2), ("", 0), ("-1", 0), ("0,-1,1", 1)]
)
def test_the_environment_says_which_are_visible(tmp_path: Path, listed: str, count: int) -> None:
    (tmp_path / "nvidia0").touch()
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": listed}, tmp_path) == range(count)


def test_without_it_every_device_is(tmp_path: Path) -> None:
    assert visible_gpus({}, tmp_path) == range(0)
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert visible_gpus({}, tmp_path) == range(2)


@pytest.mark.parametrize(
    ("group", "gpus", "devices"),
    [
        (InstanceGroup(count=2), 2, ["auto", "auto"]),
        (InstanceGroup(kind="cpu"), 2, ["cpu"]),
        (InstanceGroup(kind="gpu", count=2), 2, ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]),
        (InstanceGroup(kind="gpu"), 0, ["cuda:0"]),
        (InstanceGroup(gpus=(1,)), 2, ["cuda:1"]),
    ],
)
def test_a_group_has_its_workers_on_each_of_its_gpus(group: InstanceGroup, gpus: int, devices: list[str]) -> None:
    assert instance_devices(group, range(gpus)) == devices
