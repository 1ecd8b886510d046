"""*Server*: the server process, its models and its workers."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard, units

from quadriga_dashboards.frame import chosen, events, put_together
from quadriga_dashboards.panels import CORES, HALF, Query, number, rows, series

SELECTED: Final = 'instance=~"$instance"'
WHO: Final = "{{instance}}"
MODEL: Final = "{{model}}/{{version}} ({{backend}})"
BY_MODEL: Final = "sum by (model, version, backend)"
Panel = Builder[dashboard.Panel]


def build() -> dashboard.Dashboard:
    """The dashboard."""
    instances = chosen("instance", "Servers", "By address", 'up{job="quadriga"}, instance', several=True)
    return put_together(
        "quadriga-server",
        "Quadriga: server",
        "The server process, its models and its workers",
        [instances],
        events(SELECTED),
        [
            ("Now", _now()),
            ("Models", [_models()]),
            ("Requests", _requests()),
            ("Processes", _processes()),
            ("Workers by model", _workers()),
            ("GPUs", _gpus()),
        ],
    )


def exported(name: str) -> str:
    """A metric of the server's, of what is selected."""
    return f"quadriga_{name}{{{SELECTED}}}"


def _now() -> list[Panel]:
    ready = exported("model_ready")
    firing = 'ALERTS{alertname=~"Quadriga.+",alertstate="firing"}'
    return [
        number("Servers scraped", "1: it answers Prometheus.", Query(f'up{{job="quadriga",{SELECTED}}}', WHO), least=1),
        number("Versions ready", "Of all models.", Query(f"sum({ready})", "ready"), least=1),
        number(
            "Versions not ready", "Loading, or failed.", Query(f"sum({ready} == bool 0)", "not ready"), bad={1: "red"}
        ),
        number("Workers", "Those that can take batches.", Query(f"sum({exported('workers_up')})", "workers"), least=1),
        number(
            "Alerts firing", "Of docker/prometheus.", Query(f"count({firing}) or vector(0)", "firing"), bad={1: "red"}
        ),
        number("Quadriga", "Its version.", Query(exported("build_info"), "{{version}}, Python {{python}}"), names=True),
    ]


def _models() -> Panel:
    keys = ("model", "version", "backend", "device", "instance")

    def column(name: str, heading: str, unit: str = units.NoUnit) -> Query:
        return Query(f"max by ({', '.join(keys)}) ({exported(name)})", heading, unit)

    return rows(
        "Every version of every model",
        "1 is ready. A version that could not be loaded has no device.",
        keys,
        column("model_ready", "ready"),
        column("workers_up", "workers"),
        column("worker_restarts_total", "restarts"),
        column("model_load_seconds", "loading", units.Seconds),
        column("model_warm_up_seconds", "warm-up", units.Seconds),
        column("model_file_bytes", "on disk", units.BytesIEC),
        links={"model": ("The model in depth", "/d/quadriga-model?var-model=${__value.raw}")},
    )


def _requests() -> list[Panel]:
    answered = f'quadriga_requests_total{{{SELECTED},outcome="answered"}}'
    others = f'quadriga_requests_total{{{SELECTED},outcome!="answered"}}'
    return [
        series(
            "Requests answered by model",
            "Per second.",
            units.RequestsPerSecond,
            Query(f"{BY_MODEL} (rate({answered}[$__rate_interval]))", MODEL),
            stacked=True,
        ),
        series(
            "Failed and refused, by reason",
            "Of all models; also rpcs that named no model or had no access.",
            units.RequestsPerSecond,
            Query(f"sum by (code, reason) (rate({others}[$__rate_interval]))", "{{code}}, {{reason}}"),
        ),
        series(
            "Waiting requests by model",
            "In the queues now.",
            units.NoUnit,
            Query(f"{BY_MODEL} ({exported('queue_depth')})", MODEL),
            stacked=True,
            whole=True,
        ),
    ]


def _processes() -> list[Panel]:
    cpu = f"rate({exported('server_cpu_seconds_total')}[$__rate_interval])"
    workers = f"rate({exported('worker_cpu_seconds_total')}[$__rate_interval])"
    return [
        series(
            "CPU",
            "Cores that the server process and all workers keep busy.",
            CORES,
            Query(cpu, f"server {WHO}"),
            Query(f"sum by (instance) ({workers})", f"workers of {WHO}"),
            stacked=True,
            width=HALF,
        ),
        series(
            "Memory",
            "Resident; shared memory counts in each process that has used it.",
            units.BytesIEC,
            Query(exported("server_resident_memory_bytes"), f"server {WHO}"),
            Query(f"sum by (instance) ({exported('worker_resident_memory_bytes')})", f"workers of {WHO}"),
            stacked=True,
            width=HALF,
        ),
    ]


def _workers() -> list[Panel]:
    cpu = f"rate({exported('worker_cpu_seconds_total')}[$__rate_interval])"
    return [
        series("CPU by model", "Cores.", CORES, Query(f"{BY_MODEL} ({cpu})", MODEL), stacked=True),
        series(
            "Memory by model",
            "Resident.",
            units.BytesIEC,
            Query(f"{BY_MODEL} ({exported('worker_resident_memory_bytes')})", MODEL),
            stacked=True,
        ),
        series(
            "Restarts by model",
            "Workers started to replace dead ones.",
            units.NoUnit,
            Query(f"{BY_MODEL} ({exported('worker_restarts_total')})", MODEL),
            whole=True,
        ),
    ]


def _gpus() -> list[Panel]:
    """Empty where a server sees no GPU."""
    gpu = f"{WHO}, GPU {{{{gpu}}}}: {{{{name}}}}"
    worker = f"{MODEL} on GPU {{{{gpu}}}}"
    memory = f"sum by (model, version, backend, gpu, instance) ({exported('worker_gpu_memory_bytes')})"
    energy = exported("gpu_energy_joules_total")
    return [
        series(
            "Utilisation by GPU",
            "The part of the time in which a kernel ran, of whatever process, however little it filled the GPU.",
            units.PercentUnit,
            Query(exported("gpu_utilization_ratio"), gpu),
            width=HALF,
            top=1,
        ),
        series(
            "Memory by GPU",
            "In use by whatever process, and how much there is.",
            units.BytesIEC,
            Query(exported("gpu_memory_used_bytes"), gpu),
            Query(f"max({exported('gpu_memory_total_bytes')})", "the largest GPU's"),
            width=HALF,
            dashed="the largest GPU's",
        ),
        series(
            "Memory of workers by GPU",
            "Who uses which GPU. Workers are missing where the driver tells other process ids than the server sees.",
            units.BytesIEC,
            Query(memory, worker),
            stacked=True,
        ),
        series("Power by GPU", "Drawn at the moment.", units.Watt, Query(exported("gpu_power_watts"), gpu)),
        series(
            "Mean power by GPU",
            "By the GPU's own count of energy, in joules, which misses no peak between two scrapes.",
            units.Watt,
            Query(f"rate({energy}[$__rate_interval])", gpu),
        ),
    ]
