"""The composition root: builds the parts, starts them, and stops them in a written order. Server process.

Start:     addresses are taken -> gRPC and HTTP answer (not ready) -> models load side by side -> ready
Shutdown:  not ready -> no new calls -> requests in hand end, within the drain time -> workers end, and the shared
           memory with them -> the last traces are sent -> the HTTP port closes
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry

from quadriga.access import make_guard
from quadriga.addresses import is_loopback, join_address
from quadriga.client_memory import ClientMemory
from quadriga.config import ServerConfig
from quadriga.confinement import ConfinementPolicy
from quadriga.control import ControlService, extensions
from quadriga.errors import ConfigError
from quadriga.explicit import ExplicitControl
from quadriga.gpu_figures import Gpus
from quadriga.health import SERVER, Health
from quadriga.memory_service import MemoryService
from quadriga.metrics import make_registry
from quadriga.model_files import ModelFiles
from quadriga.model_version import ModelVersion, State
from quadriga.polling import Poller
from quadriga.registry import ModelRegistry
from quadriga.repository import scan
from quadriga.repository_service import RepositoryService
from quadriga.service import InferenceService
from quadriga.settings_service import SettingsService
from quadriga.streaming import InferStream
from quadriga.tracing import make_tracing
from quadriga.transports import Services, make_transport
from quadriga.transports.pending_bytes import PendingBytes, default_most_bytes
from quadriga.web import WebServer
from quadriga.workers.interpreters import interpreters
from quadriga.workers.templates import Templates
from quadriga_proto.conventions import SERVICE

log = logging.getLogger("quadriga.server")

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Addresses(NamedTuple):
    """Where the server listens, as HOST:PORT."""

    grpc: str
    http: str


class Server:
    """One server.

    Attributes:
        config: What it was asked to do.
        models: What it serves.
    """

    def __init__(self, config: ServerConfig) -> None:
        """Builds the parts; nothing listens and nothing is loaded yet.

        Raises:
            ConfigError: A repository, a model file or a file of tokens or TLS cannot be used, traces
                cannot be sent, or workers cannot be confined.
        """
        self.config = config
        interpreters()  # a slip in them is told now, and not by the first model that needs one
        self._found = find_models(config)
        self._ready = False
        self._health = Health()
        self._confinement = ConfinementPolicy(config)
        templates = Templates(enabled=config.templates == "on")
        self.models = ModelRegistry(templates, self._on_change, self._confinement)
        self.models.awaited = {model.name for model in self._found}
        self._poller = Poller(config, self.models, self._found) if config.model_control == "poll" else None
        memory = ClientMemory() if config.allow_client_shm else None
        tracing = self._tracing = make_tracing(config)
        inference = self._inference = InferenceService(self.models, memory, tracing.caller)
        self._callers_load = config.model_control == "explicit"
        explicit = ExplicitControl(config, self.models, self._found) if config.model_control == "explicit" else None
        self._repository = RepositoryService(config, self.models, explicit)
        handlers = {
            "ModelInfer": tracing.handler(f"{SERVICE}/ModelInfer", inference.infer),
            **ControlService(self.models, self.is_ready, extensions(config)).handlers(),
            **self._repository.handlers(),
            **MemoryService(memory).handlers(),
            **SettingsService(
                self.models, config.log_format, config.log_level, trace_sample=config.trace_sample
            ).handlers(),
        }
        most_bytes = config.max_pending_bytes or default_most_bytes()
        pending = PendingBytes(most_bytes, inference.refused, self.models.drop_dead)
        stream_infer = tracing.handler(f"{SERVICE}/ModelStreamInfer", inference.infer)
        streams = {"ModelStreamInfer": partial(InferStream, stream_infer, pending)}
        guard = make_guard(config, inference.refused)
        services = Services({SERVICE: handlers}, {SERVICE: streams}, self._health, guard, pending)
        self._transport = make_transport(config, services)
        self._gpus = Gpus()
        self._web = WebServer(self._metrics, self.is_ready)

    def is_ready(self) -> bool:
        """Whether everything that can load has loaded, and the server is not stopping."""
        return self._ready

    async def run(self, announce: Callable[["Server", Addresses], None]) -> None:
        """Serves until SIGINT or SIGTERM; a second signal skips the rest of the drain time.

        Args:
            announce: Called once, when the server is ready.

        Raises:
            ConfigError: An address cannot be had.
        """
        if not (is_loopback(self.config.host) or self.config.tls or self.config.token_file):
            log.warning("whoever reaches %s may use this server: neither TLS nor tokens are on", self.config.host)
        http_port = self._web.bind(self.config.host, self.config.http_port)
        try:
            grpc_port = await self._transport.start()
        except ConfigError:
            self._web.close()
            raise
        if not self._found and not self._callers_load:
            log.warning("%s has no models: nothing is served", " and ".join(map(str, self.config.repositories)))
        addresses = Addresses(join_address(self.config.host, grpc_port), join_address(self.config.host, http_port))
        web = asyncio.create_task(self._web.serve())
        with stop_signals() as stops:
            stop = asyncio.create_task(stops.get())
            work = asyncio.create_task(self._load_and_poll(announce, addresses))
            await asyncio.wait((stop, work), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await asyncio.wait((stop,)) if work.exception() is None else stop.cancel()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await self._shut_down(stops)
        self._web.stop()
        await web
        if not work.cancelled():
            work.result()

    async def _metrics(self, model: str) -> CollectorRegistry:
        await self._gpus.look()
        return make_registry(self.models, self._inference, model, self._gpus.figures)

    async def _load_and_poll(self, announce: Callable[["Server", Addresses], None], addresses: Addresses) -> None:
        await self.models.load(self._found)
        self.models.awaited = frozenset()
        self._ready = True
        self._health.set(SERVER, serving=True)
        self._tell_whether_it_answers()
        self._repository.open()
        announce(self, addresses)
        if self._poller is not None:
            await self._poller.run()

    async def _shut_down(self, stops: "asyncio.Queue[signal.Signals]") -> None:
        log.info("stopping: requests in hand have up to %.0f s", self.config.drain_seconds)
        give_up = asyncio.get_running_loop().time() + self.config.drain_seconds
        self._ready = False
        self._health.drain()
        self._transport.drain()
        self.models.draining = True
        self._repository.stop()
        drain = asyncio.create_task(self._transport.stop(self.config.drain_seconds))
        hurry = asyncio.create_task(stops.get())
        await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
        if not drain.done():
            log.warning("stopping at once: requests in hand are given up")
            await self._transport.stop(0)
            give_up = 0.0
        hurry.cancel()
        await drain
        await self._repository.close()
        await self.models.close()
        self._confinement.close()
        await self._tracing.close(give_up - asyncio.get_running_loop().time())
        log.info("stopped")

    def _on_change(self, version: ModelVersion) -> None:
        """Follows a version's state: in the health of its model, and in what is remembered of requests to it."""
        siblings = self.models.of(version.name)
        if siblings:
            self._health.set(version.name, serving=any(sibling.state is State.READY for sibling in siblings))
        else:
            self._health.forget(version.name)
        self._tell_whether_it_answers()
        if version.state is State.UNLOADING:
            self._inference.forget(version)

    def _tell_whether_it_answers(self) -> None:
        """The service serves while any model does: a container none of whose models can be read is not healthy.

        Under explicit control it follows the server, since which models there are is the callers' affair.
        """
        self._health.set(SERVICE, serving=self._ready and (self.models.answers or self._callers_load))


def find_models(config: ServerConfig) -> list[ModelFiles]:
    """What the configuration asks to load at the start.

    Raises:
        ConfigError: A path cannot be used, `load_models` names a model that is not there, or the configuration of a
            model is wrong. Files that cannot be served spoil their model alone; a slip in a configuration would be
            found late, so it is told before anything is loaded.
    """
    found = scan(config.repositories, config.files, config.model_name)
    if config.model_control == "explicit" and "*" not in config.load_models:
        found = _named(found, config.load_models)
    if wrong := [model.error for model in found if model.misconfigured and model.error]:
        raise ConfigError("; ".join(wrong))
    return found


def _named(found: Sequence[ModelFiles], names: Sequence[str]) -> list[ModelFiles]:
    by_name = {model.name: model for model in found}
    if missing := [name for name in names if name not in by_name]:
        raise ConfigError(
            f"no model {', '.join(map(repr, missing))} to load; there is: {', '.join(by_name) or 'nothing'}"
        )
    return [by_name[name] for name in names]


@contextlib.contextmanager
def stop_signals() -> "Iterator[asyncio.Queue[signal.Signals]]":
    """A queue of the signals that ask the process to stop, while the context lasts."""
    queue: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, queue.put_nowait, number)
    try:
        yield queue
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
