"""What a load test's report says, in the order in which a reader asks, without plots. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from quadriga_client.load.formats.digits import UNKNOWN, digits
from quadriga_client.load.formats.document import Block, Bullets, Cell, Facts, Paragraph, Section, Table, Tile, Tiles
from quadriga_client.load.formats.wording import (
    bounds,
    counts,
    estimate,
    level,
    milliseconds,
    moment,
    names,
    number,
    plural,
    verdict,
)
from quadriga_client.load.report import PERCENTILES, Distribution, Interval, Mlperf, Report, Row, ServerSide

#: Titles, by which plots find their section.
LEVELS: Final = "Levels of load"
SERVER: Final = "The server's side"
CONDUCT: Final = "How the load was made"

_SERVER_COLUMNS: Final = {
    "queue": "queue_ms",
    "assembly": "assembly_ms",
    "compute": "compute_ms",
    "response": "response_ms",
    "transport": "transport_ms",
    "CPU": "cpu_ms",
    "rows per batch": "rows_per_batch",
    "memory, MB": "memory_mb",
}


def title(report: Report) -> str:
    """The report's title."""
    return f"Load test of {report.request.model}"


def lead(report: Report) -> str:
    """Who was measured, and when."""
    version = f" version {report.request.version}" if report.request.version else ""
    platform = f" ({report.platform})" if report.platform else ""
    return f"{report.request.model}{version}{platform} on {report.server} at {report.url}, {moment(report.created)}."


def sections(report: Report) -> list[Section]:
    """The whole report; a section of which there is nothing to say is left out."""
    found = [
        Section("", [*_warnings(report), *_tiles(report)]),
        Section(LEVELS, _levels(report.rows)),
        Section("Errors", _errors(report.rows)),
        Section(SERVER, _server_side(report)),
        Section("The search for a rate", _objective(report)),
        Section("MLPerf", [block for run in report.mlperf for block in _mlperf(run)]),
        Section(CONDUCT, _conduct(report)),
        Section("What was sent", [_request(report)]),
        Section("The generator's machine", _machine(report)),
        Section("Settings", [Facts(report.settings)] if report.settings else []),
    ]
    return [section for section in found if section.blocks]


def _warnings(report: Report) -> Iterator[Block]:
    if report.error:
        yield Paragraph(f"The test ended early: {report.error}", "bad")
    if report.interrupted:
        yield Paragraph("The test was interrupted; below is what had been measured by then.", "warning")
    if not report.rows and not report.mlperf:
        yield Paragraph("Nothing was measured.", "bad")
    texts = {
        "no answers": "Without an answer: {}. The errors below say why.",
        "generator saturated": "The generator fell behind at {}: figures in brackets are its own, not the server's.",
        "falls behind": "The server does not keep up at {}: latencies grow as long as such a load lasts.",
        "requests failed": "Requests failed at {}: latencies and throughput are of those that were answered.",
        "unstable": "Not steady: {}. Its windows lie further apart than allowed; another run may give other figures.",
    }
    verdicts = [(*verdict(row), name) for row, name in zip(report.rows, names(report.rows), strict=True)]
    for wanted, text in texts.items():
        found = [(tone, name) for said, tone, name in verdicts if said == wanted]
        if found:
            yield Paragraph(text.format(", ".join(name for _, name in found)), found[0][0])


def _tiles(report: Report) -> Iterator[Block]:
    """What most readers come for, of rows that count; those without a fault come before others.

    A server that refuses what is too much answers the rest the faster: what it bears is not told by rows with failures.
    """
    tiles = []
    believed = [row for row in report.rows if counts(row) and not row.errors]
    if believed:
        best = max(believed, key=lambda row: (verdict(row)[1] == "good", row.throughput.value))
        lightest = min(believed, key=lambda row: row.level)
        said, tone = verdict(best)
        at = [f"at {level(best)}", bounds(best.throughput), "" if tone == "good" else said]
        tiles += [
            Tile("Highest throughput", f"{digits(best.throughput.value)}/s", ", ".join(filter(None, at))),
            Tile("p99 latency there", *_with_bounds(percentile_of(best.latency, 99.0))),
            Tile(f"Median at {level(lightest)}", *_with_bounds(percentile_of(lightest.latency, 50.0))),
        ]
    if report.slo:
        rate = "none" if report.slo.rate is None else f"{digits(report.slo.rate)}/s"
        tiles.append(Tile("Highest rate that holds", rate, report.slo.objective))
    if report.ceiling:
        at_once = "against a server that answers at once"
        tiles.append(Tile("The generators' ceiling", f"{digits(report.ceiling.throughput)}/s", at_once))
    if tiles:
        yield Tiles(tiles)


