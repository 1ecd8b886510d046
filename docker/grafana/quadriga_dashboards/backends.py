"""*Backends side by side*: one network on every backend that serves it, each figure of all of them in one panel."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard, units

from quadriga_dashboards.frame import chosen, events, put_together
from quadriga_dashboards.panels import BYTE_SECONDS, CORES, FULL, PHASES, QUARTER, THIRD, Query, bars, rows, series

#: What may follow a network's name, after "_", in the name of one of its models: the network has no label.
SUFFIXES: Final = "keras|onnx|pytorch|savedmodel|tensorflow|torch|torchscript"
SELECTED: Final = 'model=~"$model",backend=~"$backend",version=~"$version"'
#: A backend -> its color in all panels; models and versions of it are in shades.
HUES: Final = {"keras": "red", "onnx": "blue", "tensorflow": "orange", "torchscript": "green"}
WHO: Final = "{{backend}}: {{model}}/{{version}} on {{device}}"
Panel = Builder[dashboard.Panel]
KEYS: Final = ("backend", "model", "version", "device")


def build() -> dashboard.Dashboard:
    """The dashboard."""
    ready = "quadriga_model_ready"
    variables = [
        chosen(
            "network",
            "Network",
            "A model's name up to the format; a regular expression may be typed",
            f"{ready}, model",
            several=False,
            pattern=f"^(.+?)(?:_(?:{SUFFIXES}))?$",
        ),
        chosen("model", "Models", "Its models", f'{ready}{{model=~"($network)(_({SUFFIXES}))?"}}, model', several=True),
        chosen("backend", "Backends", "Theirs", f'{ready}{{model=~"$model"}}, backend', several=True),
        chosen("version", "Versions", "Theirs", f'{ready}{{model=~"$model"}}, version', several=True),
    ]
    return put_together(
        "quadriga-backends",
        "Quadriga: backends side by side",
        "One network on every backend that serves it",
        variables,
        events(SELECTED),
        [
            ("Now", [_summary()]),
            ("Latency in the server, answered requests", _latency()),
            ("Throughput and errors", _throughput()),
            ("What a row costs", _cost()),
            ("Batches and saturation", _batches()),
            ("Where the time of a request goes", _phases()),
        ],
    )


def recorded(name: str) -> str:
    """A recording rule's figure, of what is selected."""
    return f"quadriga:{name}{{{SELECTED}}}"


def _lines(name: str, title: str, unit: str, description: str, width: int = QUARTER, top: float | None = None) -> Panel:
    return series(title, description, unit, Query(recorded(name), WHO), width=width, top=top, hues=HUES)


def _summary() -> Panel:
    def column(name: str, heading: str, unit: str) -> Query:
        return Query(f"max by ({', '.join(KEYS)}) ({recorded(name)})", heading, unit)

    return rows(
        "Every backend's figures of the last minute",
        "Figures that need traffic are empty without it.",
        KEYS,
        column("request_duration_seconds:p50", "p50", units.Seconds),
        column("request_duration_seconds:p95", "p95", units.Seconds),
        column("request_duration_seconds:p99", "p99", units.Seconds),
        column("answers:rate1m", "answers", units.RequestsPerSecond),
        column("rows:rate1m", "rows", units.RowsPerSecond),
        column("errors:ratio1m", "errors", units.PercentUnit),
        column("batch_size:mean1m", "rows per batch", units.NoUnit),
        column("cpu_seconds_per_row:mean1m", "CPU per row", units.Seconds),
        column("worker_resident_memory_bytes:sum", "memory", units.BytesIEC),
        links={"model": ("The model in depth", "/d/quadriga-model?var-model=${__value.raw}")},
    )


def _latency() -> list[Panel]:
    text = "From a request's arrival to its response, as the histogram's buckets tell it; 10 s and more show as 10 s."
    return [
        _lines(f"request_duration_seconds:{quantile}", quantile, units.Seconds, text, THIRD)
        for quantile in ("p50", "p95", "p99")
    ]


def _throughput() -> list[Panel]:
    refusals = f'quadriga:requests:rate1m{{{SELECTED},outcome!="answered"}}'
    return [
        _lines("answers:rate1m", "Requests answered", units.RequestsPerSecond, "Per second.", THIRD),
        _lines(
            "rows:rate1m",
            "Rows answered",
            units.RowsPerSecond,
            "A request may have several rows, one image each.",
            THIRD,
        ),
        _lines(
            "errors:ratio1m", "Errors", units.PercentUnit, "Requests that failed by the server's fault, of all.", THIRD
        ),
        series(
            "Failed and refused, by reason",
            "Also by the callers' fault. A reason shows from its second request on.",
            units.RequestsPerSecond,
            Query(refusals, f"{WHO}, {{{{reason}}}}"),
            width=FULL,
            hues=HUES,
        ),
    ]


def _cost() -> list[Panel]:
    return [
        _lines(
            "cpu_seconds_per_row:mean1m",
            "CPU time per row",
            units.Seconds,
            "Of the workers, user and system, all threads.",
        ),
        _lines("worker_cpu_seconds:rate1m", "CPU of the workers", CORES, "Cores that they keep busy."),
        _lines(
            "worker_resident_memory_bytes:sum",
            "Memory of the workers",
            units.BytesIEC,
            "Resident, the framework's too.",
        ),
        _lines(
            "memory_byte_seconds_per_row:mean1m",
            "Memory held per row",
            BYTE_SECONDS,
            "Memory of the workers by rows per second: what a row holds, and for how long.",
        ),
    ]


def _batches() -> list[Panel]:
    return [
        _lines("batch_size:mean1m", "Rows per batch", units.NoUnit, "Mean.", THIRD),
        _lines("workers_busy:ratio1m", "Workers computing", units.PercentUnit, "Part of their time.", THIRD, 1),
        _lines("queue_filled:ratio", "Queue", units.PercentUnit, "Waiting requests, of those that may wait.", THIRD, 1),
    ]


def _phases() -> list[Panel]:
    name = "phase_duration_seconds:mean1m"
    latest = f"max by ({', '.join(KEYS)}, phase) ({recorded(name)})"
    texts = {
        "queue": "Waiting for a batch and for the worker.",
        "assembly": "Copying a batch's rows into shared memory.",
        "compute": "The worker: the framework, and the copy of its outputs.",
        "response": "From the batch's outputs to the response.",
    }
    return [
        bars(
            "Mean time of a request by phase, last minute",
            "The bars' lengths are the mean durations of a request.",
            units.Seconds,
            Query(f'label_join({latest}, "served", " ", "backend", "model", "version", "device")', "{{phase}}"),
            row="served",
            part="phase",
            hues=PHASES,
        ),
        *(
            series(
                phase.capitalize(),
                f"{text} Mean per request.",
                units.Seconds,
                Query(f'quadriga:{name}{{{SELECTED},phase="{phase}"}}', WHO),
                width=QUARTER,
                hues=HUES,
            )
            for phase, text in texts.items()
        ),
    ]
