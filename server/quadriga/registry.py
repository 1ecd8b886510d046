"""The models that the server knows, by name and version: finds, loads, swaps and unloads them. Server process."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Final

from quadriga.confinement import ConfinementPolicy
from quadriga.errors import (
    InvalidInput,
    LoadFailed,
    ModelNotFound,
    ModelNotReady,
    NoVersionAvailable,
    ShuttingDown,
    shown,
)
from quadriga.model_config import ModelConfig
from quadriga.model_files import MOST_VERSION_DIGITS, ModelFiles, ModelVersionFiles
from quadriga.model_version import ModelVersion, State
from quadriga.workers.templates import Templates

log = logging.getLogger("quadriga.registry")

#: For the requests that a version still holds when a newer copy of it has taken over.
SWAP_DRAIN_SECONDS: Final = 60.0


class ModelRegistry:
    """Every model that the server knows.

    Attributes:
        awaited: Models that the server's start is about to load: until they are known, they are not unknown.
        draining: Whether the server takes no new requests any more.
    """

    def __init__(
        self,
        templates: Templates | None = None,
        on_change: Callable[[ModelVersion], None] = lambda version: None,
        confinement: ConfinementPolicy | None = None,
    ) -> None:
        """Starts empty.

        Args:
            templates: What workers are forked from; without, all are spawned.
            on_change: Hears of every change of a version's state, and of its end.
            confinement: Of the workers; without, there is none.
        """
        self.awaited: Set[str] = frozenset()
        self.draining = False
        self._templates = templates or Templates(enabled=False)
        self._on_change = on_change
        self._confinement = confinement or ConfinementPolicy()
        self._models: dict[str, dict[int, ModelVersion]] = {}
        self._broken: dict[str, str] = {}
        self._ready: dict[tuple[str, str], ModelVersion] = {}
        self._unloaded: dict[str, tuple[int, ...]] = {}
        # Versions that are in no table and may have workers: a newer copy that loads, an older one that ends.
        self._apart: set[ModelVersion] = set()
        self._retirements: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(max(os.cpu_count() or 1, 2))

    def ready(self, name: str, version: str) -> ModelVersion:
        """The version that a request means and that can answer it; an empty `version` is the newest ready one.

        Raises:
            RequestError: There is none, with the reason.
        """
        found = self._ready.get((name, version))
        if found is None or self.draining:
            return self._ready_by_number(name, version)
        return found

    def find(self, name: str, version: str) -> ModelVersion:
        """The version that a request means, ready or not; an empty `version` is the newest, ready ones first.

        Raises:
            RequestError: No such model or version is known, or `version` is not a number.
        """
        number = parse_version(version) if version else None
        if number in self._unloaded.get(name, ()):
            raise ModelNotReady(f"model {name!r} version {number} is unloaded; load the model again")
        versions = self._versions(name)
        if number is not None:
            if number not in versions:
                known = ", ".join(map(str, sorted(versions)))
                raise ModelNotFound(f"model {name!r} has no version {number}; it has {known}")
            return versions[number]
        return self._ready.get((name, "")) or versions[max(versions)]

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model, ascending.

        Raises:
            ModelNotFound: No such model is known.
        """
        return [version for _, version in sorted(self._versions(name).items())]

    @property
    def answers(self) -> bool:
        """Whether any version of any model takes requests."""
        return bool(self._ready)

    def of(self, name: str) -> list[ModelVersion]:
        """All versions of a model; none where no such model is known."""
        return list(self._models.get(name, {}).values())

    def all(self) -> list[ModelVersion]:
        """Every version of every model, by name and number."""
        return [version for name in sorted(self._models) for version in self.versions(name)]

    def drop_dead(self) -> None:
        """Ends the requests that wait in queues and for which nobody waits any more."""
        for version in (*self.all(), *self._apart):
            if version.loaded:
                version.scheduler.drop_dead()

    def names(self) -> set[str]:
        """Every model that is known or remembered."""
        return {*self._models, *self._broken, *self._unloaded}

    def unloaded(self) -> dict[str, tuple[int, ...]]:
        """The versions of models that were withdrawn, ascending, until they are loaded again or forgotten."""
        return dict(self._unloaded)

    def broken(self) -> dict[str, str]:
        """Models without any version that could be tried, and why."""
        return dict(self._broken)

    async def load(self, found: Iterable[ModelFiles]) -> None:
        """Loads models side by side; returns when each is READY or UNAVAILABLE.

        A version that is known already is replaced when the new one is ready, and stays when that fails.
        """
        loading = []
        for model in found:
            if model.config is None or not model.versions:
                self._note_broken(model)
                continue
            self._broken.pop(model.name, None)
            loading += [self._load_version(model, files, model.config) for files in model.versions]
        await asyncio.gather(*loading)

    async def replace(self, model: ModelFiles) -> "asyncio.Task[None]":
        """Loads a model beside what serves of it, and puts all its versions in the place of those in one step.

        Returns:
            When what was replaced has gone.

        Raises:
            LoadFailed: One of its versions cannot be loaded; what served goes on.
        """
        if model.config is None or not model.versions:
            raise LoadFailed(f"model {model.name!r} cannot be loaded: {self._note_broken(model)}")
        config = model.config
        fresh = [self._version(model, files, config) for files in model.versions]
        old = [version for version in self.of(model.name) if version.loaded and version.state is not State.UNLOADING]
        if old:
            self._apart.update(fresh)
        else:
            self._put(model.name, fresh)  # nothing goes on meanwhile: what loads is what there is to see
        await asyncio.gather(*(version.load(self._gate) for version in fresh))
        if failed := [version for version in fresh if not version.admits]:
            reasons = "; ".join(f"version {version.version}: {version.reason}" for version in failed)
            await self.unload([version for version in fresh if version.loaded], drain_seconds=0)
            self._apart.difference_update(fresh)
            outcome = "what it had goes on serving" if old else "it is unavailable"
            raise LoadFailed(f"model {model.name!r} cannot be loaded, and {outcome}: {reasons}")
        if old:
            self._put(model.name, fresh)
            self._apart.difference_update(fresh)
        return self._retire(old)

    def withdraw(self, name: str) -> "asyncio.Task[None]":
        """Takes a model out of service now, and remembers that it was there.

        Returns:
            When the requests in hand have ended, and it has gone.
        """
        self._broken.pop(name, None)
        return self._retire([version for version in self.of(name) if version.state is not State.UNLOADING], name)

    async def unload(self, versions: Sequence[ModelVersion], drain_seconds: float) -> None:
        """Unloads versions side by side and forgets them."""
        await asyncio.gather(*(version.unload(drain_seconds) for version in versions))
        for version in versions:
            table = self._models.get(version.name, {})
            if table.get(version.version) is version:
                del table[version.version]
                if not table:
                    self._models.pop(version.name, None)
                self._changed(version)

    async def close(self) -> None:
        """Unloads everything at once, also what a newer copy has just replaced."""
        for retirement in self._retirements:
            retirement.cancel()
        await asyncio.gather(*self._retirements, return_exceptions=True)
        await self.unload(list({*self.all(), *self._apart}), drain_seconds=0)
        self._apart.clear()

    def forget(self, name: str) -> None:
        """Drops what is remembered of a model whose files are gone and of which nothing is loaded."""
        self._broken.pop(name, None)
        self._unloaded.pop(name, None)
        if all(version.state is State.UNAVAILABLE and not version.loaded for version in self.of(name)):
            for version in list(self._models.pop(name, {}).values()):
                self._changed(version)

    def _retire(self, versions: Sequence[ModelVersion], remembered: str = "") -> "asyncio.Task[None]":
        for version in versions:
            version.withdraw()
        self._apart.update(versions)
        task = asyncio.create_task(self._end(versions, remembered))
        self._retirements.add(task)
        task.add_done_callback(self._retirements.discard)
        return task

    async def _end(self, versions: Sequence[ModelVersion], remembered: str) -> None:
        await self.unload(versions, SWAP_DRAIN_SECONDS)
        self._apart.difference_update(versions)
        if versions and remembered and remembered not in self._models:
            self._unloaded[remembered] = tuple(version.version for version in versions)

    def _put(self, name: str, versions: Sequence[ModelVersion]) -> None:
        """Makes these the versions of a model, in one step; what it had is somebody else's to end."""
        self._models[name] = {version.version: version for version in versions}
        self._broken.pop(name, None)
        self._unloaded.pop(name, None)
        self._refresh(name)

    def _note_broken(self, model: ModelFiles) -> str:
        reason = model.error or "it has no version"
        state = "keeps serving what it had" if model.name in self._models else "is unavailable"
        log.error("model %s %s: %s", model.name, state, reason)
        self._broken[model.name] = reason
        return reason

    def _version(self, model: ModelFiles, files: ModelVersionFiles, config: ModelConfig) -> ModelVersion:
        return ModelVersion(model, files, config, self._templates, self._changed, self._confinement)

    async def _load_version(self, model: ModelFiles, files: ModelVersionFiles, config: ModelConfig) -> None:
        fresh = self._version(model, files, config)
        table = self._models.setdefault(model.name, {})
        old = table.get(files.version)
        if old is None or not old.loaded:
            table[files.version] = fresh
        await fresh.load(self._gate)
        if old is None or not old.loaded:
            return
        if fresh.state is not State.READY:
            log.error("model %s version %s keeps serving what it had: %s", fresh.name, fresh.version, fresh.reason)
            return
        table[files.version] = fresh
        self._refresh(model.name)
        await self._retire([old])

    def _changed(self, version: ModelVersion) -> None:
        self._refresh(version.name)
        self._on_change(version)

    def _refresh(self, name: str) -> None:
        """Rebuilds what `ready` looks up for one model."""
        for key in [key for key in self._ready if key[0] == name]:
            del self._ready[key]
        for number, version in sorted(self._models.get(name, {}).items()):
            if version.admits:
                self._ready[name, str(number)] = version
                self._ready[name, ""] = version

    def _versions(self, name: str) -> dict[int, ModelVersion]:
        if versions := self._models.get(name):
            return versions
        if name in self._unloaded:
            raise NoVersionAvailable(f"model {name!r} is unloaded, and no version of it is available; load it again")
        if name in self._broken:
            raise ModelNotReady(f"model {name!r} is unavailable: {self._broken[name]}")
        if name in self.awaited:  # by a replica that is back, and that a balancer still takes for the one before
            raise ModelNotReady(f"model {name!r} is about to load: the server is starting")
        known = ", ".join(sorted(self._models)) or "none"
        raise ModelNotFound(f"no model {shown(name)} is served here; there is: {known}")

    def _ready_by_number(self, name: str, version: str) -> ModelVersion:
        """`ready` where the texts alone did not tell: "01" is version 1."""
        if self.draining:
            raise ShuttingDown()
        found = self.find(name, version)
        if (ready := self._ready.get((name, found.version_text))) is not None:
            return ready
        text = f"model {name!r} version {found.version} is {found.state}: {found.reason}"
        if not version and not any(
            sibling.state is State.LOADING or (sibling.loaded and sibling.state is not State.UNLOADING)
            for sibling in self.of(name)
        ):
            raise NoVersionAvailable(f"{text}; no other version is available")
        raise ModelNotReady(text)


def parse_version(text: str) -> int:
    """A version as requests have it.

    Raises:
        InvalidInput: It is not a positive integer.
    """
    if text.isascii() and text.isdigit() and len(text) <= MOST_VERSION_DIGITS and int(text) > 0:
        return int(text)
    raise InvalidInput(
        f"model version {shown(text)} is not one; expected a positive integer, or nothing for the newest"
    )