def _with_bounds(interval: Interval | None) -> tuple[str, str]:
    if interval is None:
        return UNKNOWN, ""
    ends = bounds(interval)
    return milliseconds(interval.value), f"{ends} ms" if ends else ""


def percentile_of(durations: Distribution, percentile: float) -> Interval | None:
    """A percentile; None where there were no durations."""
    found = [each.ms for each in durations.percentiles if each.percentile == percentile]
    return found[0] if found and durations.count else None


def _levels(rows: Sequence[Row]) -> list[Block]:
    if not rows:
        return []
    percentiles = [f"p{percentile:g}" for percentile in PERCENTILES]
    notes = [f"{name}: {note}" for row, name in zip(rows, names(rows), strict=True) for note in row.notes]
    return [
        Table(
            "Latencies in ms, from when a request was due; below a figure its 95 % confidence interval",
            ["level", "verdict", "answers/s", *percentiles, "max", "service p99", "errors"],
            [_level(row, name) for row, name in zip(rows, names(rows), strict=True)],
        ),
        Paragraph(
            "Latency counts from when a request was due: one that waits behind a stalled server counts, as it does for "
            "the user who made it. Service time counts the same requests from when the generator came to them."
        ),
        *([Bullets(notes)] if notes else []),
    ]


def _level(row: Row, name: str) -> list[Cell]:
    muted = row.saturated
    said, tone = verdict(row)
    return [
        Cell(name),
        Cell(said, tone=tone),
        estimate(row.throughput, muted=muted),
        *(estimate(percentile_of(row.latency, percentile), muted=muted) for percentile in PERCENTILES),
        number(row.latency.max_ms if row.latency.count else None, muted=muted),
        estimate(percentile_of(row.service, 99.0), muted=muted),
        Cell(f"{sum(row.errors.values()):,}", number=True),
    ]


def _errors(rows: Sequence[Row]) -> list[Block]:
    if not rows:
        return []
    codes = list(dict.fromkeys(code for row in rows for code in row.errors))
    if not codes:
        return [Paragraph(f"None of {sum(row.requests for row in rows):,} requests failed.")]
    lines = [
        [
            Cell(name),
            *(
                Cell(f"{count:,}", number=True)
                for count in (row.requests, *(row.errors.get(code, 0) for code in codes))
            ),
        ]
        for row, name in zip(rows, names(rows), strict=True)
        if row.errors
    ]
    return [Table("Requests that failed, by gRPC's status code", ["level", "requests", *codes], lines)]


def _server_side(report: Report) -> list[Block]:
    rows = report.rows
    told = [(row.server, name) for row, name in zip(rows, names(rows), strict=True) if row.server]
    if not told:
        return [Paragraph(_why_not_told(report))] if rows else []
    sources = ", ".join(dict.fromkeys(server.source for server, _ in told))
    others = [name for server, name in told if not server.only_ours]
    notes = [f"{name}: {server.note}" for server, name in told if server.note]
    return [
        Table(
            f"Means per request in ms, as {sources} has them; transport is what is left of the client's service time",
            ["level", "requests", *_SERVER_COLUMNS],
            [_server_row(server, name) for server, name in told],
        ),
        *([Paragraph(f"Not of these requests alone: {', '.join(others)}.", "warning")] if others else []),
        *([Bullets(notes)] if notes else []),
    ]


def _why_not_told(report: Report) -> str:
    asked = report.settings.get("server_side")
    if asked == "not asked":
        return "The server was not asked for its side."
    if report.interrupted or report.error:
        return "The test ended before the server had told its side of a level."
    return "The server does not tell its side." if asked else "The server was not asked for its side, or tells nothing."


