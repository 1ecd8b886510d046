"""`--model-control explicit`: loads and unloads models when they are asked for. Server process.

What is asked of one model is done in the order of arrival, and different models do not wait for each other. A caller
that goes away changes nothing: what it asked for is done.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Set
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from quadriga.config import ServerConfig
from quadriga.errors import ConfigError, ModelMissing, Overloaded, RequestError
from quadriga.fingerprint import Fingerprint, fingerprint
from quadriga.load_parameters import LoadParameters
from quadriga.model_files import ModelFiles, read_folder
from quadriga.private_folders import UPLOADS, PrivateFolders, remove_abandoned, remove_folder, write_files
from quadriga.registry import ModelRegistry
from quadriga.repository import places, read_model
from quadriga_proto.conventions import MAX_MESSAGE_BYTES

log = logging.getLogger("quadriga.explicit")
Result = TypeVar("Result")

NOTHING_GIVEN: Final = LoadParameters()
#: Loads and unloads that are under way or wait for their turn, at most.
MOST_ASKED: Final = 256
#: Bytes of files that those may hold together; one load may always come.
MOST_BYTES: Final = MAX_MESSAGE_BYTES


class Copy(NamedTuple):
    """A model as it was read to be loaded.

    Attributes:
        model: What was found.
        fingerprint: Of its files then.
        upload: The folder of its files where they came with the load.
    """

    model: ModelFiles
    fingerprint: Fingerprint
    upload: Path | None = None


class ExplicitControl:
    """Loads and unloads by request."""

    def __init__(self, config: ServerConfig, models: ModelRegistry, found: Iterable[ModelFiles]) -> None:
        """Starts from what the server loads at its start; does nothing before `open`."""
        self._config = config
        self._models = models
        self._copies = {model.name: Copy(model, fingerprint(model)) for model in found}
        self._uploads = PrivateFolders(UPLOADS)
        self._opened = asyncio.Event()
        self._last: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._removals: set[asyncio.Task[None]] = set()
        remove_abandoned(UPLOADS)

    def open(self) -> None:
        """What is loaded at the start is loaded: begins with what was asked for since."""
        self._opened.set()

    def load(self, name: str, given: LoadParameters) -> "asyncio.Task[None]":
        """Reads a model anew and loads it, unless it serves and nothing has changed; ends when it serves.

        The task raises:
            RequestError: The model is missing or cannot be loaded; what served before goes on.

        Raises:
            Overloaded: Too much waits to be loaded; callers who have gone away count, since their loads go on.
        """
        size = sum(map(len, given.files.values()))
        if size and self._bytes and self._bytes + size > MOST_BYTES:
            raise Overloaded(f"{self._bytes} bytes of models wait to be loaded; wait for those, and load this one then")
        task = self._in_turn(name, lambda: self._load(name, given))
        self._bytes += size
        task.add_done_callback(lambda _: self._release(size))
        return task

    def unload(self, name: str) -> "asyncio.Task[None]":
        """Takes a model out of service, if it is there; ends when no new request is taken.

        Raises:
            Overloaded: Too much is under way.
        """
        return self._in_turn(name, lambda: self._unload(name))

    def stop(self) -> None:
        """Gives up what is under way. Requests in hand of models that are being unloaded go on."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """After `stop`: waits for the end of all that it gave up; no file of an upload is left."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for removal in self._removals:
            removal.cancel()
        await asyncio.gather(*self._removals, return_exceptions=True)
        await asyncio.to_thread(self._uploads.close)

    def _release(self, size: int) -> None:
        self._bytes -= size

    def _in_turn(self, name: str, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        if len(self._tasks) >= MOST_ASKED:
            raise Overloaded(f"{MOST_ASKED} loads and unloads are under way; wait for their end")
        task = asyncio.create_task(self._after(self._last.get(name), work), name=f"control of {name}")
        self._last[name] = task
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, name))
        return task

    async def _after(self, previous: "asyncio.Task[None] | None", work: Callable[[], Awaitable[None]]) -> None:
        await self._opened.wait()
        if previous is not None:
            await asyncio.wait({previous})
        await work()

    def _ended(self, name: str, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if self._last.get(name) is task:
            del self._last[name]

    async def _load(self, name: str, given: LoadParameters) -> None:
        copy, on_disk = await self._copy(name, given)
        for gone in self._models.names() - on_disk:
            self._models.forget(gone)
        if copy is None:
            raise ModelMissing(f"model {name!r} is in no repository; there is: {', '.join(on_disk) or 'nothing'}")
        previous = self._copies.get(name)
        if given == NOTHING_GIVEN and copy == previous and self._serves(copy.model):
            log.info("model %s serves already, and nothing of it has changed", name)
            return
        try:
            replaced = await self._models.replace(copy.model)
        except Exception:
            self._remove(copy.upload)
            if name not in on_disk:
                self._models.forget(name)
            raise
        self._copies[name] = copy
        if previous is not None:
            self._remove(previous.upload, replaced)

    async def _copy(self, name: str, given: LoadParameters) -> tuple[Copy | None, Set[str]]:
        """The model that a load means, None where it is missing; and the names of all that are on disk."""
        upload = None
        try:
            if given.files:
                upload = self._uploads.new_folder()
            return await in_thread(partial(self._read, name, given, upload))
        except OSError as error:
            self._remove(upload)
            raise RequestError(f"the files of model {name!r} cannot be written: {error.strerror}") from None
        except ConfigError as error:
            self._remove(upload)
            raise ModelMissing(str(error)) from None

    async def _unload(self, name: str) -> None:
        gone = self._models.withdraw(name)
        copy = self._copies.pop(name, None)
        if copy is not None:
            log.info("model %s is unloaded", name)
            self._remove(copy.upload, gone)

    def _serves(self, model: ModelFiles) -> bool:
        admitting = {version.version for version in self._models.of(model.name) if version.admits}
        return admitting == {files.version for files in model.versions}

    def _read(self, name: str, given: LoadParameters, upload: Path | None) -> tuple[Copy | None, Set[str]]:
        """What `_copy` returns; runs in a thread.

        A name from a request is only compared with those that are found: it never makes a path.
        """
        found = places(self._config.repositories, self._config.files_there, self._config.model_name)
        if upload is not None:
            write_files(upload, given.files)
            model = read_folder(name, upload, given.config)
        elif name in found:
            model = read_model(name, found[name], given.config)
        else:
            return None, found.keys()
        return Copy(model, fingerprint(model), upload), found.keys()

    def _remove(self, upload: Path | None, after: "asyncio.Task[None] | None" = None) -> None:
        """Removes an upload's files, once the workers that may read them again have gone."""
        if upload is None:
            return

        async def remove() -> None:
            if after is not None:
                await asyncio.wait({after})
            await in_thread(partial(remove_folder, upload))

        removal = asyncio.create_task(remove())
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)


async def in_thread(work: Callable[[], Result]) -> Result:
    """Runs `work` in a thread; also a caller that is cancelled goes on only when it has ended."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
