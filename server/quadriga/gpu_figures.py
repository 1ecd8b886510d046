"""What NVIDIA's management library (NVML) says of the GPUs, read when somebody asks. Server process.

A look takes NVML milliseconds, and seconds where a GPU is in trouble. So a thread of its own reads, and the event loop
waits for it no longer than a scrape may take. NVML knows the GPUs of the machine (in a container, those it was given),
whatever CUDA_VISIBLE_DEVICES says; CUDA is not loaded for that.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

log = logging.getLogger("quadriga.gpu_figures")

#: For one look at all GPUs, half of what Prometheus allows a scrape; without its end there are no figures this time.
LONGEST_LOOK_SECONDS = 5.0
#: Until a driver that could not be spoken to is tried again: it may be loading, or being updated.
RETRY_SECONDS: Final = 60.0
_FIRST_GPU: Final = Path("/dev/nvidia0")


class NvmlNotReady(Exception):
    """NVML cannot be started now, for the reason that it gives."""


class GpuFigures(NamedTuple):
    """One GPU; a figure that it does not have, or not now, is None.

    Attributes:
        number: NVML's, by its place on the bus; CUDA may number otherwise.
        uuid: Never changes.
        name: Of the product.
        utilization: The part of the last moment (up to 1 s) in which a kernel ran.
        memory_used: Bytes, the driver's share included.
        memory_total: Bytes.
        power_watts: Now.
        energy_joules: Since the driver was loaded.
        processes: Bytes by the pid of each process that computes on it, where NVML knows them. Pids are those that the
            driver gives: the server's own where both are in one PID namespace.
    """

    number: int
    uuid: str
    name: str
    utilization: float | None
    memory_used: int | None
    memory_total: int | None
    power_watts: float | None
    energy_joules: float | None
    processes: Mapping[int, int]


class Gpus:
    """The GPUs of this machine.

    Attributes:
        figures: Of the last look; none where there is no GPU, no NVML, or the look took too long.
    """

    def __init__(
        self, open_nvml: "Callable[[], Any | None] | None" = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Looks when `look` is called.

        Args:
            open_nvml: Gives the module; None where there are no figures to be had, NvmlNotReady where none are now.
            clock: In seconds.
        """
        self.figures: tuple[GpuFigures, ...] = ()
        self._open = open_nvml or open_pynvml
        self._clock = clock
        self._nvml: Any = None
        self._absent = False
        self._not_before = clock()
        self._told = ""
        self._looking: asyncio.Future[None] | None = None

    async def look(self) -> None:
        """Reads the figures anew; those who ask at the same time share one look."""
        if self._absent or self._clock() < self._not_before:
            return
        if self._looking is None:
            loop = asyncio.get_running_loop()
            self._looking = loop.create_future()
            threading.Thread(target=self._read, args=(loop,), name="quadriga-gpus", daemon=True).start()
        _, pending = await asyncio.wait((self._looking,), timeout=LONGEST_LOOK_SECONDS)
        if pending:
            self.figures = ()  # old ones would pass for new

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the thread."""
        figures: tuple[GpuFigures, ...] = ()
        try:
            if self._nvml is None:
                self._nvml = self._open()
            self._absent = self._nvml is None
            if not self._absent:
                figures = read_gpus(self._nvml)
        except NvmlNotReady as error:
            self._not_before = self._clock() + RETRY_SECONDS
            self._tell(str(error))
        except Exception:
            log.exception("the GPUs' figures cannot be read, and are left out from now on; this is a bug")
            self._absent = True
        with suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(self._looked, figures)

    def _tell(self, reason: str) -> None:
        """Once for each reason, and only where there is a GPU."""
        if reason != self._told and _FIRST_GPU.exists():
            log.warning("no figures of the GPUs are exported: NVML says %r; it is tried again every minute", reason)
            self._told = reason

    def _looked(self, figures: tuple[GpuFigures, ...]) -> None:
        self.figures = figures
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.set_result(None)


def open_pynvml() -> Any | None:  # noqa: ANN401 - a module without types
    """The module pynvml, ready for use; None where it is not installed, which is told where there is a GPU.

    Raises:
        NvmlNotReady: NVML does not start.
    """
    try:
        nvml = import_module("pynvml")
    except ModuleNotFoundError:
        if _FIRST_GPU.exists():
            log.info("no figures of the GPUs are exported without nvidia-ml-py: pip install 'quadriga[nvml]'")
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise NvmlNotReady(str(error)) from None
    return nvml


def read_gpus(nvml: Any) -> tuple[GpuFigures, ...]:  # noqa: ANN401
    """The figures of all GPUs that can be told apart; none where NVML cannot even count them."""
    count = _figure(nvml, nvml.nvmlDeviceGetCount) or 0
    gpus = (_read_gpu(nvml, index) for index in range(count))
    return tuple(gpu for gpu in gpus if gpu is not None)


def _read_gpu(nvml: Any, index: int) -> GpuFigures | None:  # noqa: ANN401
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
    except nvml.NVMLError:
        return None  # it has fallen off the bus, or is not ours
    utilization = _figure(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _figure(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    milliwatts = _figure(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    millijoules = _figure(nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    processes: dict[int, int] = {}
    for process in _figure(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ():
        if process.usedGpuMemory is not None:  # more than once, where it uses several parts of a divided GPU
            processes[process.pid] = processes.get(process.pid, 0) + process.usedGpuMemory
    return GpuFigures(
        number=index,
        uuid=uuid,
        name=name,
        utilization=None if utilization is None else utilization.gpu / 100,
        memory_used=None if memory is None else memory.used,
        memory_total=None if memory is None else memory.total,
        power_watts=None if milliwatts is None else milliwatts / 1_000,
        energy_joules=None if millijoules is None else millijoules / 1_000,
        processes=processes,
    )


def _figure(nvml: Any, read: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
    """What NVML says; None where it does not, as of a GPU that does not have the figure (NVML_ERROR_NOT_SUPPORTED)."""
    try:
        return read(*arguments)
    except nvml.NVMLError:
        return None
