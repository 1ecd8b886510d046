"""The images' and the stack's files: linted where the linters are installed, and held against each other."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import dependencies
import pytest
import yaml

from quadriga.backends import BACKENDS
from quadriga.cli import COMMANDS
from quadriga_proto.conventions import DEFAULT_GRPC_PORT, DEFAULT_HTTP_PORT

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: What an environment is called -> the extras that it is made of.
EXTRAS = {
    name: set(extras.split())
    for extras, name in re.findall(r"dependencies\.py (.*) >/requirements/(\S+)\.txt", DOCKERFILE)
}
STAGES = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))


def images(variable: str) -> list[str]:
    """What `make images` or `make images-gpu` builds."""
    (names,) = re.findall(rf"^{variable} \?= (.*)$", MAKEFILE, re.MULTILINE)
    return str(names).split()


@pytest.mark.parametrize(
    "command",
    [
        ("hadolint", "docker/Dockerfile"),
        ("yamllint", "--strict", "--config-file", "docker/yamllint.yml", "docker"),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker/compose.yml", "docker/compose.gpu.yml"),
        ("trivy", "config", "--skip-check-update", "--severity", "HIGH,CRITICAL", "--exit-code", "1", "docker"),
    ],
    ids=lambda command: command[0],
)
def test_linters_have_nothing_to_say(command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed; `make test-containers` has it")
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_extras_are_followed_and_each_requirement_is_there_once() -> None:
    project = {
        "name": "p",
        "dependencies": ["a"],
        "optional-dependencies": {"x": ["b>=1", "p[y, z]"], "y": ["c", "p[z]"], "z": ["d[e]>=2", "a"]},
    }
    assert dependencies.requirements(project, []) == ["a"]
    assert dependencies.requirements(project, ["x", "z"]) == ["a", "b>=1", "c", "d[e]>=2"]


@pytest.mark.parametrize(
    ("extras", "there", "not_there"),
    [
        (("onnx", "fast"), {"onnxruntime", "uvloop"}, {"torch", "tensorflow", "keras"}),
        (("torch", "fast"), {"torch"}, {"onnxruntime", "tensorflow", "keras"}),
        (("tensorflow", "fast"), {"tensorflow", "keras"}, {"onnxruntime", "torch"}),
        (("onnx-gpu", "torch-gpu"), {"onnxruntime-gpu", "torch"}, {"onnxruntime", "tensorflow"}),
    ],
)
def test_an_image_installs_its_own_frameworks(extras: tuple[str, ...], there: set[str], not_there: set[str]) -> None:
    names = {re.split(r"[\[<>=]", each)[0] for each in dependencies.requirements(PROJECT, extras)}
    assert there <= names
    assert not names & not_there


def test_every_extra_that_the_dockerfile_names_is_one() -> None:
    assert set().union(*EXTRAS.values()) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("name", sorted(EXTRAS.keys() - {"load"}))
def test_what_serves_can_trace_and_on_gpus_tells_of_them(name: str) -> None:
    gpu = name.endswith("-gpu")
    assert EXTRAS[name] & {"otel", "nvml"} == ({"otel", "nvml"} if gpu else {"otel"})
    names = {re.split(r"[\[<>=]", each)[0] for each in dependencies.requirements(PROJECT, sorted(EXTRAS[name]))}
    assert "opentelemetry-sdk" in names
    assert ("nvidia-ml-py" in names) is gpu


def test_every_image_is_a_stage_that_runs_as_nobody_in_particular() -> None:
    for image in [*images("IMAGES"), *images("GPU_IMAGES")]:
        assert image in STAGES
        (stage,) = re.findall(rf"^FROM runtime AS {image}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
        assert re.search(r"^USER 10001$", stage, re.MULTILINE), image


def test_ports_commands_and_backends_are_the_codes() -> None:
    assert f"EXPOSE {DEFAULT_HTTP_PORT} {DEFAULT_GRPC_PORT}\n" in DOCKERFILE
    assert "health" in COMMANDS
    (entries,) = re.findall(r'QUADRIGA_INTERPRETERS="(.*)"', DOCKERFILE)
    assert {entry.partition("=")[0] for entry in entries.split()} <= set(BACKENDS)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_is_confined_and_bounded(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_a_service_waits_for_those_that_it_needs_until_they_are_healthy() -> None:
    needs = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in COMPOSE["services"].items()
    }
    loads = {name for name, service in COMPOSE["services"].items() if service.get("profiles") == ["load"]}
    healthy = "service_healthy"
    assert needs == {"server": {}, "prometheus": {}, "grafana": {"prometheus": healthy}} | {
        name: {"server": healthy} for name in loads
    }
    assert all("healthcheck" in COMPOSE["services"][name] for name in COMPOSE["services"].keys() - loads)


def test_the_server_has_shared_memory_for_clients_that_keep_tensors_there() -> None:
    assert COMPOSE["services"]["server"]["shm_size"]


def test_the_loads_are_on_every_format_of_the_demo_network() -> None:
    commands = [each["command"] for each in COMPOSE["services"].values() if each.get("profiles") == ["load"]]
    assert {command[1] for command in commands} == {"same_onnx", "same_torchscript", "same_savedmodel", "same_keras"}


def test_an_extra_that_is_none_is_told() -> None:
    command = [sys.executable, str(ROOT / "docker" / "dependencies.py"), "onxx"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "there is no extra 'onxx' in pyproject.toml\n"
