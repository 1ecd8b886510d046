"""The targets that bring the stack up, with a stand-in for Docker: what they ask of it, and do with its answers."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())["services"]
GRAFANA = SERVICES["grafana"]["image"].partition(":-")[2].rstrip("}")
LOADS = {name for name, service in SERVICES.items() if service.get("profiles") == ["load"]}
#: Notes what it is called with; fails where the arguments are among those that FAILING lists, separated by "|".
DOCKER = """#!/bin/sh
echo "LOAD_RATE=$LOAD_RATE $*" >>"$CALLS"
echo "$FAILING" | tr '|' '\\n' | grep -qxF -- "$*" && exit 1
exit 0
"""
INSPECT = f"image inspect {GRAFANA}"
PULL = "compose --file docker/compose.yml pull grafana"
UP = "compose --file docker/compose.yml up --detach --wait --no-build grafana"
SERVER_UP = "compose --file docker/compose.yml up --detach --wait --no-build server prometheus"


def make(folder: Path, *arguments: str, failing: tuple[str, ...] = ()) -> tuple[int, str, list[str]]:
    """Runs make; returns its exit status, what it printed, and the calls of Docker, each after its LOAD_RATE."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    docker, calls = folder / "docker", folder / "calls"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    ours = ("MAKE", "QUADRIGA_", "GRAFANA_", "LOAD_", "COMPOSE", "DOCKER", "BUILD_ARGS")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environment |= {"CALLS": str(calls), "FAILING": "|".join(failing)}
    command = ["make", "--no-print-directory", f"DOCKER={docker}", "QUADRIGA_MODELS=/models", *arguments]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    return result.returncode, result.stdout + result.stderr, calls.read_text().splitlines()


@pytest.mark.parametrize(
    ("failing", "succeeds", "without", "pulls"),
    [
        ((), True, False, False),
        ((INSPECT,), True, False, True),
        ((INSPECT, PULL), True, True, True),
        ((UP,), False, False, False),
        ((INSPECT, UP), False, False, True),
        ((SERVER_UP,), False, False, False),
    ],
    ids=["there", "pulled", "not to be had", "there but broken", "pulled but broken", "no server"],
)
def test_up_goes_without_grafana_only_where_its_image_cannot_be_had(
    tmp_path: Path, failing: tuple[str, ...], succeeds: bool, without: bool, pulls: bool
) -> None:
    status, printed, calls = make(tmp_path, "up", failing=failing)
    assert (status == 0) is succeeds, printed
    assert (f"there is no Grafana: {GRAFANA} cannot be pulled" in printed) is without
    assert any(call.endswith(PULL) for call in calls) is pulls
    assert any(call.endswith(UP) for call in calls) is (not without and SERVER_UP not in failing)


def test_another_image_of_grafana_is_looked_for(tmp_path: Path) -> None:
    status, _, calls = make(tmp_path, "up", "GRAFANA_IMAGE=registry.example/grafana:1")
    assert status == 0
    assert any(call.endswith("image inspect registry.example/grafana:1") for call in calls)


def test_load_starts_the_loads_and_leaves_the_server_alone(tmp_path: Path) -> None:
    status, printed, calls = make(tmp_path, "load", "LOAD_RATE=50")
    assert status == 0, printed
    (call,) = calls
    assert call.startswith("LOAD_RATE=50 ")
    assert "--no-deps" in call
    assert {word for word in call.split() if word in SERVICES} == LOADS


@pytest.mark.parametrize(("image", "gpus"), [("onnx-gpu", True), ("onnx", False)])
def test_an_image_for_gpus_gets_them(tmp_path: Path, image: str, gpus: bool) -> None:
    status, printed, calls = make(tmp_path, "up", f"QUADRIGA_IMAGE={image}")
    assert status == 0, printed
    (server,) = [call for call in calls if call.endswith("server prometheus")]
    assert ("--file docker/compose.yml --file docker/compose.gpu.yml up" in server) is gpus
