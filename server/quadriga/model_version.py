"""One version of a model: its state, its workers and its scheduler. Server process.

    LOADING -> READY or UNAVAILABLE -> UNLOADING -> gone

A version is READY while at least one of its workers can take batches.
"""

import asyncio
import enum
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from quadriga.backends import FORMATS
from quadriga.backends.base import ModelSource
from quadriga.confinement import ConfinementPolicy
from quadriga.counters import ModelCounters
from quadriga.errors import ConfigError, ModelNotReady, RequestError
from quadriga.gpus import visible_gpus
from quadriga.model_config import DEFAULT_MAX_BATCH_SIZE, InstanceGroup, ModelConfig, default_threads
from quadriga.model_files import ModelFiles, ModelVersionFiles, size_of
from quadriga.requested_outputs import OutputValidator
from quadriga.requests import Batch
from quadriga.responses import ResponseEncoder
from quadriga.scheduler import Scheduler
from quadriga.specs import ModelSpec
from quadriga.validate import RequestValidator
from quadriga.warm_up import WARM_UP_FOLDER
from quadriga.workers.boot import BootFailure
from quadriga.workers.messages import BatchDone, Confinement, Load
from quadriga.workers.supervisor import Lifecycle, Supervisor
from quadriga.workers.templates import Templates
from quadriga.workers.worker import SLOTS, Assigned, Events, Loss, LossReason, TimeLimits, Worker

log = logging.getLogger("quadriga.model_version")

#: The reason of a version that was unloaded, as RepositoryIndex gives it.
UNLOADED: Final = "unloaded"


class State(enum.StrEnum):
    """Of a model version, under the names that RepositoryIndex uses."""

    LOADING = "LOADING"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    UNLOADING = "UNLOADING"


