"""A stand-in for NVML, as pynvml shows it: the functions that the server calls, and no more.

Two GPUs: one that has every figure, on which all child processes of this one compute, and an old one that has not.
"""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import psutil

UUIDS = ("GPU-00000000-0000-0000-0000-00000000000a", "GPU-00000000-0000-0000-0000-00000000000b")
NAMES = ("NVIDIA H100", "Tesla K80")
GIB = 2**30
#: What each child process uses.
USED = 3 * GIB


def environment(folder: Path) -> dict[str, str]:
    """Of a server that finds this stand-in, by way of a module in an empty folder, when it imports pynvml."""
    (folder / "pynvml.py").write_text("from fake_nvml import *\n")
    paths = (str(folder), str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


class NVMLError(Exception):
    """pynvml's own."""


def not_supported(handle: int) -> NoReturn:
    raise NVMLError("Not Supported")


def nvmlInit() -> None:
    pass


def nvmlDeviceGetCount() -> int:
    return len(UUIDS)


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    return index


def nvmlDeviceGetUUID(handle: int) -> str:
    return UUIDS[handle]


def nvmlDeviceGetName(handle: int) -> str:
    return NAMES[handle]


def nvmlDeviceGetUtilizationRates(handle: int) -> Any:
    return SimpleNamespace(gpu=37, memory=5) if handle == 0 else not_supported(handle)


def nvmlDeviceGetMemoryInfo(handle: int) -> Any:
    return SimpleNamespace(total=80 * GIB, free=70 * GIB, used=10 * GIB)


def nvmlDeviceGetPowerUsage(handle: int) -> int:
    return 251_500 if handle == 0 else not_supported(handle)


def nvmlDeviceGetTotalEnergyConsumption(handle: int) -> int:
    return 1_234_567 if handle == 0 else not_supported(handle)


def nvmlDeviceGetComputeRunningProcesses(handle: int) -> list[Any]:
    if handle != 0:
        not_supported(handle)
    children = psutil.Process().children(recursive=True)
    return [SimpleNamespace(pid=child.pid, usedGpuMemory=USED, gpuInstanceId=None) for child in children]
