"""*Model*: one model in depth, its versions beside each other."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard, units

from quadriga_dashboards.frame import chosen, events, put_together
from quadriga_dashboards.panels import CORES, HALF, PHASES, QUARTER, THIRD, Query, number, series, spread

SELECTED: Final = 'model="$model",backend=~"$backend",version=~"$version"'
QUANTILES: Final = {"p50": "green", "p95": "orange", "p99": "red", "objective": "purple"}
WHO: Final = "{{model}}/{{version}}"
Panel = Builder[dashboard.Panel]


def build() -> dashboard.Dashboard:
    """The dashboard."""
    ready = "quadriga_model_ready"
    variables = [
        chosen("model", "Model", "By its name", f"{ready}, model", several=False),
        chosen("backend", "Backends", "Its own", f'{ready}{{model="$model"}}, backend', several=True),
        chosen("version", "Versions", "Its own", f'{ready}{{model="$model"}}, version', several=True),
    ]
    return put_together(
        "quadriga-model",
        "Quadriga: model",
        "One model in depth",
        variables,
        events(SELECTED),
        [
            ("Now", _now()),
            ("Latency in the server, answered requests", _latency()),
            ("Requests", _requests()),
            ("Queue and batches", _batches()),
            ("Workers", _workers()),
        ],
    )


def recorded(name: str) -> str:
    """A recording rule's figure, of what is selected."""
    return f"quadriga:{name}{{{SELECTED}}}"


def exported(name: str) -> str:
    """A metric of the server's, of what is selected."""
    return f"quadriga_{name}{{{SELECTED}}}"


def _now() -> list[Panel]:
    def summed(name: str, unit: str = units.NoUnit) -> Query:
        return Query(f"sum by (model, version) ({exported(name)})", WHO, unit)

    def highest(name: str, unit: str) -> Query:
        return Query(f"max by (model, version) ({exported(name)})", WHO, unit)

    return [
        number("Servers ready", "On so many a version can answer.", summed("model_ready"), least=1),
        number("Workers", "Those that can take batches.", summed("workers_up"), least=1),
        number(
            "Restarts",
            "Workers started to replace dead ones, since the version was loaded.",
            summed("worker_restarts_total"),
            bad={1: "orange"},
        ),
        number(
            "Loading", "Importing the framework and loading the file.", highest("model_load_seconds", units.Seconds)
        ),
        number("Warm-up", "Running every batch size once.", highest("model_warm_up_seconds", units.Seconds)),
        number("On disk", "The version's file or folder.", highest("model_file_bytes", units.BytesIEC)),
    ]


def _latency() -> list[Panel]:
    quantiles = [
        Query(recorded(f"request_duration_seconds:{name}"), f"{name} of {WHO}") for name in ("p50", "p95", "p99")
    ]
    objective = Query('quadriga:model_objective_seconds:p99{model="$model"}', "objective of p99")
    buckets = exported("request_duration_seconds_bucket")
    return [
        series(
            "Percentiles",
            "From a request's arrival to its response; dashed is the objective that objectives.yml gives the p99.",
            units.Seconds,
            *quantiles,
            objective,
            dashed="objective of p99",
            hues=QUANTILES,
        ),
        series(
            "Mean time by phase",
            "Together they are the mean duration of a request.",
            units.Seconds,
            Query(recorded("phase_duration_seconds:mean1m"), f"{{{{phase}}}} of {WHO}"),
            stacked=True,
            hues=PHASES,
        ),
        spread(
            "Durations",
            "How many requests took how long.",
            units.Seconds,
            Query(f"sum by (le) (increase({buckets}[$__rate_interval]))", "{{le}}"),
            width=THIRD,
        ),
    ]


def _requests() -> list[Panel]:
    refusals = f'sum by (version, reason) (quadriga:requests:rate1m{{{SELECTED},outcome!="answered"}})'
    return [
        series(
            "Requests answered",
            "Per second.",
            units.RequestsPerSecond,
            Query(recorded("answers:rate1m"), WHO),
            width=QUARTER,
        ),
        series("Rows answered", "Per second.", units.RowsPerSecond, Query(recorded("rows:rate1m"), WHO), width=QUARTER),
        series(
            "Errors",
            "Requests that failed by the server's fault, of all.",
            units.PercentUnit,
            Query(recorded("errors:ratio1m"), WHO),
            width=QUARTER,
        ),
        series(
            "Failed and refused, by reason",
            "Also by the callers' fault. A reason shows from its second request on.",
            units.RequestsPerSecond,
            Query(refusals, "{{reason}}, version {{version}}"),
            width=QUARTER,
        ),
    ]


def _batches() -> list[Panel]:
    def per_server(name: str) -> Query:
        return Query(exported(name), f"{WHO}, {{{{instance}}}}")

    return [
        series(
            "Waiting requests",
            "Those that wait for a worker.",
            units.NoUnit,
            per_server("queue_depth"),
            whole=True,
        ),
        series(
            "Queue",
            "Waiting requests, of those that may wait (`max_queue_size`).",
            units.PercentUnit,
            Query(recorded("queue_filled:ratio"), WHO),
            top=1,
        ),
        series(
            "Batches in flight",
            "Those that workers hold.",
            units.NoUnit,
            per_server("batches_in_flight"),
            whole=True,
        ),
        series("Rows per batch", "Mean.", units.NoUnit, Query(recorded("batch_size:mean1m"), WHO), width=HALF),
        spread(
            "Batches by rows",
            "How many batches had how many rows.",
            units.NoUnit,
            Query(f"sum by (le) (increase({exported('batch_size_bucket')}[$__rate_interval]))", "{{le}}"),
            width=HALF,
        ),
    ]


def _workers() -> list[Panel]:
    worker = "{{worker}}, {{instance}}"
    cpu = f"rate({exported('worker_cpu_seconds_total')}[$__rate_interval])"
    return [
        series("CPU by worker", "Cores that it keeps busy.", CORES, Query(cpu, worker), stacked=True, width=HALF),
        series(
            "Memory by worker",
            "Resident.",
            units.BytesIEC,
            Query(exported("worker_resident_memory_bytes"), worker),
            stacked=True,
            width=HALF,
        ),
        series(
            "Workers computing",
            "Part of their time.",
            units.PercentUnit,
            Query(recorded("workers_busy:ratio1m"), WHO),
            top=1,
        ),
        series(
            "CPU time per row", "Of its workers.", units.Seconds, Query(recorded("cpu_seconds_per_row:mean1m"), WHO)
        ),
        series(
            "Lost workers",
            "Since the version was loaded: they died, hung, or talked nonsense. Each is replaced.",
            units.NoUnit,
            Query(exported("worker_deaths_total"), f"{WHO}: {{{{reason}}}}"),
            whole=True,
        ),
    ]
