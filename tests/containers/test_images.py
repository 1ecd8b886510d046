"""The CPU images as they are run: hardened, healthy, answering, and ended by SIGTERM."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from docker_engine import Engine
from running_container import Container, running, zombies
from running_server import wait_for

from quadriga_client import Client

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
MB = 1_000_000
#: Image -> the models of the demo repository that it is to serve, and its largest size in bytes.
IMAGES = {
    "onnx": (("same_onnx",), 350 * MB),
    "torch": (("same_torchscript",), 1_200 * MB),
    "tensorflow": (("same_savedmodel", "same_keras"), 2_200 * MB),
    "all": (("same_onnx", "same_torchscript", "same_savedmodel", "same_keras"), 3_000 * MB),
}
USER = "10001"


@pytest.fixture(params=IMAGES)
def served(
    request: pytest.FixtureRequest,
    engine: Engine,
    network: tuple[str, ...],
    built: Callable[[str], str],
    demo_repository: Path,
) -> Iterator[tuple[str, Container]]:
    """An image with a healthy container of it that serves all its models."""
    target: str = request.param
    volumes = [f"--volume={demo_repository}/{model}:/models/{model}:ro" for model in IMAGES[target][0]]
    with running(engine, built(target), *network, *volumes, "--memory", "6g") as container:
        container.wait_for_health("healthy")
        yield target, container


def test_an_image_serves_hardened_and_ends_at_sigterm(engine: Engine, served: tuple[str, Container]) -> None:
    target, container = served
    models, most_bytes = IMAGES[target]
    with Client(container.address(8001), timeout=60) as client:
        for model in models:
            result = client.infer(model, np.zeros((2, 32, 32, 3), np.float32))
            assert next(iter(result.outputs.values())).shape == (2, 10)
    assert container.execute("id", "-u").strip() == USER
    assert container.execute("sh", "-c", "command -v gcc cc g++ ld as || true") == ""
    assert container.execute("ls", "-A", "/root/.cache", "/var/cache/pip", check=False, user="0") == ""
    assert int(engine.run("image", "inspect", "--format", "{{.Size}}", f"quadriga:{target}").stdout) < most_bytes
    assert container.stop() == 0
    assert "quadriga.server  stopped" in container.log()


@pytest.mark.parametrize("served", ["torch"], indirect=True)
def test_the_first_process_reaps_orphans(served: tuple[str, Container]) -> None:
    """Workers that a killed template leaves behind are nobody's children but the container's first process's."""
    _, container = served
    wait_for(lambda: pids_of(container, "quadriga.workers.template"), "a template", 60)
    (template,) = pids_of(container, "quadriga.workers.template")
    (worker,) = pids_of(container, "quadriga.workers.process")
    container.execute("sh", "-c", f"kill -9 {worker}")  # the next one is the template's
    wait_for(lambda: worker not in processes(container) and container.health() == "healthy", "another worker", 60)
    container.execute("sh", "-c", f"kill -9 {template}")
    wait_for(lambda: template not in processes(container) and not zombies(container), "all to be reaped", 60)
    with Client(container.address(8001), timeout=60) as client:
        client.infer("same_torchscript", np.zeros((1, 32, 32, 3), np.float32))


def processes(container: Container) -> dict[int, str]:
    """The command lines of its processes, by their ids in it."""
    listed = container.execute(
        "sh", "-c", "for p in /proc/[0-9]*; do echo ${p#/proc/} $(tr '\\0' ' ' <$p/cmdline); done 2>/dev/null"
    )
    return {int(match[1]): match[2] for match in re.finditer(r"^(\d+) (.*)$", listed, re.MULTILINE)}


def pids_of(container: Container, module: str) -> list[int]:
    return [pid for pid, command in processes(container).items() if module in command]


def test_a_change_of_the_code_rebuilds_the_last_layer_alone(
    engine: Engine, context: Path, built: Callable[[str], str], tmp_path: Path
) -> None:
    before = layers(engine, built("onnx"))
    changed = tmp_path / "changed"
    shutil.copytree(context, changed)
    with (changed / "server" / "quadriga" / "server.py").open("a") as file:
        file.write("# changed\n")
    engine.build(changed, "quadriga:changed", "--file", str(changed / "docker" / "Dockerfile"), "--target", "onnx")
    after = layers(engine, "quadriga:changed")
    engine.run("image", "rm", "quadriga:changed")
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]


def layers(engine: Engine, image: str) -> list[str]:
    return engine.run("image", "inspect", "--format", '{{join .RootFS.Layers "\\n"}}', image).stdout.split()


def test_a_bill_of_materials_has_the_packages_of_debian_and_of_python(
    engine: Engine, built: Callable[[str], str], context: Path
) -> None:
    built("onnx")
    tools = f"CONTAINERS={ROOT / '.venv' / 'containers'}"
    command = ["make", "--no-print-directory", "sbom", "IMAGES=onnx", tools]
    result = subprocess.run(
        command, cwd=context, env=dict(engine.environment), capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stdout + result.stderr
    bill = json.loads((context / "sbom" / "onnx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    packages = {each["name"]: each.get("version") for each in bill["components"]}
    pins = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert {name: packages.get(name) for name in ("onnxruntime", "grpcio")} == {
        name: pins[name] for name in ("onnxruntime", "grpcio")
    }
    assert packages.keys() >= {"quadriga", "libc6"}
