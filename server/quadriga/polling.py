"""`--model-control poll`: looks at the repositories again and again, and follows what changed. Server process."""

import asyncio
import logging
from collections.abc import Iterable

from quadriga.config import ServerConfig
from quadriga.errors import ConfigError
from quadriga.fingerprint import Fingerprint, fingerprint
from quadriga.model_files import ModelFiles
from quadriga.model_version import State
from quadriga.registry import ModelRegistry
from quadriga.repository import scan

log = logging.getLogger("quadriga.polling")

#: What is on disk: by name, a model and its fingerprint.
Snapshot = dict[str, tuple[ModelFiles, Fingerprint]]


class Poller:
    """Follows the repositories' folders.

    A model that appeared or changed is loaded beside what serves and then takes its place; a model that is gone is
    unloaded. Versions that are not wanted any more stay until one that is wanted serves: a bad update costs nothing.
    """

    def __init__(self, config: ServerConfig, models: ModelRegistry, found: Iterable[ModelFiles]) -> None:
        """Starts from what the server found before it loaded anything, so that no change since then is missed."""
        self._config = config
        self._models = models
        self._seen = _snapshot(found)

    async def run(self) -> None:
        """Looks every `poll_seconds`, until cancelled."""
        while True:
            await asyncio.sleep(self._config.poll_seconds)
            try:
                await self.look()
            except ConfigError as error:
                # A repository on a network goes away at times; what is loaded goes on serving until it is back.
                log.error("cannot look for changes: %s", error)
            except Exception:
                log.exception("looking for changes failed; what is loaded goes on serving")

    async def look(self) -> None:
        """Looks once, and returns when what changed has been loaded and unloaded."""
        seen = await asyncio.to_thread(self._scan)
        # The files' dates do not tell everything: a model can also change because another of its name came or went.
        changed = [model for name, (model, _) in seen.items() if self._seen.get(name) != seen[name]]
        gone = [name for name in self._seen if name not in seen]
        self._seen = seen
        if changed:
            log.info("changed on disk: %s", ", ".join(model.name for model in changed))
            await self._models.load(changed)
        for model, _ in seen.values():
            await self._retire_versions(model)
        for name in gone:
            log.info("gone from disk: %s", name)
            await self._models.unload(self._models.of(name), self._config.drain_seconds)
            self._models.forget(name)

    def _scan(self) -> Snapshot:
        return _snapshot(scan(self._config.repositories, self._config.files_there, self._config.model_name))

    async def _retire_versions(self, model: ModelFiles) -> None:
        wanted = {files.version for files in model.versions}
        versions = self._models.of(model.name)
        surplus = [version for version in versions if version.version not in wanted]
        if surplus and any(version.state is State.READY for version in versions if version.version in wanted):
            await self._models.unload(surplus, self._config.drain_seconds)


def _snapshot(found: Iterable[ModelFiles]) -> Snapshot:
    return {model.name: (model, fingerprint(model)) for model in found}
