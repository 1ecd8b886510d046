"""A load test's plots, by the section in which they stand. Pure."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from quadriga_client.load.formats.canvas import Axis
from quadriga_client.load.formats.digits import digits
from quadriga_client.load.formats.document import Picture
from quadriga_client.load.formats.plots import Layer, Point, Reference, Series, line_plot, stacked_bars
from quadriga_client.load.formats.sections import CONDUCT, LEVELS, SERVER, percentile_of
from quadriga_client.load.formats.timeline import Part, Piece, timeline
from quadriga_client.load.formats.wording import counts, names
from quadriga_client.load.report import Ceiling, Distribution, Report, Row
from quadriga_client.load.statistics.histogram import counts_of, longest_ns

_SHOWN: Final = (50.0, 95.0, 99.0)
#: Values this far apart are shown on a logarithmic axis.
_WIDE: Final = 25.0
_MS_NS: Final = 1e6
_PHASES: Final = {
    "queue": "queue_ms",
    "assembly": "assembly_ms",
    "compute": "compute_ms",
    "response": "response_ms",
    "transport": "transport_ms",
}


def pictures(report: Report) -> dict[str, list[Picture]]:
    """The plots of which there is something to show, by their section's title."""
    answered = [(row, name) for row, name in zip(report.rows, names(report.rows), strict=True) if row.latency.count]
    if not answered:
        return {}
    rows = [row for row, _ in answered]
    levels = []
    for mode in ("open", "closed"):
        of_mode = sorted(((row, name) for row, name in answered if row.mode == mode), key=lambda pair: pair[0].level)
        if of_mode:
            levels.append(_latency([row for row, _ in of_mode], mode))
            levels += _percentile_curves([(row, name) for row, name in of_mode if counts(row)], mode)
    closed = [row for row in rows if row.mode == "closed"]
    if closed:
        levels.append(_throughput(closed, report.ceiling))
    told = [(row, name) for row, name in answered if any(_phase(row, field) for field in _PHASES.values())]
    windows = [(row, name) for row, name in zip(report.rows, names(report.rows), strict=True) if row.windows]
    return {
        LEVELS: levels,
        SERVER: [_phases(told)] if told else [],
        CONDUCT: [_windows(windows)] if windows else [],
    }


def _latency(rows: Sequence[Row], mode: str) -> Picture:
    """Against the rate that was offered, or what a closed loop got out of the server."""
    series = [
        Series(
            f"p{percentile:g}",
            [
                Point(
                    row.level if mode == "open" else row.throughput.value,
                    found.value,
                    found.low,
                    found.high,
                    counts=counts(row),
                )
                for row in rows
                if (found := percentile_of(row.latency, percentile))
            ],
        )
        for percentile in _SHOWN
    ]
    across = "offered rate, requests per second" if mode == "open" else "throughput, answers per second"
    heights = [point.y for each in series for point in each.points]
    up = Axis("latency, ms", _scale(heights))
    caption = f"Latency against {across.partition(',')[0]}, with 95 % confidence intervals.{_hollow(rows)}"
    svg = line_plot(series, name=f"latency-{mode}", label=caption, x=Axis(across), y=up, ordered=True)
    return Picture(svg, caption)


def _percentile_curves(rows: Sequence[tuple[Row, str]], mode: str) -> list[Picture]:
    """One plot; none where no row counts."""
    if not rows:
        return []
    series = [Series(name, curve(row.latency)) for row, name in rows]
    up = Axis("latency, ms", _scale([point.y for each in series for point in each.points]))
    caption = (
        "Latency by percentile, as far as each level has requests. The axis is stretched as HdrHistogram's plots are: "
        "each nine takes the same room."
    )
    across = Axis("percentile of requests", "percentile")
    svg = line_plot(series, name=f"percentiles-{mode}", label=caption, x=across, y=up, ordered=True, markers=False)
    return [Picture(svg, caption)]


def curve(durations: Distribution) -> list[Point]:
    """Latency in ms by percentile, up to the one above which there is a single request.

    Raises:
        LoadError: The histogram is damaged.
    """
    cumulative = np.cumsum(counts_of(durations))
    total = int(cumulative[-1])
    nines = np.arange(0.0, np.log10(max(total, 1)) + 1e-9, 0.05)
    ranks = np.clip(np.ceil((1 - 10.0**-nines) * total), 1, total)
    indices = np.searchsorted(cumulative, ranks)
    values = np.minimum(longest_ns(indices) / _MS_NS, durations.max_ms)
    return [
        Point(100 * (1 - 10.0**-place), value) for place, value in zip(nines.tolist(), values.tolist(), strict=True)
    ]


def _throughput(rows: Sequence[Row], ceiling: Ceiling | None) -> Picture:
    ordered = sorted(rows, key=lambda row: row.level)
    points = [
        Point(row.level, row.throughput.value, row.throughput.low, row.throughput.high, counts=counts(row))
        for row in ordered
    ]
    references = []
    dashed = ""
    if ceiling:
        references = [Reference(ceiling.throughput, f"generators' ceiling, {digits(ceiling.throughput)}/s")]
        dashed = " The dashed line is what the generators reach against a server that answers at once."
    levels = [row.level for row in ordered]
    scale = _scale(levels, 8.0)
    across = Axis(
        "callers at a time", scale, tuple(dict.fromkeys(levels)) if scale == "log" and len(levels) < 12 else ()
    )
    caption = f"Throughput against concurrency, with 95 % confidence intervals.{dashed}{_hollow(rows)}"
    # A ceiling far above would press everything else to the bottom.
    up = Axis("answers per second", _scale([each.y for each in points] + [each.value for each in references]))
    svg = line_plot(
        [Series("measured", points)], name="throughput", label=caption, x=across, y=up, references=references
    )
    return Picture(svg, caption)


def _phases(told: Sequence[tuple[Row, str]]) -> Picture:
    layers = [Layer(name, [_phase(row, field) for row, _ in told]) for name, field in _PHASES.items()]
    layers = [layer for layer in layers if any(value is not None for value in layer.values)]
    caption = (
        "Where a request's time goes, on average: the server's phases, and what is left of the client's service time."
    )
    svg = stacked_bars(
        [name for _, name in told],
        layers,
        name="phases",
        label=caption,
        x=Axis("ms per request"),
        muted=[not counts(row) for row, _ in told],
        wide=True,
    )
    return Picture(svg, caption, wide=True)


def _phase(row: Row, field: str) -> float | None:
    value: float | None = getattr(row.server, field, None)
    return value


def _windows(rows: Sequence[tuple[Row, str]]) -> Picture:
    parts = [
        Part(
            name,
            [Piece(each.seconds, (each.throughput, each.p99_ms), shaded=not each.measured) for each in row.windows],
            counts=counts(row),
        )
        for row, name in rows
    ]
    heights = [each.p99_ms for row, _ in rows for each in row.windows if each.p99_ms]
    panels = [Axis("answers per second"), Axis("p99 latency, ms", _scale(heights))]
    caption = (
        "Throughput and p99 of every window, level after level. Shaded windows are warm-up, and count for nothing."
    )
    return Picture(timeline(parts, panels, name="windows", label=caption), caption, wide=True)


def _hollow(rows: Sequence[Row]) -> str:
    if all(counts(row) for row in rows):
        return ""
    return " Hollow points are not the server's figures: the generator itself was late."


def _scale(values: Sequence[float], wide: float = _WIDE) -> Literal["linear", "log"]:
    return "log" if values and min(values) > 0 and max(values) / min(values) > wide else "linear"