class ModelVersion:
    """One version of a model.

    Attributes:
        name: Of the model.
        version: Its number.
        version_text: The same as the wire has it.
        files: Where it lies on disk.
        config: The model's settings.
        export: What was measured when it was made.
        counters: What happened since it was loaded.
        state: See `State`; changes are reported to `on_change`.
        reason: Why it is not READY; empty when it is.
        spec: Its contract; like the next five, there once it has been loaded.
        validator: Checks requests' inputs against it.
        outputs: Reads which outputs requests want.
        encoder: Encodes responses by it.
        labels: Class names of each output, in index order.
        scheduler: Takes requests.
        device: What its workers run on.
        file_bytes: Of its file or folder on disk when it was loaded; 0 before.
        load_ns: Importing the framework and loading the file, of the slowest worker.
        warm_up_ns: Running every batch size once, and what `model_warmup` gives.
    """

    spec: ModelSpec
    validator: RequestValidator
    outputs: OutputValidator
    encoder: ResponseEncoder
    labels: tuple[tuple[str, ...], ...]
    scheduler: Scheduler

    def __init__(
        self,
        model: ModelFiles,
        files: ModelVersionFiles,
        config: ModelConfig,
        templates: Templates,
        on_change: Callable[["ModelVersion"], None],
        confinement: ConfinementPolicy,
    ) -> None:
        self.name = model.name
        self.version = files.version
        self.version_text = str(files.version)
        self.files = files
        self.config = config
        self.export = model.export
        self.counters = ModelCounters()
        self.state = State.LOADING
        self.reason = "waiting to be loaded"
        self.device = ""
        self.file_bytes = 0
        self.load_ns = 0
        self.warm_up_ns = 0
        self._model = model
        self._policy = confinement
        self._confinement = Confinement()
        self._labels_of = model.labels_of
        self._warm_up_folder = str(model.directory / WARM_UP_FOLDER)
        self._templates = templates
        self._on_change = on_change
        self._supervisor: Supervisor[Batch] | None = None

    @property
    def platform(self) -> str:
        """What the protocol calls the file's format; empty for a backend of the user's own."""
        return FORMATS[self.files.format].platform if self.files.format else ""

    @property
    def backend(self) -> str:
        """Which backend runs it."""
        return self.files.backend

    @property
    def loaded(self) -> bool:
        """Whether `spec`, `validator` and `scheduler` are there."""
        return hasattr(self, "scheduler")

    @property
    def admits(self) -> bool:
        """Whether it takes requests: also while a worker is being replaced, which its requests wait for."""
        return self.state is State.READY or (self.state is State.LOADING and self.loaded)

    @property
    def workers(self) -> list[Worker[Batch]]:
        """Its workers that can take batches now."""
        return [] if self._supervisor is None else self._supervisor.workers

    @property
    def restarts(self) -> int:
        """How many workers were started to replace lost ones."""
        return 0 if self._supervisor is None else self._supervisor.restarts

    @property
    def deaths(self) -> Mapping[LossReason, int]:
        """How many workers were lost unasked, by reason."""
        return {} if self._supervisor is None else self._supervisor.deaths

    # ---- life

    async def load(self, gate: asyncio.Semaphore) -> None:
        """Boots the workers and becomes READY, or UNAVAILABLE with the reason.

        Args:
            gate: Bounds how many models load at a time.
        """
        if self.files.error:
            self._change(State.UNAVAILABLE, self.files.error)
            return
        async with gate:
            self._change(State.LOADING, "loading")
            self.file_bytes = size_of(self.files.path)
            try:
                loads = self._loads()
            except OSError as error:
                self._change(State.UNAVAILABLE, f"its workers have no folder of their own: {error}")
                return
            self._supervisor = Supervisor(
                f"{self.name}/{self.version}",
                loads,
                Events(done=self._on_done, failed=self._on_failed, lost=lambda *_: None),
                Lifecycle(ready=self._on_ready, lost=self._on_lost, recovery_failed=self._on_recovery_failed),
                self._templates,
                TimeLimits(self.config.load_timeout_seconds, self.config.batch_timeout_seconds),
            )
            try:
                loaded = await self._supervisor.start()
                self._adopt(loaded.spec)
            except (BootFailure, ConfigError, OSError) as failure:
                await self._give_up(str(failure))
                return
            except Exception as error:
                log.exception("model %s version %s: loading failed; this is a bug", self.name, self.version)
                await self._give_up(f"{type(error).__name__}: {error}")
                return
        self.device = loaded.device
        self.load_ns, self.warm_up_ns = loaded.load_ns, loaded.warm_up_ns
        for worker in self._supervisor.workers:
            self.scheduler.add_worker(worker)
        self._change(State.READY, "")

    def withdraw(self) -> None:
        """Takes no request any more; those in hand go on."""
        self._change(State.UNLOADING, "unloading")
        if self.loaded:
            self.scheduler.refuse(self._not_ready)

    async def unload(self, drain_seconds: float) -> None:
        """Takes no request any more, lets those in hand end, and ends the workers."""
        if self.state is not State.UNLOADING:
            self.withdraw()
        if self.loaded:
            try:
                async with asyncio.timeout(drain_seconds):
                    await self.scheduler.drained()
            except TimeoutError:
                log.warning("%s/%s: requests are still in hand after %.1f s", self.name, self.version, drain_seconds)
        await self._end_workers()
        if self.loaded:
            self.scheduler.close(self._not_ready)
        self._change(State.UNAVAILABLE, UNLOADED)

    async def _give_up(self, reason: str) -> None:
        await self._end_workers()
        self._change(State.UNAVAILABLE, reason)

    async def _end_workers(self) -> None:
        if self._supervisor is not None:
            await self._supervisor.stop()
        if self._confinement.folder:
            await asyncio.to_thread(self._policy.release, self._confinement)

    def _loads(self) -> list[Load]:
        gpus = visible_gpus()
        devices = [device for group in self.config.instance_groups for device in instance_devices(group, gpus)]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = self.config.threads or default_threads(len(devices), cores, self.file_bytes)
        source = ModelSource(
            path=str(self.files.path),
            threads=threads,
            inputs=self.config.inputs,
            outputs=self.config.outputs,
            batches=self.config.batches,
            parameters=dict(self.config.parameters),
        )
        largest = DEFAULT_MAX_BATCH_SIZE if self.config.max_batch_size is None else self.config.max_batch_size
        self._confinement = self._policy.of(self._model, self.files.path, devices)
        load = Load(
            self.backend, source, SLOTS, largest, self.config.warm_ups, self._warm_up_folder,
            confinement=self._confinement,
        )  # fmt: skip
        return [
            msgspec.structs.replace(load, source=msgspec.structs.replace(source, device=device)) for device in devices
        ]

    def _adopt(self, spec: ModelSpec) -> None:
        """Makes what serves requests, from the contract that the workers report."""
        self.labels = tuple(self._labels_of(tensor.name) or spec.labels for tensor in spec.outputs)
        self.spec = msgspec.structs.replace(spec, labels=self.labels[0])
        policy = self.config.batch_policy(self.spec)
        self.validator = RequestValidator(self.name, self.spec, policy.max_batch_size)
        self.outputs = OutputValidator(self.name, self.spec)
        self.encoder = ResponseEncoder(self.name, self.version_text, self.spec)
        self.scheduler = Scheduler(self.name, policy, self.spec, self.counters)

    def _change(self, state: State, reason: str) -> None:
        self.state, self.reason = state, reason
        if state is State.UNAVAILABLE and reason != UNLOADED:
            log.error("model %s version %s is unavailable: %s", self.name, self.version, reason)
        self._on_change(self)

    def _not_ready(self) -> RequestError:
        return ModelNotReady(f"model {self.name!r} version {self.version} is {self.state}: {self.reason}")

    # ---- what its workers report

    def _on_ready(self, worker: Worker[Batch]) -> None:
        if not self.loaded:
            return
        self.scheduler.add_worker(worker)  # also while unloading: what waits is to end
        if self.state is not State.UNLOADING:
            self.scheduler.admit()
            self._change(State.READY, "")

    def _on_lost(self, worker: Worker[Batch], loss: Loss, held: list[Assigned[Batch]]) -> bool:
        if not self.loaded:
            return False
        blamed = self.scheduler.remove_worker(worker, loss, held)
        if not self.workers and self.state is State.READY:
            # Still admitting: the replacement is on its way, and what arrives meanwhile waits for it.
            self._change(State.LOADING, f"its worker was lost ({loss.how}) and is being replaced")
        return blamed

    def _on_recovery_failed(self, reason: str) -> None:
        if self.loaded and not self.workers and self.state is not State.UNLOADING:
            self._change(State.UNAVAILABLE, reason)
            self.scheduler.refuse(self._not_ready)
            self.scheduler.fail_waiting(self._not_ready)

    def _on_done(self, worker: Worker[Batch], assigned: Assigned[Batch], done: BatchDone) -> None:
        self.scheduler.on_done(worker, assigned, done)

    def _on_failed(self, worker: Worker[Batch], assigned: Assigned[Batch], reason: str) -> None:
        self.scheduler.on_failed(worker, assigned, reason)


def instance_devices(group: InstanceGroup, visible: Sequence[int]) -> list[str]:
    """The device of each worker of a group; `visible` are the GPUs of one that names none."""
    if group.kind == "gpu" or group.gpus:
        # Where none is visible the worker says so, when it tries the first.
        return [f"cuda:{gpu}" for gpu in group.gpus or visible or (0,) for _ in range(group.count)]
    return [group.kind] * group.count
