"""The rpcs of the model repository: its index, loading and unloading. Server process.

They look at folders and wait for workers, so each is a task; the call is answered when the task ends.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from quadriga.config import ServerConfig
from quadriga.errors import ConfigError, LoadingIsOff, RequestError, ShuttingDown, Unsupported
from quadriga.explicit import ExplicitControl
from quadriga.load_parameters import check_model_name, check_unload_parameters, read_load_parameters
from quadriga.model_version import UNLOADED, State
from quadriga.registry import ModelRegistry
from quadriga.repository import Location, ambiguity, places
from quadriga.transports import Call, Handler
from quadriga.unary import fail, parse
from quadriga_proto import inference_pb2 as pb

log = logging.getLogger("quadriga.repository_service")
RequestMessage = TypeVar(
    "RequestMessage", pb.RepositoryIndexRequest, pb.RepositoryModelLoadRequest, pb.RepositoryModelUnloadRequest
)
Row = pb.RepositoryIndexResponse.ModelIndex


class RepositoryService:
    """RepositoryIndex, RepositoryModelLoad and RepositoryModelUnload."""

    def __init__(self, config: ServerConfig, models: ModelRegistry, control: ExplicitControl | None) -> None:
        """Without `control` nothing is loaded or unloaded by request."""
        self._config = config
        self._models = models
        self._control = control
        self._indexing: set[asyncio.Task[pb.RepositoryIndexResponse]] = set()

    def handlers(self) -> Mapping[str, Handler]:
        """The rpcs by method name."""
        return {
            "RepositoryIndex": self._handler(pb.RepositoryIndexRequest, pb.RepositoryIndexResponse, self.index),
            "RepositoryModelLoad": self._handler(
                pb.RepositoryModelLoadRequest, pb.RepositoryModelLoadResponse, self.load
            ),
            "RepositoryModelUnload": self._handler(
                pb.RepositoryModelUnloadRequest, pb.RepositoryModelUnloadResponse, self.unload
            ),
        }

    def open(self) -> None:
        """What is loaded at the start is loaded: begins with what was asked for since."""
        if self._control is not None:
            self._control.open()

    def stop(self) -> None:
        """The server drains: gives up what is under way, and lets the callers know."""
        if self._control is not None:
            self._control.stop()
        for task in self._indexing:
            task.cancel()

    async def close(self) -> None:
        """After `stop`: waits for the end of all that it gave up. No task and no file is left."""
        await asyncio.gather(*self._indexing, return_exceptions=True)
        if self._control is not None:
            await self._control.close()

    def index(self, request: pb.RepositoryIndexRequest) -> "asyncio.Task[pb.RepositoryIndexResponse]":
        """Every model on disk and every version that is known, with its state."""
        task = asyncio.create_task(self._index(request.ready))
        self._indexing.add(task)
        task.add_done_callback(self._indexing.discard)
        return task

    def load(self, request: pb.RepositoryModelLoadRequest) -> "asyncio.Task[None]":
        """Loads a model, or loads it anew; ends when it serves."""
        control = self._explicit()
        check_model_name(request.model_name)
        given = read_load_parameters(request.model_name, request.parameters)
        return control.load(request.model_name, given)

    def unload(self, request: pb.RepositoryModelUnloadRequest) -> "asyncio.Task[None]":
        """Unloads a model; ends when no new request is taken."""
        control = self._explicit()
        check_model_name(request.model_name)
        check_unload_parameters(request.parameters)
        return control.unload(request.model_name)

    def _explicit(self) -> ExplicitControl:
        if self._control is None:
            raise LoadingIsOff(
                f"models are not loaded or unloaded by request: model control is {self._config.model_control!r}; "
                "start the server with --model-control explicit"
            )
        return self._control

    def _handler(
        self,
        request_class: type[RequestMessage],
        response_class: type[Message],
        begin: Callable[[RequestMessage], "asyncio.Task[Any]"],
    ) -> Handler:
        """A handler that begins the task of a call, which ends the call."""

        def handle(call: Call) -> None:
            try:
                if self._models.draining:
                    raise ShuttingDown()
                request = parse(call.request, request_class)
                if request.repository_name:
                    raise Unsupported("'repository_name': all repositories are one index here; leave it empty")
                task = begin(request)
            except RequestError as error:
                fail(call, error)
            else:
                task.add_done_callback(partial(_answer, call, response_class))

        return handle

    async def _index(self, ready: bool) -> pb.RepositoryIndexResponse:
        try:
            on_disk = await asyncio.to_thread(self._places)
        except ConfigError as error:
            log.error("the index has only what is loaded: %s", error)
            on_disk = {}
        rows: list[Row] = [
            Row(name=version.name, version=version.version_text, state=version.state, reason=version.reason)
            for version in self._models.all()
        ]
        rows += [
            Row(name=name, state=State.UNAVAILABLE, reason=reason) for name, reason in self._models.broken().items()
        ]
        rows += [
            Row(name=name, version=str(version), state=State.UNAVAILABLE, reason=UNLOADED)
            for name, versions in self._models.unloaded().items()
            for version in versions
        ]
        known = {*self._models.broken(), *self._models.unloaded(), *(version.name for version in self._models.all())}
        rows += [_not_loaded(name, found) for name, found in on_disk.items() if name not in known]
        rows.sort(key=lambda row: row.name)
        if ready:
            rows = [row for row in rows if row.state == State.READY]
        return pb.RepositoryIndexResponse(models=rows)

    def _places(self) -> dict[str, list[Location]]:
        return places(self._config.repositories, self._config.files_there, self._config.model_name)


def _not_loaded(name: str, found: list[Location]) -> Row:
    """The row of a model that was never loaded: its name alone, unless it is there more than once."""
    return Row(name=name) if len(found) == 1 else Row(name=name, state=State.UNAVAILABLE, reason=ambiguity(name, found))


def _answer(call: Call, response_class: type[Message], task: "asyncio.Task[Message | None]") -> None:
    """Ends a call with what its task came to."""
    if task.cancelled():
        fail(call, ShuttingDown("the server is shutting down, and gave this up"))
        return
    error = task.exception()
    if error is None:
        call.respond((task.result() or response_class()).SerializeToString())
    elif isinstance(error, RequestError):
        fail(call, error)
    else:
        log.error("a task of the repository failed; this is a bug", exc_info=error)
        fail(call, RequestError("internal error; the server's log has more"))
