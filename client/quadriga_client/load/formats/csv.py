"""A load test's rows as CSV: all that is known, or the columns of NVIDIA's perf_analyzer. Pure.

The latter are those of its option `-f`, as "Reports" in docs/measurements_metrics.md of triton-inference-server/client
shows them, with "Avg latency" of `--verbose-csv`, whose spelling src/c++/perf_analyzer/report_writer.cc has. Scripts
that read such files read these.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Final

from quadriga_client.load.report import PERCENTILES, Distribution, Report, Row, ServerSide

Value = str | int | float | None

_PERF_PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0)
_PERF_SERVER: Final = (
    "Network+Server Send/Recv",
    "Server Queue",
    "Server Compute Input",
    "Server Compute Infer",
    "Server Compute Output",
)


def rows_csv(report: Report) -> str:
    """A line per level, with all of its figures; empty where nothing is known.

    Durations are in ms; truth is written as "true" and "false".
    """
    lines = [{"model": report.request.model, "version": report.request.version, **_columns(row)} for row in report.rows]
    return _csv(tuple(lines[0]) if lines else (), (tuple(line.values()) for line in lines))


def perf_analyzer_csv(report: Report) -> str:
    """The rows in perf_analyzer's columns, in µs, in the order of their throughput, as it sorts them.

    It has no column for a verdict: rows whose generator was saturated, or that have no answer, are left out, as their
    figures are not the server's. It has one kind of load per file: that of the report's last row, since a search may
    begin with a closed loop's. Its parts add up to the average latency, which here counts from when a request was due;
    so "Client Send" is the wait before the generator came to it, and "Client Recv", which is not measured apart, is 0.
    Servers that do not tell all phases have no server columns, as in its own files.
    """
    mode = report.rows[-1].mode if report.rows else "closed"
    rows = [row for row in report.rows if row.mode == mode and row.latency.count and not row.saturated]
    rows.sort(key=lambda row: row.throughput.value)
    told = bool(rows) and all(_tells_phases(row.server) for row in rows)
    headings = (
        "Concurrency" if mode == "closed" else "Request Rate",
        "Inferences/Second",
        "Client Send",
        *(_PERF_SERVER if told else ()),
        "Client Recv",
        *(f"p{percentile:g} latency" for percentile in _PERF_PERCENTILES),
        "Avg latency",
    )
    return _csv(headings, (_perf_analyzer_row(row, told=told) for row in rows))


def _csv(headings: Sequence[str], lines: Iterable[Sequence[Value]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(lines)
    return text.getvalue()


def _columns(row: Row) -> dict[str, Value]:
    server = {
        f"server_{field.name}": _written(getattr(row.server, field.name)) if row.server else None
        for field in fields(ServerSide)
    }
    return {
        "mode": row.mode,
        "arrivals": row.arrivals,
        "level": row.level,
        "seconds": row.seconds,
        "requests": row.requests,
        "answered": row.latency.count,
        "throughput": row.throughput.value,
        "throughput_low": row.throughput.low,
        "throughput_high": row.throughput.high,
        "rows_per_second": row.rows_per_second,
        **_distribution("latency", row.latency),
        **_distribution("service", row.service),
        "lag_p99_ms": row.lag_p99_ms,
        "errors": sum(row.errors.values()),
        "error_codes": " ".join(f"{code}:{count}" for code, count in row.errors.items()),
        "stable": _written(row.stable),
        "saturated": _written(row.saturated),
        "keeps_up": _written(row.keeps_up),
        "notes": " ".join(row.notes),
        **server,
    }


def _distribution(name: str, durations: Distribution) -> dict[str, Value]:
    """Its columns; all empty where there were none."""
    columns: dict[str, Value] = {f"{name}_mean_ms": durations.mean_ms, f"{name}_max_ms": durations.max_ms}
    known = {each.percentile: each.ms for each in durations.percentiles}
    for percentile in PERCENTILES:
        interval = known.get(percentile)
        columns |= {
            f"{name}_p{percentile:g}_ms": interval.value if interval else None,
            f"{name}_p{percentile:g}_low_ms": interval.low if interval else None,
            f"{name}_p{percentile:g}_high_ms": interval.high if interval else None,
        }
    return columns if durations.count else dict.fromkeys(columns)


def _written(value: Value | bool) -> Value:
    return str(value).lower() if isinstance(value, bool) else value


def _tells_phases(server: ServerSide | None) -> bool:
    return server is not None and None not in (server.queue_ms, server.compute_ms)


def _perf_analyzer_row(row: Row, *, told: bool) -> list[Value]:
    latency = row.latency
    waited = max(latency.mean_ms - row.service.mean_ms, 0.0)
    phases: list[float] = []
    if told and row.server:
        server = row.server
        inside = [server.queue_ms, server.assembly_ms, server.compute_ms, server.response_ms]
        phases = [phase or 0.0 for phase in inside]
        phases.insert(0, max(latency.mean_ms - waited - sum(phases), 0.0))
    percentiles = [latency.percentile_ms(percentile) for percentile in _PERF_PERCENTILES]
    durations = [round(duration * 1000) for duration in (waited, *phases, 0.0, *percentiles, latency.mean_ms)]
    return [f"{row.level:g}", f"{row.rows_per_second:g}", *durations]
