"""The CPU images as they are run: hardened, healthy, answering, and ended by SIGTERM."""

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from docker_engine import Engine
from running_container import Container, running, zombies
from running_server import metric_of, wait_for, write_fake

from quadriga.confinement import lacking
from quadriga_client import Client

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "containers.md"
MB = 1_000_000
#: Image -> the models of the demo repository that it is to serve.
IMAGES = {
    "onnx": ("same_onnx",),
    "torch": ("same_torchscript",),
    "tensorflow": ("same_savedmodel", "same_keras"),
    "all": ("same_onnx", "same_torchscript", "same_savedmodel", "same_keras"),
}
#: In bytes, whatever the base.
MOST_BYTES = {"onnx": 350 * MB, "all": 3_000 * MB}
#: By how much an image may differ from what docs/containers.md says of it: another base, other versions of packages.
SIZE_DIFFERS = 0.05
#: How long a request is computed on which a container is stopped.
IN_HAND_SECONDS = 3.0
#: It is made last, and lets all else on the machine run first.
TEMPLATE_SECONDS = 120.0
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
    volumes = [f"--volume={demo_repository}/{model}:/models/{model}:ro" for model in IMAGES[target]]
    with running(engine, built(target), *network, *volumes, "--memory", "6g") as container:
        container.wait_for_health("healthy")
        yield target, container


def test_an_image_serves_hardened_and_ends_at_sigterm(engine: Engine, served: tuple[str, Container]) -> None:
    target, container = served
    with Client(container.address(8001), timeout=60) as client:
        for model in IMAGES[target]:
            result = client.infer(model, np.zeros((2, 32, 32, 3), np.float32))
            assert next(iter(result.outputs.values())).shape == (2, 10)
    assert container.execute("id", "-u").strip() == USER
    assert container.execute("sh", "-c", "command -v gcc cc g++ ld as || true") == ""
    assert container.execute("sh", "-c", "ls -A ~root/.cache /var/cache/pip", check=False, user="0") == ""
    assert container.stop() == 0
    assert "quadriga.server  stopped" in container.log()


@pytest.mark.parametrize("target", [*IMAGES, "load"])
def test_an_image_is_as_large_as_its_page_says(engine: Engine, built: Callable[[str], str], target: str) -> None:
    # An image's own size is that of its layers for some of an engine's stores, and more for others.
    layers = engine.run("history", "--human=false", "--format", "{{.Size}}", built(target)).stdout
    size = sum(map(int, layers.split()))
    ((number, unit),) = re.findall(rf"^\| `{target}` \|.*\| ([\d.]+) (MB|GB) \|$", PAGE.read_text(), re.MULTILINE)
    assert size == pytest.approx(float(number) * (1000 * MB if unit == "GB" else MB), rel=SIZE_DIFFERS)
    assert size < MOST_BYTES.get(target, size + 1)


@pytest.mark.skipif(bool(lacking()), reason="this machine's kernel cannot confine a process wholly")
def test_confined_workers_serve_in_a_hardened_container(
    engine: Engine, network: tuple[str, ...], built: Callable[[str], str], demo_repository: Path
) -> None:
    volumes = [f"--volume={demo_repository}/{model}:/models/{model}:ro" for model in IMAGES["all"]]
    required = ("--env", "QUADRIGA_CONFINE_WORKERS=required", "--memory", "6g")
    with running(engine, built("all"), *network, *volumes, *required) as container:
        container.wait_for_health("healthy")
        with Client(container.address(8001), timeout=60) as client:
            for model in IMAGES["all"]:
                client.infer(model, np.zeros((2, 32, 32, 3), np.float32))


def test_a_request_in_hand_is_answered_at_sigterm(
    engine: Engine, network: tuple[str, ...], built: Callable[[str], str], tmp_path: Path
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o711)
    write_fake(tmp_path / "models", "slow", {"sleep_ms": 1000 * IN_HAND_SECONDS})
    with (
        running(engine, built("onnx"), *network, f"--volume={tmp_path}/models:/models:ro") as container,
        ThreadPoolExecutor(2) as threads,
    ):
        container.wait_for_health("healthy")
        with Client(container.address(8001), timeout=60) as client:
            answer = threads.submit(client.infer, "slow", np.ones((1, 4), np.float32))
            wait_for(lambda: in_flight(container) or answer.done(), "the request to be with the worker", 30)
            assert not answer.done()
            status = threads.submit(container.stop)
            assert answer.result(60).outputs["x"].tolist() == [[1, 1, 1, 1]]
            assert status.result(60) == 0


def in_flight(container: Container) -> bool:
    """Whether a worker of it has a batch in hand."""
    with urllib.request.urlopen(f"http://{container.address(8000)}/metrics", timeout=10) as page:
        return metric_of(page.read().decode(), "quadriga_batches_in_flight") == 1


@pytest.mark.parametrize("served", ["torch"], indirect=True)
def test_the_first_process_reaps_orphans(served: tuple[str, Container]) -> None:
    """Workers that a killed template leaves behind are nobody's children but the container's first process's."""
    _, container = served
    wait_for(lambda: "template of torchscript is ready" in container.log(), "a template", TEMPLATE_SECONDS)
    (template,) = pids_of(container, "quadriga.workers.template")
    (worker,) = pids_of(container, "quadriga.workers.process")
    container.execute("sh", "-c", f"kill -9 {worker}")  # the next one is the template's
    wait_for(lambda: container.log().count("same_torchscript/1 is ready") == 2, "another worker", 60)
    assert worker not in processes(container)
    container.execute("sh", "-c", f"kill -9 {template}")
    wait_for(lambda: template not in processes(container) and not zombies(container), "all to be reaped", 60)
    with Client(container.address(8001), timeout=60) as client:
        wait_for(lambda: client.ready("same_torchscript"), "a third worker", 60)
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
