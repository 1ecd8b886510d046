"""The models that the server knows, by name and version: finds, loads, swaps and unloads them. Server process."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from quadriga.errors import InvalidInput, ModelNotFound, ModelNotReady, NoVersionAvailable, ShuttingDown, shown
from quadriga.model_config import ModelConfig
from quadriga.model_version import ModelVersion, State
from quadriga.repository import MOST_VERSION_DIGITS, ModelFiles, ModelVersionFiles
from quadriga.workers.templates import Templates

log = logging.getLogger("quadriga.registry")

#: For the requests that a version still holds when a newer copy of it has taken over.
SWAP_DRAIN_SECONDS: Final = 60.0


class ModelRegistry:
    """Every model that the server knows.

    Attributes:
        draining: Whether the server takes no new requests any more.
    """

    def __init__(
        self, templates: Templates | None = None, on_change: Callable[[ModelVersion], None] = lambda version: None
    ) -> None:
        """Starts empty.

        Args:
            templates: What workers are forked from; without, all are spawned.
            on_change: Hears of every change of a version's state.
        """
        self.draining = False
        self._templates = templates or Templates(enabled=False)
        self._on_change = on_change
        self._models: dict[str, dict[int, ModelVersion]] = {}
        self._broken: dict[str, str] = {}
        self._ready: dict[tuple[str, str], ModelVersion] = {}
        self._retiring: set[ModelVersion] = set()
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

    def all(self) -> list[ModelVersion]:
        """Every version of every model, by name and number."""
        return [version for name in sorted(self._models) for version in self.versions(name)]

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
                self._broken[model.name] = model.error or "it has no version"
                state = "keeps serving what it had" if model.name in self._models else "is unavailable"
                log.error("model %s %s: %s", model.name, state, self._broken[model.name])
                continue
            self._broken.pop(model.name, None)
            loading += [self._load_version(model, files, model.config) for files in model.versions]
        await asyncio.gather(*loading)

    async def unload(self, versions: Sequence[ModelVersion], drain_seconds: float) -> None:
        """Unloads versions side by side and forgets them."""
        await asyncio.gather(*(version.unload(drain_seconds) for version in versions))
        for version in versions:
            table = self._models.get(version.name, {})
            if table.get(version.version) is version:
                del table[version.version]
            if not table:
                self._models.pop(version.name, None)

    async def close(self) -> None:
        """Unloads everything at once, also what a newer copy has just replaced."""
        await self.unload([*self.all(), *self._retiring], drain_seconds=0)
        self._retiring.clear()

    def forget_broken(self, name: str) -> None:
        """Drops a model that could not be tried and whose folder is gone."""
        self._broken.pop(name, None)

    async def _load_version(self, model: ModelFiles, files: ModelVersionFiles, config: ModelConfig) -> None:
        fresh = ModelVersion(model, files, config, self._templates, self._changed)
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
        self._retiring.add(old)
        await old.unload(SWAP_DRAIN_SECONDS)
        self._retiring.discard(old)

    def _changed(self, version: ModelVersion) -> None:
        self._refresh(version.name)
        self._on_change(version)

    def _refresh(self, name: str) -> None:
        """Rebuilds what `ready` looks up for one model."""
        for key in [key for key in self._ready if key[0] == name]:
            del self._ready[key]
        for number, version in sorted(self._models.get(name, {}).items()):
            # A version whose worker is being replaced still admits: its requests wait for the new one.
            if version.state is State.READY or (version.state is State.LOADING and version.loaded):
                self._ready[name, str(number)] = version
                self._ready[name, ""] = version

    def _versions(self, name: str) -> dict[int, ModelVersion]:
        if versions := self._models.get(name):
            return versions
        if name in self._broken:
            raise ModelNotReady(f"model {name!r} is unavailable: {self._broken[name]}")
        known = ", ".join(sorted(self._models)) or "none"
        raise ModelNotFound(f"no model {shown(name)} is served here; there is: {known}")

    def _ready_by_number(self, name: str, version: str) -> ModelVersion:
        """`ready` where the texts alone did not tell: "01" is version 1."""
        if self.draining:
            raise ShuttingDown("the server is shutting down and takes no new requests")
        found = self.find(name, version)
        if (ready := self._ready.get((name, found.version_text))) is not None:
            return ready
        text = f"model {name!r} version {found.version} is {found.state}: {found.reason}"
        if not version and not any(
            sibling.loaded or sibling.state is State.LOADING for sibling in self._models[name].values()
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
