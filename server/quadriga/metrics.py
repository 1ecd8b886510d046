"""Every metric of the product: names, labels, and their export from plain counters. Server process.

Nothing is observed here. A collector reads the counters when Prometheus scrapes, so that the hot path never takes one
of prometheus_client's locks.
"""

import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, get_args

import psutil
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from quadriga import __version__
from quadriga.counters import Histogram, ModelCounters
from quadriga.gpu_figures import GpuFigures
from quadriga.gpu_metrics import gpu_metrics
from quadriga.model_version import ModelVersion, State
from quadriga.registry import ModelRegistry
from quadriga.service import InferenceService
from quadriga.units import SECOND_NS
from quadriga.workers.worker import LossReason

MODEL_LABELS: Final = ("model", "version", "backend", "device")


class HistogramMetric(NamedTuple):
    """A histogram of `ModelCounters`: its metric's name and help, and the divisor to the metric's unit."""

    name: str
    text: str
    read: Callable[[ModelCounters], Histogram]
    divisor: float


HISTOGRAMS: Final = (
    HistogramMetric(
        "quadriga_request_duration_seconds",
        "From a request's arrival to its response, answered requests.",
        lambda counters: counters.total,
        SECOND_NS,
    ),
    HistogramMetric(
        "quadriga_queue_duration_seconds",
        "A request's wait for a batch and for the worker, answered requests.",
        lambda counters: counters.queue,
        SECOND_NS,
    ),
    HistogramMetric(
        "quadriga_batch_assembly_duration_seconds",
        "Copying a batch's rows into shared memory and sending it off.",
        lambda counters: counters.assembly,
        SECOND_NS,
    ),
    HistogramMetric(
        "quadriga_compute_duration_seconds",
        "A batch in the worker: the backend and the copy of its outputs.",
        lambda counters: counters.compute,
        SECOND_NS,
    ),
    HistogramMetric(
        "quadriga_response_duration_seconds",
        "From a batch's outputs to a request's response handed over, answered requests.",
        lambda counters: counters.response,
        SECOND_NS,
    ),
    HistogramMetric("quadriga_batch_size", "Rows per batch.", lambda counters: counters.batch_size, 1.0),
)


class ModelCollector(Collector):
    """Exports the counters of every loaded version, the state of the workers, and the GPUs."""

    def __init__(
        self, models: ModelRegistry, service: InferenceService, model: str = "", gpus: Sequence[GpuFigures] = ()
    ) -> None:
        """Reads from the registry: every model, or `model` alone; of the GPUs it exports what it is given."""
        self._models = models
        self._service = service
        self._model = model
        self._gpus = gpus

    def collect(self) -> Iterator[Metric]:
        """All metrics, as of now."""
        versions = [version for version in self._models.all() if self._model in ("", version.name)]
        loaded = [version for version in versions if version.loaded]
        yield from self._requests(versions)
        for histogram in HISTOGRAMS:
            yield _histogram(histogram, loaded)
        yield from _states(versions)
        yield from _workers(loaded)
        yield from gpu_metrics(self._gpus, loaded, MODEL_LABELS, _labels)
        yield _build_info()

    def _requests(self, versions: list[ModelVersion]) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "quadriga_requests",
            "Requests by how they ended. Refused ones were never admitted; without a model label, they named none or"
            " had no access.",
            labels=(*MODEL_LABELS, "outcome", "code", "reason"),
        )
        rows = CounterMetricFamily("quadriga_rows", "Rows of the requests answered.", labels=MODEL_LABELS)
        for version in versions:
            labels, counters = _labels(version), version.counters
            requests.add_metric([*labels, "answered", "OK", ""], counters.answered)
            for outcome, counts in (("failed", counters.failed), ("refused", counters.refused)):
                for (code, reason), count in counts.items():
                    requests.add_metric([*labels, outcome, code, reason], count)
            rows.add_metric(labels, counters.rows)
        for (code, reason), count in self._service.refused.items():
            requests.add_metric(["", "", "", "", "refused", code, reason], count)
        yield requests
        yield rows


def make_registry(
    models: ModelRegistry, service: InferenceService, model: str = "", gpus: Sequence[GpuFigures] = ()
) -> CollectorRegistry:
    """A registry with every metric of this server and of `gpus`, of every model or of `model` alone."""
    registry = CollectorRegistry()
    registry.register(ModelCollector(models, service, model, gpus))
    return registry


def _labels(version: ModelVersion) -> list[str]:
    return [version.name, version.version_text, version.backend, version.device]


