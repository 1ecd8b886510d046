"""From NVML to metrics: figures in their units, those that a GPU does not have, and which worker uses which GPU."""

import asyncio
import logging
import os
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import fake_nvml
import pytest
from fake_nvml import GIB, NAMES, UUIDS, NVMLError

from quadriga import gpu_figures
from quadriga.gpu_figures import RETRY_SECONDS, GpuFigures, Gpus, NvmlNotReady, open_pynvml, read_gpus
from quadriga.gpu_metrics import GPU_LABELS, gpu_metrics
from quadriga.metrics import MODEL_LABELS
from quadriga.model_version import ModelVersion

FIRST, SECOND = ({"gpu": str(number), "uuid": UUIDS[number], "name": NAMES[number]} for number in (0, 1))


def nvml(**functions: Any) -> Any:
    """The stand-in, with other functions in places of its own."""
    names = {name: value for name, value in vars(fake_nvml).items() if name.startswith(("nvml", "NVML"))}
    return SimpleNamespace(**{**names, **functions})


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy with something else, a thread may take long to start."""
    monkeypatch.setattr(gpu_figures, "LONGEST_LOOK_SECONDS", 60.0)


def counted(gpus: Gpus) -> int:
    return len(gpus.figures)


def samples(gpus: tuple[GpuFigures, ...], *pids: int) -> list[tuple[str, dict[str, str], float]]:
    """All that is exported, beside a model whose workers have such pids."""
    workers = [SimpleNamespace(pid=pid, name=f"m/3#{place}") for place, pid in enumerate(pids)]
    version = cast("ModelVersion", SimpleNamespace(workers=workers))
    families = gpu_metrics(gpus, [version], MODEL_LABELS, lambda version: ["m", "3", "onnx", "cuda:0"])
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def test_figures_are_exported_in_base_units_and_those_a_gpu_does_not_have_are_left_out() -> None:
    assert samples(read_gpus(nvml())) == [
        ("quadriga_gpu_utilization_ratio", FIRST, 0.37),
        ("quadriga_gpu_memory_used_bytes", FIRST, 10 * GIB),
        ("quadriga_gpu_memory_used_bytes", SECOND, 10 * GIB),
        ("quadriga_gpu_memory_total_bytes", FIRST, 80 * GIB),
        ("quadriga_gpu_memory_total_bytes", SECOND, 80 * GIB),
        ("quadriga_gpu_power_watts", FIRST, 251.5),
        ("quadriga_gpu_energy_joules_total", FIRST, 1234.567),
    ]


def test_a_worker_is_found_on_each_gpu_that_it_uses() -> None:
    used: dict[int, list[tuple[int, int | None]]] = {
        0: [(11, GIB), (12, 2 * GIB), (12, 3 * GIB), (99, GIB)],
        1: [(11, 4 * GIB), (13, None)],
    }

    def processes(handle: int) -> list[Any]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in used[handle]]

    gpus = read_gpus(nvml(nvmlDeviceGetComputeRunningProcesses=processes))
    own = dict(zip(MODEL_LABELS, ("m", "3", "onnx", "cuda:0"), strict=True))
    found = [each for each in samples(gpus, 11, 12, 13, 14) if each[0] == "quadriga_worker_gpu_memory_bytes"]
    assert [(labels, value) for _, labels, value in found] == [
        ({**own, "worker": "m/3#0", **FIRST}, GIB),
        ({**own, "worker": "m/3#0", **SECOND}, 4 * GIB),
        ({**own, "worker": "m/3#1", **FIRST}, 5 * GIB),
    ]
    assert set(found[0][1]) == {*MODEL_LABELS, "worker", *GPU_LABELS}


def test_a_gpu_that_is_lost_does_not_hide_the_others() -> None:
    def handle_of(index: int) -> int:
        if index == 0:
            raise NVMLError("GPU is lost")
        return index

    assert [gpu.number for gpu in read_gpus(nvml(nvmlDeviceGetHandleByIndex=handle_of))] == [1]


def test_a_driver_that_cannot_count_has_no_gpus() -> None:
    def count() -> int:
        raise NVMLError("Unknown Error")

    assert read_gpus(nvml(nvmlDeviceGetCount=count)) == ()


def test_without_a_gpu_nothing_is_exported() -> None:
    assert samples((), 11) == []


def test_a_look_is_made_anew_each_time_and_shared_by_those_who_ask_together() -> None:
    async def run() -> None:
        opened = []

        def open_nvml() -> Any:
            opened.append(threading.current_thread())
            return nvml()

        gpus = Gpus(open_nvml)
        await asyncio.gather(gpus.look(), gpus.look())
        first = gpus.figures
        await gpus.look()
        assert (len(first), len(gpus.figures)) == (2, 2)
        assert gpus.figures is not first
        assert len(opened) == 1
        assert opened[0] is not threading.current_thread()

    asyncio.run(run())


def test_where_there_is_no_nvml_it_is_asked_for_once() -> None:
    async def run() -> None:
        answers = iter([None])
        gpus = Gpus(lambda: next(answers))
        await gpus.look()
        await gpus.look()
        assert gpus.figures == ()

    asyncio.run(run())


def test_a_look_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def count() -> int:
        release.wait()
        return 2

    async def run() -> None:
        gpus = Gpus(lambda: nvml(nvmlDeviceGetCount=count))
        release.set()
        await gpus.look()
        assert counted(gpus) == 2
        release.clear()
        monkeypatch.setattr(gpu_figures, "LONGEST_LOOK_SECONDS", 0.0)
        await gpus.look()
        assert counted(gpus) == 0
        release.set()
        monkeypatch.setattr(gpu_figures, "LONGEST_LOOK_SECONDS", 60.0)
        await gpus.look()
        assert counted(gpus) == 2

    try:
        asyncio.run(run())
    finally:
        release.set()


def test_a_bug_is_told_once_and_ends_the_figures(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        gpus = Gpus(lambda: nvml(nvmlDeviceGetMemoryInfo=lambda handle: "not memory"))
        await gpus.look()
        await gpus.look()
        assert gpus.figures == ()

    asyncio.run(run())
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize(("there", "lines"), [(True, 1), (False, 0)])
def test_what_is_missing_is_told_where_there_is_a_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, there: bool, lines: int
) -> None:
    feign_device(monkeypatch, tmp_path, there=there)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with caplog.at_level(logging.INFO):
        assert open_pynvml() is None
    assert [record.levelno for record in caplog.records] == [logging.INFO] * lines
    monkeypatch.setitem(sys.modules, "pynvml", cast("ModuleType", nvml()))
    assert open_pynvml() is sys.modules["pynvml"]


@pytest.mark.parametrize(("there", "lines"), [(True, 1), (False, 0)])
def test_a_driver_that_is_not_ready_is_tried_again_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, there: bool, lines: int
) -> None:
    feign_device(monkeypatch, tmp_path, there=there)
    tried: list[float] = []
    now = [1000.0]

    def start() -> None:
        tried.append(now[0])
        if len(tried) < 3:
            raise NVMLError("RM has detected an NVML/RM version mismatch.")

    monkeypatch.setitem(sys.modules, "pynvml", cast("ModuleType", nvml(nvmlInit=start)))
    with pytest.raises(NvmlNotReady, match="version mismatch"):
        open_pynvml()
    tried.clear()

    async def run() -> None:
        gpus = Gpus(clock=lambda: now[0])
        for passed in (0, RETRY_SECONDS - 1, RETRY_SECONDS, 2 * RETRY_SECONDS):
            now[0] = 1000 + passed
            await gpus.look()
            assert counted(gpus) == (2 if passed == 2 * RETRY_SECONDS else 0)

    asyncio.run(run())
    assert tried == [1000, 1000 + RETRY_SECONDS, 1000 + 2 * RETRY_SECONDS]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * lines


def feign_device(monkeypatch: pytest.MonkeyPatch, folder: Path, *, there: bool) -> None:
    """A machine with or without a GPU, by the driver's file."""
    device = folder / "nvidia0"
    if there:
        device.touch()
    monkeypatch.setattr(gpu_figures, "_FIRST_GPU", device)


def test_the_stand_in_has_functions_of_nvml_alone() -> None:
    real = vars(import_module("pynvml"))
    feigned = [name for name in vars(nvml()) if name.startswith("nvml")]
    assert len(feigned) == 10
    assert [name for name in feigned if not callable(real.get(name))] == []
    assert issubclass(real["NVMLError"], Exception)


@pytest.mark.gpu
@pytest.mark.skipif(not Path("/dev/nvidia0").exists(), reason="no NVIDIA GPU on this machine")
def test_a_real_gpu_has_figures() -> None:
    pytest.importorskip("pynvml")
    opened = open_pynvml()
    assert opened is not None
    (gpu, *_) = read_gpus(opened)
    assert gpu.uuid.startswith("GPU-")
    assert gpu.memory_used is not None
    assert gpu.memory_total is not None
    assert 0 < gpu.memory_used < gpu.memory_total
    assert gpu.utilization is None or 0 <= gpu.utilization <= 1
    assert os.getpid() not in gpu.processes  # NVML alone does not compute
