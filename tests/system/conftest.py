"""Fixtures of the system tests."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, installed
from running_server import write_fake


@pytest.fixture(scope="session", autouse=True)
def _fonts() -> None:
    """On a fresh machine matplotlib looks for fonts, and says so where that takes long: not in a test's command."""
    importlib.import_module("matplotlib.font_manager")


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
