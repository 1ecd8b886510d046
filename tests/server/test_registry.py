"""The models that a server knows: which version a request gets, and what a load, a swap and an unload leave behind."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from fake_time import in_a_loop

from quadriga.errors import InvalidInput, ModelNotFound, ModelNotReady, ShuttingDown
from quadriga.model_config import ModelConfig
from quadriga.model_version import ModelVersion, State
from quadriga.registry import ModelRegistry, parse_version
from quadriga.repository import ModelFiles, ModelVersionFiles
from quadriga.workers.templates import Templates

BAD = Path("bad")


class FakeVersion:
    """A version without workers; what lies at `BAD` cannot be loaded."""

    def __init__(
        self,
        model: ModelFiles,
        files: ModelVersionFiles,
        config: ModelConfig,
        templates: Templates,
        on_change: Callable[[Any], None],
    ) -> None:
        self.name, self.version, self.version_text = model.name, files.version, str(files.version)
        self.files = files
        self.state, self.reason, self.loaded = State.LOADING, "loading", False
        self.unloaded = asyncio.Event()
        self._on_change = on_change

    async def load(self, gate: asyncio.Semaphore) -> None:
        await asyncio.sleep(0)
        self.loaded = self.files.path != BAD
        self.change(State.READY if self.loaded else State.UNAVAILABLE, "" if self.loaded else "it is bad")

    async def unload(self, drain_seconds: float) -> None:
        self.change(State.UNLOADING, "unloading")
        await asyncio.sleep(0)
        self.unloaded.set()

    def change(self, state: State, reason: str = "") -> None:
        self.state, self.reason = state, reason
        self._on_change(self)


@pytest.fixture(autouse=True)
def _fake_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quadriga.registry.ModelVersion", FakeVersion)


def model(name: str, **paths: str | Path) -> ModelFiles:
    """A model on disk; `v1="a"` is version 1 at path a."""
    versions = tuple(ModelVersionFiles(version=int(key[1:]), path=Path(path)) for key, path in paths.items())
    return ModelFiles(name=name, directory=Path(name), config=ModelConfig(name=name), versions=versions)


def fake(version: ModelVersion) -> FakeVersion:
    return cast("FakeVersion", version)


@in_a_loop
async def test_a_request_without_a_version_gets_the_newest_ready_one() -> None:
    models = ModelRegistry()
    await models.load([model("m", v9="a", v10="b", v11=BAD)])
    assert models.ready("m", "").version == 10
    assert models.ready("m", "9").version == 9
    assert [version.version for version in models.versions("m")] == [9, 10, 11]
    fake(models.find("m", "10")).change(State.UNAVAILABLE)
    assert models.ready("m", "").version == 9


@in_a_loop
async def test_what_is_not_ready_is_found_and_refused_with_its_reason() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="a", v2=BAD)])
    assert models.find("m", "2").state is State.UNAVAILABLE
    assert models.find("m", "").version == 1
    with pytest.raises(ModelNotReady, match="version 2 is UNAVAILABLE: it is bad"):
        models.ready("m", "2")


@in_a_loop
async def test_a_version_whose_worker_is_being_replaced_goes_on_admitting() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="a")])
    fake(models.find("m", "1")).change(State.LOADING, "its worker was lost")
    assert models.ready("m", "").version == 1
    fake(models.find("m", "1")).change(State.UNAVAILABLE, "it keeps dying")
    with pytest.raises(ModelNotReady, match="it keeps dying"):
        models.ready("m", "1")


@in_a_loop
async def test_the_unknown_is_named_with_what_there_is() -> None:
    models = ModelRegistry()
    with pytest.raises(ModelNotFound, match="'m' is served here; there is: none"):
        models.ready("m", "")
    await models.load([model("a", v1="a"), model("b", v2="b", v3="c")])
    with pytest.raises(ModelNotFound, match="there is: a, b"):
        models.ready("c", "")
    with pytest.raises(ModelNotFound, match="'b' has no version 1; it has 2, 3"):
        models.find("b", "1")
    with pytest.raises(InvalidInput, match="'newest' is not one"):
        models.ready("a", "newest")


@in_a_loop
async def test_a_model_that_could_not_be_tried_is_told_until_it_can_or_is_forgotten() -> None:
    models = ModelRegistry()
    broken = ModelFiles(name="m", directory=Path("m"), error="no version folder")
    await models.load([broken, ModelFiles(name="other", directory=Path("other"))])
    assert models.broken() == {"m": "no version folder", "other": "it has no version"}
    assert models.all() == []
    await models.load([model("m", v1="a")])
    models.forget_broken("other")
    assert models.broken() == {}
    assert models.ready("m", "").version == 1


@in_a_loop
async def test_a_newer_copy_takes_over_when_it_is_ready_and_not_before() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="old")])
    old = models.ready("m", "1")
    loading = asyncio.create_task(models.load([model("m", v1="new")]))
    await asyncio.sleep(0)
    assert models.ready("m", "") is old
    await loading
    fresh = models.ready("m", "")
    assert (fresh.files.path, fresh is old) == (Path("new"), False)
    assert fake(old).unloaded.is_set()
    assert models.all() == [fresh]


@in_a_loop
async def test_a_newer_copy_that_fails_changes_nothing() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="old")])
    old = models.ready("m", "1")
    await models.load([model("m", v1=BAD)])
    assert models.ready("m", "") is old
    assert not fake(old).unloaded.is_set()


@in_a_loop
async def test_a_failed_version_is_replaced_at_once() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1=BAD)])
    await models.load([model("m", v1="mended")])
    assert models.ready("m", "1").files.path == Path("mended")


@in_a_loop
async def test_what_is_unloaded_is_forgotten() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="a", v2="b"), model("n", v1="c")])
    newest = models.ready("m", "2")
    await models.unload([newest], drain_seconds=0)
    assert fake(newest).unloaded.is_set()
    assert models.ready("m", "").version == 1
    await models.unload(models.versions("m"), drain_seconds=0)
    assert [version.name for version in models.all()] == ["n"]
    with pytest.raises(ModelNotFound):
        models.ready("m", "")


@in_a_loop
async def test_a_draining_server_refuses_what_it_serves() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="a")])
    models.draining = True
    with pytest.raises(ShuttingDown):
        models.ready("m", "")
    assert models.find("m", "").version == 1


@in_a_loop
async def test_every_change_of_state_is_told() -> None:
    told: list[tuple[str, State]] = []
    models = ModelRegistry(on_change=lambda version: told.append((version.name, version.state)))
    await models.load([model("m", v1="a"), model("n", v1=BAD)])
    assert sorted(told) == [("m", State.READY), ("n", State.UNAVAILABLE)]


@pytest.mark.parametrize("text", ["0", "-1", "1.0", " 1", "one", "²", "9" * 100])
def test_a_version_is_a_positive_number(text: str) -> None:
    with pytest.raises(InvalidInput, match="positive integer"):
        parse_version(text)


def test_zeros_before_a_version_do_not_count() -> None:
    assert parse_version("007") == 7
