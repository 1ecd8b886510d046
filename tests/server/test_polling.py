"""What the poller makes of a changed repository: a real folder, and a registry that notes what it is asked to do."""

import asyncio
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from running_server import write_fake

from quadriga.config import ServerConfig
from quadriga.errors import ConfigError
from quadriga.model_files import ModelFiles
from quadriga.model_version import State
from quadriga.polling import Poller
from quadriga.registry import ModelRegistry
from quadriga.repository import scan


class Registry:
    """Takes every model for loaded as soon as it is asked to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.versions: list[SimpleNamespace] = []
        self.loaded: list[str] = []
        self.unloaded: list[str] = []
        self.forgotten: list[str] = []
        self.state_of_new = State.READY

    def of(self, name: str) -> list[SimpleNamespace]:
        return [version for version in self.versions if version.name == name]

    async def load(self, found: Iterable[ModelFiles]) -> None:
        for model in found:
            self.loaded.append(model.name)
            for files in model.versions:
                version = SimpleNamespace(name=model.name, version=files.version, state=self.state_of_new)
                self.versions = [old for old in self.versions if (old.name, old.version) != (model.name, files.version)]
                self.versions.append(version)

    async def unload(self, versions: Sequence[SimpleNamespace], drain_seconds: float) -> None:
        for version in versions:
            self.versions.remove(version)
            self.unloaded.append(f"{version.name}/{version.version}")

    def forget(self, name: str) -> None:
        self.forgotten.append(name)


class Polled:
    """A repository with models "a" and "b" that a server has loaded, and its poller."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        for name in ("a", "b"):
            write_fake(repository, name)
        self.registry = Registry()
        self.config = ServerConfig(repositories=(repository,), model_control="poll", poll_seconds=7)
        found = scan(self.config.repositories)
        asyncio.run(self.registry.load(found))
        self.registry.loaded.clear()
        self.poller = Poller(self.config, cast("ModelRegistry", self.registry), found)

    def look(self) -> tuple[list[str], list[str]]:
        """Looks once; what was loaded and unloaded then."""
        self.registry.loaded, self.registry.unloaded = [], []
        asyncio.run(self.poller.look())
        return self.registry.loaded, self.registry.unloaded

    def add_version(self, name: str, version: int) -> None:
        folder = self.repository / name
        shutil.copytree(folder / "1", folder / str(version))


@pytest.fixture
def polled(tmp_path: Path) -> Polled:
    return Polled(tmp_path / "repository")


def test_nothing_happens_where_nothing_changed(polled: Polled) -> None:
    assert polled.look() == ([], [])


def test_a_model_that_appears_is_loaded_once(polled: Polled) -> None:
    write_fake(polled.repository, "c")
    assert polled.look() == (["c"], [])
    assert polled.look() == ([], [])


def test_a_file_that_is_written_anew_is_loaded_anew(polled: Polled) -> None:
    write_fake(polled.repository, "b", {"labels": ["other"]})
    assert polled.look() == (["b"], [])


def test_a_new_version_takes_the_place_of_the_old_one(polled: Polled) -> None:
    polled.add_version("a", 2)
    assert polled.look() == (["a"], ["a/1"])


def test_an_old_version_stays_until_the_new_one_serves(polled: Polled) -> None:
    polled.registry.state_of_new = State.UNAVAILABLE
    polled.add_version("a", 2)
    assert polled.look() == (["a"], [])
    (bad,) = (version for version in polled.registry.versions if version.version == 2)
    bad.state = State.READY
    assert polled.look() == ([], ["a/1"])


def test_a_model_that_can_no_longer_be_read_goes_on_serving(polled: Polled) -> None:
    (polled.repository / "a" / "model.toml").write_text("max_batch_size = [")
    assert polled.look() == (["a"], [])
    assert [version.name for version in polled.registry.versions] == ["a", "b"]


def test_a_model_that_is_gone_is_unloaded_with_all_its_versions(polled: Polled) -> None:
    shutil.rmtree(polled.repository / "a")
    assert polled.look() == ([], ["a/1"])
    assert polled.registry.forgotten == ["a"]
    assert polled.look() == ([], [])


def test_a_missing_repository_unloads_nothing(polled: Polled, tmp_path: Path) -> None:
    away = polled.repository.rename(tmp_path / "away")
    with pytest.raises(ConfigError, match="repository"):
        polled.look()
    assert polled.registry.unloaded == []
    away.rename(polled.repository)
    assert polled.look() == ([], [])


def test_a_look_that_fails_is_logged_and_followed_by_another(
    polled: Polled, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = iter([ConfigError("not mounted"), OSError("a surprise"), asyncio.CancelledError()])
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def look() -> None:
        raise next(outcomes)

    monkeypatch.setattr("quadriga.polling.asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(polled.poller, "look", look)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(polled.poller.run())
    assert waits == [7, 7, 7]
    assert "not mounted" in caplog.text
    assert "a surprise" in caplog.text
