"""The metrics of GPUs: their names, and which worker uses which. Server process; `metrics` exports them.

A worker is found among a GPU's processes by its pid, whatever its model's device is called: CUDA's numbers of GPUs are
not NVML's.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from quadriga.gpu_figures import GpuFigures
from quadriga.model_version import ModelVersion

GPU_LABELS: Final = ("gpu", "uuid", "name")


class GpuMetric(NamedTuple):
    """A figure of a GPU: its metric's class, name and help."""

    family: type[GaugeMetricFamily] | type[CounterMetricFamily]
    name: str
    text: str
    read: Callable[[GpuFigures], float | None]


GPU_METRICS: Final = (
    GpuMetric(
        GaugeMetricFamily,
        "quadriga_gpu_utilization_ratio",
        "The part of the last moment in which a kernel ran, of whatever process.",
        lambda gpu: gpu.utilization,
    ),
    GpuMetric(
        GaugeMetricFamily,
        "quadriga_gpu_memory_used_bytes",
        "Memory of the GPU in use, by whatever process.",
        lambda gpu: gpu.memory_used,
    ),
    GpuMetric(GaugeMetricFamily, "quadriga_gpu_memory_total_bytes", "Memory of the GPU.", lambda gpu: gpu.memory_total),
    GpuMetric(GaugeMetricFamily, "quadriga_gpu_power_watts", "What the GPU draws now.", lambda gpu: gpu.power_watts),
    GpuMetric(
        CounterMetricFamily,
        "quadriga_gpu_energy_joules",
        "What the GPU has drawn since its driver was loaded.",
        lambda gpu: gpu.energy_joules,
    ),
)


def gpu_metrics(
    gpus: Sequence[GpuFigures], versions: Sequence[ModelVersion], labels: Sequence[str], of: Callable[..., list[str]]
) -> Iterator[Metric]:
    """The families of all figures; none where there is no GPU.

    Args:
        gpus: What was read of them.
        versions: Whose workers may use them.
        labels: The names of a version's labels.
        of: Their values.
    """
    if not gpus:
        return
    for metric in GPU_METRICS:
        family = metric.family(metric.name, metric.text, labels=GPU_LABELS)
        for gpu in gpus:
            if (value := metric.read(gpu)) is not None:
                family.add_metric(_labels(gpu), value)
        yield family
    memory = GaugeMetricFamily(
        "quadriga_worker_gpu_memory_bytes",
        "Memory of a GPU that a worker uses.",
        labels=(*labels, "worker", *GPU_LABELS),
    )
    for version in versions:
        for worker in version.workers:
            for gpu in gpus:
                if (used := gpu.processes.get(worker.pid)) is not None:
                    memory.add_metric([*of(version), worker.name, *_labels(gpu)], used)
    yield memory


def _labels(gpu: GpuFigures) -> list[str]:
    return [str(gpu.number), gpu.uuid, gpu.name]
