"""Fixtures that tests of several packages share: the demo models, and real servers of which nothing may be left."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from running_server import RunningServer

# The machine that runs the tests may be busy: no example is wrong for being slow.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

DEMO_REPOSITORY = Path(__file__).parents[1] / "models" / "repository"


@pytest.fixture(scope="session")
def demo_repository() -> Path:
    """The demo models that `make models` writes."""
    if not (DEMO_REPOSITORY / "same_onnx").is_dir():
        pytest.fail(f"{DEMO_REPOSITORY} is not complete; run `make models`")
    return DEMO_REPOSITORY


@pytest.fixture(scope="module", params=["native", "grpcio"])
def transport(request: pytest.FixtureRequest) -> str:
    """Which gRPC server carries the service: what is true of one has to be true of the other."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def start(transport: str) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers; at the end of the module all are stopped, and nothing may be left of them."""
    servers: list[RunningServer] = []

    def start_server(*arguments: str, **options: object) -> RunningServer:
        server = RunningServer("--transport", transport, *arguments, **options)  # type: ignore[arg-type]
        servers.append(server)
        return server

    try:
        yield start_server
    finally:
        running = [server for server in servers if server.process.poll() is None]
        for server in servers:
            server.stop()
    assert all(server.process.returncode == 0 for server in running)
