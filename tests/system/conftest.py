"""Fixtures of the system tests: real servers on either transport, and the check that nothing of them is left."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chromium import Chromium, installed
from running_server import RunningServer, write_fake


@pytest.fixture(scope="session", autouse=True)
def _fonts() -> None:
    """On a fresh machine matplotlib looks for fonts, and says so where that takes long: not in a test's command."""
    importlib.import_module("matplotlib.font_manager")


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


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one model, "echo"; modules that need others have a fixture of that name of their own."""
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "echo")
    return repository


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A real browser, for tests of pages."""
    program = installed()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with Chromium(program, tmp_path_factory.mktemp("chromium")) as running:
        yield running
