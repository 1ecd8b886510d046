"""Fixtures of the system tests: real servers, and the check that nothing of them is left."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from running_server import RunningServer, is_alive, wait_for

DEMO_REPOSITORY = Path(__file__).parents[2] / "models" / "repository"


def shared_memory() -> set[str]:
    """Named segments on this machine."""
    folder = Path("/dev/shm")
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def slab_holders() -> list[psutil.Process]:
    """Processes that have one of our anonymous segments open."""
    holders = []
    for process in psutil.process_iter():
        try:
            links = [os.readlink(entry) for entry in Path(f"/proc/{process.pid}/fd").iterdir()]
        except OSError:
            continue
        if any("memfd:quadriga-slab" in link for link in links) and is_alive(process):
            holders.append(process)
    return holders


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., RunningServer]]:
    """Starts servers; at the end of the module all are stopped, and nothing may be left of them."""
    before = shared_memory()
    servers: list[RunningServer] = []

    def start_server(*arguments: str, **options: object) -> RunningServer:
        server = RunningServer(*arguments, **options)  # type: ignore[arg-type]
        servers.append(server)
        return server

    try:
        yield start_server
    finally:
        statuses = [server.stop() for server in servers if server.process.poll() is None]
    assert all(status == 0 for status in statuses)
    ours = {server.process.pid for server in servers}
    assert not ours & {process.pid for process in slab_holders()}
    wait_for(lambda: shared_memory() <= before, "named shared memory to go")


@pytest.fixture(scope="session")
def demo_repository() -> Path:
    """The demo models that `make models` writes."""
    if not (DEMO_REPOSITORY / "same_onnx").is_dir():
        pytest.fail(f"{DEMO_REPOSITORY} is not complete; run `make models`")
    return DEMO_REPOSITORY
