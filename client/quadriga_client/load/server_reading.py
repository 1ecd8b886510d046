"""A server's cumulative counters of one model at one moment, as values. Pure.

They come from a page of Quadriga's or Triton's metrics, or from the rpc ModelStatistics.

What servers count differs in one thing. Triton's durations, and those of ModelStatistics, are sums over requests, where
a batch's time counts for each of its requests. Quadriga's page counts the assembly and the computing of each batch once
(`per_batch`), and the whole of each request.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.samples import Sample

from quadriga_client.load.errors import LoadError
from quadriga_client.load.metrics_page import Series, first_line, read
from quadriga_client.statistics import Duration, ModelStatistics

_S: Final = 1e3
_US: Final = 1e-3
_NS: Final = 1e-6
#: The metric by which a server is known: it is there for each loaded model, whether or not it was ever asked.
_QUADRIGA: Final = "quadriga_requests_total"
_TRITON: Final = "nv_inference_request_success"
_QUADRIGA_DURATIONS: Final = ("request", "queue", "batch_assembly", "compute", "response")
_TRITON_DURATIONS: Final = ("request", "queue", "compute_input", "compute_infer", "compute_output")
#: All that is read of a page.
NAMES: Final = frozenset(
    {
        _QUADRIGA,
        *(f"quadriga_{phase}_duration_seconds_sum" for phase in _QUADRIGA_DURATIONS),
        "quadriga_rows_total",
        "quadriga_batch_size_sum",
        "quadriga_batch_size_count",
        "quadriga_model_load_seconds",
        "quadriga_model_warm_up_seconds",
        "quadriga_model_file_bytes",
        "quadriga_worker_restarts_total",
        "quadriga_worker_cpu_seconds_total",
        "quadriga_worker_resident_memory_bytes",
        "quadriga_server_cpu_seconds_total",
        "quadriga_server_resident_memory_bytes",
        _TRITON,
        *(f"nv_inference_{phase}_duration_us" for phase in _TRITON_DURATIONS),
        "nv_inference_request_failure",
        "nv_inference_count",
        "nv_inference_exec_count",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a server tells of a model besides its requests; None where it does not.

    Attributes:
        load_seconds: Importing the framework and loading the file.
        warm_up_seconds: Running every batch size once.
        file_bytes: Of its file or folder on the server's disk.
        memory_bytes: Resident, of its workers; pages that they share count in each.
        server_memory_bytes: Resident, of the server process, which all models share.
        cpu_seconds: Of its workers since they started, loading included.
    """

    load_seconds: float | None = None
    warm_up_seconds: float | None = None
    file_bytes: int | None = None
    memory_bytes: int | None = None
    server_memory_bytes: int | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Counts and durations since the model was loaded, durations in ms.

    Attributes:
        answered: Requests with OK.
        ended: Those, and all that failed or were refused; None where the server does not count these.
        rows: In batches that ran.
        batches: How many those were.
        total: Of requests, from arrival to response.
        queue: Of requests.
        assembly: Of requests, or of batches.
        compute: Likewise.
        response: Of requests.
    """

    answered: float
    ended: float | None
    rows: float
    batches: float
    total: float
    queue: float
    assembly: float
    compute: float
    response: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReading:
    """One moment.

    Attributes:
        source: As `ServerSide` has it.
        sums: Of the model.
        per_batch: Whether assembly and compute count each batch once.
        restarts: Workers that replaced dead ones.
        worker_cpu: Seconds by worker; empty where the server does not tell.
        server_cpu: Seconds of the server process.
        facts: What else is told of the model.
    """

    source: str
    sums: Sums
    per_batch: bool = False
    restarts: float = 0.0
    worker_cpu: Mapping[str, float] = field(default_factory=dict)
    server_cpu: float | None = None
    facts: ModelFacts = ModelFacts()


def from_page(text: str, url: str, model: str, version: str) -> ServerReading:
    """What a page tells of a model; of all its versions together where `version` is empty.

    Raises:
        LoadError: It tells nothing of it, or cannot be read.
    """
    samples = read(text, NAMES, url)
    series = Series(samples, {"model": model, **({"version": version} if version else {})})
    for marker, reading in ((_QUADRIGA, _of_quadriga), (_TRITON, _of_triton)):
        if marker in series:
            return reading(series, Series(samples, {}), url)
    raise LoadError(_absence(samples, text, url, f"{model!r} version {version}" if version else repr(model)))


def from_statistics(statistics: Sequence[ModelStatistics], source: str) -> ServerReading:
    """What the rpc's answer tells, its versions together."""

    def total(read: Callable[[ModelStatistics], Duration]) -> float:
        return sum(read(version).ns for version in statistics) * _NS

    sums = Sums(
        answered=sum(version.success.count for version in statistics),
        ended=None,  # failures are there, but not what was turned away before the queue
        rows=sum(version.inference_count for version in statistics),
        batches=sum(version.execution_count for version in statistics),
        total=total(lambda version: version.success),
        queue=total(lambda version: version.queue),
        assembly=total(lambda version: version.compute_input),
        compute=total(lambda version: version.compute_infer),
        response=total(lambda version: version.compute_output),
    )
    return ServerReading(source=source, sums=sums)