def _histogram(histogram: HistogramMetric, versions: list[ModelVersion]) -> Metric:
    family = HistogramMetricFamily(histogram.name, histogram.text, labels=MODEL_LABELS)
    for version in versions:
        values = histogram.read(version.counters)
        cumulated, buckets = 0, []
        for bound, count in zip((*values.bounds, float("inf")), values.counts, strict=True):
            cumulated += count
            text = "+Inf" if bound == float("inf") else repr(bound / histogram.divisor)
            buckets.append((text, cumulated))
        family.add_metric(_labels(version), buckets=buckets, sum_value=values.sum / histogram.divisor)
    return family


def _states(versions: list[ModelVersion]) -> Iterator[Metric]:
    ready = GaugeMetricFamily("quadriga_model_ready", "1 when a version can answer, else 0.", labels=MODEL_LABELS)
    load = GaugeMetricFamily(
        "quadriga_model_load_seconds", "Importing the framework and loading the file.", labels=MODEL_LABELS
    )
    warm_up = GaugeMetricFamily("quadriga_model_warm_up_seconds", "Running every batch size once.", labels=MODEL_LABELS)
    size = GaugeMetricFamily(
        "quadriga_model_file_bytes",
        "Size of the version's file, or of its folder's files, on disk when it was loaded.",
        labels=MODEL_LABELS,
    )
    waiting = GaugeMetricFamily("quadriga_queue_depth", "Requests that no worker holds.", labels=MODEL_LABELS)
    limit = GaugeMetricFamily("quadriga_queue_limit", "Requests that may wait, over all levels.", labels=MODEL_LABELS)
    in_flight = GaugeMetricFamily("quadriga_batches_in_flight", "Batches that workers hold.", labels=MODEL_LABELS)
    for version in versions:
        labels = _labels(version)
        ready.add_metric(labels, version.state is State.READY)
        load.add_metric(labels, version.load_ns / SECOND_NS)
        warm_up.add_metric(labels, version.warm_up_ns / SECOND_NS)
        size.add_metric(labels, version.file_bytes)
        if version.loaded:
            waiting.add_metric(labels, version.scheduler.waiting)
            limit.add_metric(labels, version.scheduler.queue_limit)
            in_flight.add_metric(labels, version.scheduler.in_flight)
    yield from (ready, load, warm_up, size, waiting, limit, in_flight)


def _workers(versions: list[ModelVersion]) -> Iterator[Metric]:
    labels = (*MODEL_LABELS, "worker")
    up = GaugeMetricFamily("quadriga_workers_up", "Workers that can take batches.", labels=MODEL_LABELS)
    restarts = CounterMetricFamily(
        "quadriga_worker_restarts", "Workers started to replace lost ones.", labels=MODEL_LABELS
    )
    deaths = CounterMetricFamily(
        "quadriga_worker_deaths",
        "Workers lost unasked: they died, or were killed since a batch took too long (hung) or they talked nonsense"
        " (broken).",
        labels=(*MODEL_LABELS, "reason"),
    )
    memory = GaugeMetricFamily("quadriga_worker_resident_memory_bytes", "Resident memory of a worker.", labels=labels)
    cpu = CounterMetricFamily("quadriga_worker_cpu_seconds", "CPU time of a worker, user and system.", labels=labels)
    for version in versions:
        up.add_metric(_labels(version), len(version.workers))
        restarts.add_metric(_labels(version), version.restarts)
        for reason in get_args(LossReason):
            deaths.add_metric([*_labels(version), reason], version.deaths.get(reason, 0))
        for worker in version.workers:
            try:
                process = psutil.Process(worker.pid)
                times, resident = process.cpu_times(), process.memory_info().rss
            except psutil.NoSuchProcess:
                continue  # it died a moment ago; the next scrape shows the restart
            memory.add_metric([*_labels(version), worker.name], resident)
            cpu.add_metric([*_labels(version), worker.name], times.user + times.system)
    yield from (up, restarts, deaths, memory, cpu)
    server = psutil.Process()
    times = server.cpu_times()
    yield GaugeMetricFamily(
        "quadriga_server_resident_memory_bytes", "Resident memory of the server process.", server.memory_info().rss
    )
    yield CounterMetricFamily(
        "quadriga_server_cpu_seconds", "CPU time of the server process, user and system.", times.user + times.system
    )


def _build_info() -> Metric:
    info = GaugeMetricFamily("quadriga_build_info", "Always 1; the versions.", labels=("version", "python"))
    info.add_metric([__version__, platform.python_version()], 1)
    return info
