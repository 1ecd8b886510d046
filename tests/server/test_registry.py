"""The models that a server knows: which version a request gets, and what a load, a swap and an unload leave behind."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from fake_time import in_a_loop

from quadriga.confinement import ConfinementPolicy
from quadriga.errors import InvalidInput, LoadFailed, ModelNotFound, ModelNotReady, NoVersionAvailable, ShuttingDown
from quadriga.model_config import ModelConfig
from quadriga.model_files import ModelFiles, ModelVersionFiles
from quadriga.model_version import ModelVersion, State
from quadriga.registry import ModelRegistry, parse_version
from quadriga.workers.templates import Templates

BAD = Path("bad")
SLOW = Path("slow")


class FakeVersion:
    """A version without workers; what lies at `BAD` cannot be loaded, and at `SLOW` has requests that never end."""

    def __init__(
        self,
        model: ModelFiles,
        files: ModelVersionFiles,
        config: ModelConfig,
        templates: Templates,
        on_change: Callable[[Any], None],
        confinement: ConfinementPolicy,
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

    @property
    def admits(self) -> bool:
        return self.state is State.READY or (self.state is State.LOADING and self.loaded)

    def withdraw(self) -> None:
        self.change(State.UNLOADING, "unloading")

    async def unload(self, drain_seconds: float) -> None:
        if self.state is not State.UNLOADING:
            self.withdraw()
        if self.files.path == SLOW and drain_seconds:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        self.unloaded.set()
        self.change(State.UNAVAILABLE, "unloaded")

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
    models.forget("other")
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
async def test_all_versions_of_a_model_are_replaced_in_one_step() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="a", v2="b")])
    old = models.versions("m")
    seen: list[list[Path]] = []
    loading = asyncio.create_task(models.replace(model("m", v2="c", v3="d")))
    while not loading.done():
        seen.append([version.files.path for version in models.versions("m")])
        await asyncio.sleep(0)
    assert seen == [[Path("a"), Path("b")]] * len(seen)
    assert [version.files.path for version in models.versions("m")] == [Path("c"), Path("d")]
    assert models.ready("m", "").version == 3
    with pytest.raises(ModelNotFound):
        models.ready("m", "1")
    await loading.result()
    assert all(fake(version).unloaded.is_set() for version in old)


@in_a_loop
async def test_one_version_that_fails_leaves_all_that_served() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="a")])
    old = models.ready("m", "")
    with pytest.raises(LoadFailed, match="'m' cannot be loaded, and what it had goes on serving: version 3: it is bad"):
        await models.replace(model("m", v2="b", v3=BAD))
    assert models.all() == [old]
    assert models.ready("m", "") is old


@in_a_loop
async def test_a_first_load_that_fails_keeps_the_reason_and_serves_nothing() -> None:
    models = ModelRegistry()
    with pytest.raises(LoadFailed, match="it is unavailable: version 2: it is bad"):
        await models.replace(model("m", v1="a", v2=BAD))
    (failed,) = models.all()
    assert (failed.version, failed.state, failed.reason) == (2, State.UNAVAILABLE, "it is bad")
    await models.replace(model("m", v2="mended"))
    assert models.ready("m", "").files.path == Path("mended")
    with pytest.raises(LoadFailed, match="no folder"):
        await models.replace(ModelFiles(name="n", directory=Path("n"), error="no folder"))
    assert models.broken() == {"n": "no folder"}
    models.forget("n")
    models.forget("m")  # which serves, and so stays
    assert (models.broken(), len(models.all())) == ({}, 1)


@in_a_loop
async def test_a_withdrawn_model_is_refused_at_once_and_remembered_until_it_is_loaded_again() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="a", v2="b")])
    gone = models.withdraw("m")
    with pytest.raises(NoVersionAvailable):
        models.ready("m", "")
    with pytest.raises(ModelNotReady, match="UNLOADING"):
        models.ready("m", "1")
    await gone
    assert (models.all(), models.unloaded()) == ([], {"m": (1, 2)})
    with pytest.raises(NoVersionAvailable, match="unloaded"):
        models.ready("m", "")
    with pytest.raises(ModelNotReady, match="version 2 is unloaded"):
        models.ready("m", "2")
    with pytest.raises(ModelNotFound):
        models.ready("m", "3")
    await models.withdraw("m")
    await models.withdraw("nobody")
    assert models.unloaded() == {"m": (1, 2)}
    await models.replace(model("m", v1="a"))
    assert (models.ready("m", "").version, models.unloaded()) == (1, {})


@in_a_loop
async def test_a_load_does_not_wait_for_the_requests_of_what_is_being_unloaded() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1=SLOW)])
    old = models.ready("m", "")
    gone = models.withdraw("m")
    await models.replace(model("m", v1="new"))
    assert models.ready("m", "").files.path == Path("new")
    assert not gone.done()
    await models.close()
    assert gone.cancelled()
    assert fake(old).unloaded.is_set()
    assert (models.all(), models.unloaded()) == ([], {})


@in_a_loop
async def test_a_load_that_is_given_up_leaves_nothing_once_the_server_closes() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="old")])
    loading = asyncio.create_task(models.replace(model("m", v1="a", v2="b")))
    await asyncio.sleep(0)
    apart = list(models._apart)
    loading.cancel()
    await asyncio.wait({loading})
    await models.close()
    assert len(apart) == 2
    assert all(fake(version).unloaded.is_set() for version in apart)
    assert models.all() == []


@in_a_loop
async def test_a_draining_server_refuses_what_it_serves() -> None:
    models = ModelRegistry()
    await models.load([model("m", v1="a")])
    models.draining = True
    with pytest.raises(ShuttingDown):
        models.ready("m", "")
    assert models.find("m", "").version == 1


def test_what_the_start_is_about_to_load_is_not_unknown() -> None:
    models = ModelRegistry()
    models.awaited = {"m"}
    with pytest.raises(ModelNotReady, match="starting"):
        models.ready("m", "")
    with pytest.raises(ModelNotFound):
        models.ready("n", "")


@in_a_loop
async def test_every_change_of_state_is_told() -> None:
    told: list[tuple[str, State]] = []
    models = ModelRegistry(on_change=lambda version: told.append((version.name, version.state)))
    await models.load([model("m", v1="a"), model("n", v1=BAD)])
    assert sorted(told) == [("m", State.READY), ("n", State.UNAVAILABLE)]


@in_a_loop
async def test_the_end_of_a_version_is_told_when_it_is_in_no_list_any_more() -> None:
    listed: list[int] = []
    models = ModelRegistry(on_change=lambda version: listed.append(len(models.all())))
    await models.load([model("m", v1="a")])
    await models.withdraw("m")
    assert listed == [1, 1, 1, 0]  # READY, UNLOADING, UNAVAILABLE, gone


@pytest.mark.parametrize("text", ["0", "-1", "1.0", " 1", "one", "²", "9" * 100])
def test_a_version_is_a_positive_number(text: str) -> None:
    with pytest.raises(InvalidInput, match="positive integer"):
        parse_version(text)


def test_zeros_before_a_version_do_not_count() -> None:
    assert parse_version("007") == 7