def _of_quadriga(series: Series, server: Series, url: str) -> ServerReading:
    total = series.total
    duration = {
        phase: _S * _needed(series, f"quadriga_{phase}_duration_seconds_sum", url) for phase in _QUADRIGA_DURATIONS
    }
    sums = Sums(
        answered=total(_QUADRIGA, outcome="answered") or 0.0,
        ended=_needed(series, _QUADRIGA, url),
        rows=_needed(series, "quadriga_batch_size_sum", url),
        batches=_needed(series, "quadriga_batch_size_count", url),
        total=duration["request"],
        queue=duration["queue"],
        assembly=duration["batch_assembly"],
        compute=duration["compute"],
        response=duration["response"],
    )
    return ServerReading(
        source=url,
        sums=sums,
        per_batch=True,
        restarts=total("quadriga_worker_restarts_total") or 0.0,
        worker_cpu=series.by("quadriga_worker_cpu_seconds_total", "worker"),
        server_cpu=server.total("quadriga_server_cpu_seconds_total"),
        facts=ModelFacts(
            load_seconds=total("quadriga_model_load_seconds"),
            warm_up_seconds=total("quadriga_model_warm_up_seconds"),
            file_bytes=_whole(total("quadriga_model_file_bytes")),
            memory_bytes=_whole(total("quadriga_worker_resident_memory_bytes")),
            server_memory_bytes=_whole(server.total("quadriga_server_resident_memory_bytes")),
            cpu_seconds=total("quadriga_worker_cpu_seconds_total"),
        ),
    )


def _of_triton(series: Series, server: Series, url: str) -> ServerReading:
    duration = {phase: _US * _needed(series, f"nv_inference_{phase}_duration_us", url) for phase in _TRITON_DURATIONS}
    answered = _needed(series, _TRITON, url)
    failed = series.total("nv_inference_request_failure")
    sums = Sums(
        answered=answered,
        ended=None if failed is None else answered + failed,
        rows=_needed(series, "nv_inference_count", url),
        batches=_needed(series, "nv_inference_exec_count", url),
        total=duration["request"],
        queue=duration["queue"],
        assembly=duration["compute_input"],
        compute=duration["compute_infer"],
        response=duration["compute_output"],
    )
    return ServerReading(source=url, sums=sums)


def _needed(series: Series, name: str, url: str) -> float:
    value = series.total(name)
    if value is None:
        raise LoadError(f"{url} has no {name} of the model: it is not loaded, or the server's version is not supported")
    return value


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _absence(samples: Sequence[Sample], text: str, url: str, wanted: str) -> str:
    known = sorted({sample.labels["model"] for sample in samples if sample.labels.get("model")})
    if known:
        return f"{url} tells nothing of model {wanted}; it has {', '.join(map(repr, known))}"
    if samples or "\n# TYPE " in f"\n{text}":
        return f"{url} has no metrics of Quadriga's or Triton's models; give the page of the server that is tested"
    return f"{url} is no metrics page; it begins {first_line(text)!r}"
