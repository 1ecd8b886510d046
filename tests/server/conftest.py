"""Fixtures that unit tests of the server share: a folder that stands for /dev/shm, and a region in it."""

from pathlib import Path

import pytest

from quadriga import client_memory
from quadriga.client_memory import ClientMemory


@pytest.fixture
def shm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for /dev/shm."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(client_memory, "FOLDER", folder)
    return folder


@pytest.fixture
def file(shm: Path) -> Path:
    """A client's shared memory, 64 bytes; modules that read it have a fixture of that name with bytes of their own."""
    file = shm / "file"
    file.write_bytes(b"-" * 64)
    return file


@pytest.fixture
def memory(file: Path) -> ClientMemory:
    """Region "r" is all of `file`."""
    memory = ClientMemory()
    memory.register("r", "/file", 0, file.stat().st_size)
    return memory
