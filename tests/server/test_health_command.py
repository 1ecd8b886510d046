"""`quadriga health` against a server that reports what the test says."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
import pytest
from click.testing import CliRunner, Result
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from quadriga.cli import main
from quadriga_proto.conventions import SERVICE

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Reporting(NamedTuple):
    """A server, and what it reports."""

    port: int
    servicer: HealthServicer


@pytest.fixture
def server() -> Iterator[Reporting]:
    """Is ready, with a model that can answer and one that cannot."""
    servicer = HealthServicer()
    for name, status in {"": SERVING, SERVICE: SERVING, "good": SERVING, "bad": NOT_SERVING}.items():
        servicer.set(name, status)
    server = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield Reporting(port, servicer)
    server.stop(None).wait()


def health(*arguments: str, port: int) -> Result:
    return CliRunner().invoke(main, ["health", *arguments], env={"QUADRIGA_GRPC_PORT": str(port)})


def test_a_server_that_serves(server: Reporting) -> None:
    result = health(port=server.port)
    assert (result.exit_code, result.output) == (0, f"127.0.0.1:{server.port} serves\n")


def test_the_url_counts_more_than_the_port(server: Reporting) -> None:
    assert health("--url", f"127.0.0.1:{server.port}", port=1).exit_code == 0


@pytest.mark.parametrize(
    ("service", "problem"), [("", "is not ready (NOT_SERVING)"), (SERVICE, "has no model that can answer")]
)
def test_a_server_that_does_not(server: Reporting, service: str, problem: str) -> None:
    server.servicer.set(service, NOT_SERVING)
    result = health(port=server.port)
    assert result.exit_code == 1
    assert f"Error: 127.0.0.1:{server.port} {problem}" in result.output


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        (("good",), ""),
        (("good", "bad"), "does not serve model 'bad' (NOT_SERVING)"),
        (("none",), "does not serve model 'none' (SERVICE_UNKNOWN)"),
    ],
)
def test_models_by_name(server: Reporting, models: tuple[str, ...], problem: str) -> None:
    result = health(*models, port=server.port)
    assert result.exit_code == bool(problem)
    assert problem in result.output


@pytest.mark.parametrize(
    ("port", "status", "problem"),
    [("1", 1, "no server answers at 127.0.0.1:1"), ("many", 1, "QUADRIGA_GRPC_PORT is 'many'; expected a number")],
)
def test_nobody_to_ask(port: str, status: int, problem: str) -> None:
    result = CliRunner().invoke(main, ["health", "--timeout", "5"], env={"QUADRIGA_GRPC_PORT": port})
    assert result.exit_code == status
    assert problem in result.output
    assert "Traceback" not in result.output