def _server_row(server: ServerSide, name: str) -> list[Cell]:
    figures = [number(getattr(server, field)) for field in _SERVER_COLUMNS.values()]
    return [Cell(name), Cell(f"{server.requests:,}", number=True), *figures]


def _objective(report: Report) -> list[Block]:
    if report.slo is None:
        return []
    slo = report.slo
    held = "no rate that was tried" if slo.rate is None else f"{digits(slo.rate)} requests per second"
    text = f"The objective {slo.objective} holds at {held}"
    if slo.failed_rate is not None:
        text += f", and does not at {digits(slo.failed_rate)}"
    said = Paragraph(f"{text}.", "warning" if slo.rate is None else "good")
    return [said, Bullets(slo.notes)] if slo.notes else [said]


def _mlperf(run: Mlperf) -> list[Block]:
    reasons = [Bullets(run.reasons)] if run.reasons else []
    said = Paragraph(f"{run.scenario}: {'VALID' if run.valid else 'INVALID'}", "good" if run.valid else "bad")
    failed = ", ".join(f"{code} {count:,}" for code, count in run.errors.items())
    errors = [Paragraph(f"Requests that failed: {failed}.", "warning")] if failed else []
    notes = [Bullets(run.notes)] if run.notes else []
    return [said, *reasons, *errors, *notes, Facts(run.summary)]


def _conduct(report: Report) -> list[Block]:
    ceiling, connections = report.ceiling, plural(report.connections, "connection")
    if report.mlperf and not report.rows:
        return [Paragraph(f"MLPerf's own load generator made it, in a process of its own, with {connections}.")]
    if ceiling:
        text = (
            f"Against a server that answers at once, the same generators got {digits(ceiling.throughput)} answers per "
            f"second with {ceiling.concurrency:,} callers, at a p99 of {milliseconds(ceiling.p99_ms)}: no level above "
            "could have shown more. That server had a share of the same cores."
        )
    else:
        text = "The generators' own ceiling was not measured."
    made = f"{plural(report.processes, 'generator process')} with {connections} in all."
    blocks: list[Block] = [Paragraph(f"{made} {text}")]
    if report.rows:
        headings = [
            "level",
            "seconds",
            "due",
            "answered",
            "rows/s",
            "mean latency",
            "mean service",
            "lag p99",
            "windows",
        ]
        lines = [_conduct_row(row, name) for row, name in zip(report.rows, names(report.rows), strict=True)]
        caption = "What was measured, without the warm-up; times in ms, lag is how late the generator itself was"
        blocks.append(Table(caption, headings, lines))
    return blocks


def _conduct_row(row: Row, name: str) -> list[Cell]:
    answered = row.latency.count
    warm_up = sum(not window.measured for window in row.windows)
    return [
        Cell(name),
        number(row.seconds),
        Cell(f"{row.requests:,}", number=True),
        Cell(f"{answered:,}", number=True),
        number(row.rows_per_second, muted=row.saturated),
        number(row.latency.mean_ms if answered else None, muted=row.saturated),
        number(row.service.mean_ms if answered else None, muted=row.saturated),
        number(row.lag_p99_ms),
        Cell(f"{len(row.windows) - warm_up}", f"after {warm_up} of warm-up", number=True),
    ]


def _request(report: Report) -> Facts:
    request = report.request
    return Facts(
        {
            "model": f"{request.model} {request.version}".strip(),
            "platform": report.platform or UNKNOWN,
            "server": f"{report.server} at {report.url}",
            "inputs": ", ".join(f"{name} {shape}" for name, shape in request.inputs.items()),
            "content": request.content,
            "rows": f"{request.rows:,}",
            "request": f"{request.bytes:,} bytes, serialised once",
            "response": f"{request.response_bytes:,} bytes",
            "command": report.command,
            "quadriga": report.quadriga,
        }
    )


def _machine(report: Report) -> list[Block]:
    seen = report.fingerprint
    return [Facts({**seen.machine, "load average before": f"{seen.load_average:.2f}", **seen.versions})]
