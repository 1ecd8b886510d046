"""`--model-control poll`: looks at the repositories again and again, and follows what changed. Server process."""

import asyncio
import logging
from collections.abc import Iterable

from quadriga.config import ServerConfig
from quadriga.errors import ConfigError
from quadriga.registry import ModelRegistry
from quadriga.repository import ModelFiles, fingerprint, scan

log = logging.getLogger("quadriga.polling")


class Poller:
    """Follows the repositories' folders.

    A model that appeared or changed is loaded beside what serves and then takes its place; a version or model that is
    gone is unloaded.
    """

    def __init__(self, config: ServerConfig, models: ModelRegistry, loaded: Iterable[ModelFiles]) -> None:
        """Starts from what was loaded already."""
        self._config = config
        self._models = models
        self._seen = {model.name: (model, fingerprint(model)) for model in loaded}

    async def run(self) -> None:
        """Looks every `poll_seconds`, until cancelled."""
        while True:
            await asyncio.sleep(self._config.poll_seconds)
            try:
                await self.look()
            except ConfigError as error:
                # A repository on a network goes away at times; what is loaded goes on serving until it is back.
                log.error("cannot look for changes: %s", error)

    async def look(self) -> None:
        """Looks once, and returns when what changed has been loaded and unloaded."""
        found = {model.name: model for model in await asyncio.to_thread(self._scan)}
        # The files' dates do not tell everything: a model can also change because another of its name came or went.
        seen = {name: (model, fingerprint(model)) for name, model in found.items()}
        changed = [model for name, model in found.items() if self._seen.get(name) != seen[name]]
        gone = [name for name in self._seen if name not in found]
        self._seen = seen
        if changed:
            log.info("changed on disk: %s", ", ".join(model.name for model in changed))
            await self._models.load(changed)
        for model in changed:
            await self._unload_versions_not_in(model.name, {files.version for files in model.versions})
        for name in gone:
            log.info("gone from disk: %s", name)
            await self._unload_versions_not_in(name, set())
            self._models.forget_broken(name)

    def _scan(self) -> list[ModelFiles]:
        return scan(self._config.repositories, self._config.files)

    async def _unload_versions_not_in(self, name: str, kept: set[int]) -> None:
        surplus = [version for version in self._models.all() if version.name == name and version.version not in kept]
        await self._models.unload(surplus, self._config.drain_seconds)
