"""What a real server tells of the requests that were sent to it, from its page and by its rpc."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from running_server import RunningServer, wait_for, write_fake

from quadriga_client import Client
from quadriga_client.load import server_side
from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import ServerSide
from quadriga_client.load.server_side import PageProbe, ServerProbe, StatisticsProbe, between, describe, find_probe

REQUESTS = 40
ROWS = 3
#: No request of these tests takes longer, so that what is left for transport is seen to be a rest.
SERVICE_MS = 60_000.0


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    repository: Path = tmp_path_factory.mktemp("repository")
    for name in ("echo", "other", "mortal"):
        write_fake(repository, name)
    return start("--repository", str(repository))


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.grpc) as connected:
        yield connected


def send(client: Client, model: str, count: int = REQUESTS) -> None:
    for _ in range(count):
        client.infer(model, np.ones((ROWS, 4), np.float32))


def phases(side: ServerSide) -> list[float]:
    values = (side.queue_ms, side.assembly_ms, side.compute_ms, side.response_ms, side.transport_ms)
    known = [value for value in values if value is not None]
    assert len(known) == len(values)
    return known


@pytest.fixture(params=["page", "rpc"])
def probe(request: pytest.FixtureRequest, server: RunningServer, client: Client) -> ServerProbe:
    found = find_probe(client, "echo", "", server.http if request.param == "page" else None)
    assert isinstance(found, PageProbe if request.param == "page" else StatisticsProbe)
    return found


def test_the_server_tells_of_as_many_requests_as_were_sent(client: Client, probe: ServerProbe) -> None:
    before = probe.read()
    send(client, "echo")
    send(client, "other", 5)
    side = between(before, probe.read(), sent=REQUESTS, mean_service_ms=SERVICE_MS, under_way=0)
    assert (side.requests, side.only_ours, side.rows_per_batch, side.note) == (REQUESTS, True, ROWS, "")
    assert min(phases(side)) > 0
    assert sum(phases(side)) == pytest.approx(SERVICE_MS, abs=1e-6)


def test_somebody_elses_requests_show(client: Client, probe: ServerProbe) -> None:
    before = probe.read()
    send(client, "echo")
    side = between(before, probe.read(), sent=REQUESTS - 10, mean_service_ms=SERVICE_MS)
    assert (side.requests, side.only_ours, side.transport_ms) == (REQUESTS, False, None)


def test_the_page_tells_of_processes_too(server: RunningServer, client: Client) -> None:
    probe = find_probe(client, "echo", "1", f"http://{server.http}/metrics")
    assert probe is not None
    before = probe.read()
    send(client, "echo", 5)
    side = between(before, probe.read(), sent=5, mean_service_ms=SERVICE_MS)
    assert side.cpu_ms is not None
    assert side.cpu_ms >= 0  # the kernel counts in hundredths of a second
    assert side.memory_mb is not None
    assert side.memory_mb > 1
    facts = describe(probe)
    assert facts.file_bytes is not None
    assert 0 < facts.file_bytes < 1000
    for value in (facts.load_seconds, facts.memory_bytes, facts.server_memory_bytes, facts.cpu_seconds):
        assert value is not None
        assert value > 0


def test_the_page_is_found_at_its_default_port(
    server: RunningServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_side, "DEFAULT_HTTP_PORT", int(server.http.rpartition(":")[2]))
    monkeypatch.setattr(server_side, "_GUESS_SECONDS", 30.0)
    assert find_probe(client, "echo", "", None) == PageProbe(f"http://{server.http}/metrics?model=echo", "echo", "1")


def test_the_grpc_port_has_no_page(server: RunningServer, client: Client) -> None:
    with pytest.raises(LoadError, match=f"http://{server.grpc}/metrics"):
        find_probe(client, "echo", "", server.grpc)


def test_a_worker_that_was_replaced_is_told(server: RunningServer, client: Client) -> None:
    probe = find_probe(client, "mortal", "", server.http)
    assert probe is not None
    before = probe.read()
    send(client, "mortal", 5)
    old = server.worker_of("mortal")
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: server.worker_of("mortal") != old, "another worker")
    send(client, "mortal", 5)
    side = between(before, probe.read(), sent=10, mean_service_ms=SERVICE_MS)
    assert (side.requests, side.cpu_ms) == (10, None)
    assert side.note == "a worker was replaced meanwhile, so that its CPU time is not known"
