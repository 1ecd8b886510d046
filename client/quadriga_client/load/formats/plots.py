"""Plots of series, bars and estimates, as SVG elements for a page. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes

from quadriga_client.load.formats.canvas import (
    LETTER,
    WIDE,
    WIDTH,
    Axis,
    colours,
    figure_with_axes,
    label_ends,
    name_axes,
    scale_axis,
    shortened,
    stretched,
    text_width,
)
from quadriga_client.load.formats.digits import digits
from quadriga_client.load.formats.svg import INK, SOFT, plot_style, svg

_HOLLOW: Final[dict[str, Any]] = {"markerfacecolor": "white", "markeredgewidth": 1.2, "linestyle": "none"}


class Point(NamedTuple):
    """A value of a series.

    Attributes:
        x: Where it stands.
        y: The value.
        low: Of its confidence interval; None where there is none.
        high: Likewise.
        counts: Else it is hollow and no line goes through it.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Series:
    """A line with a name."""

    name: str
    points: Sequence[Point]


class Reference(NamedTuple):
    """A dashed line across the plot, at a value of y."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One part of every bar.

    Attributes:
        name: Of the part.
        values: For each bar; None where it is not known.
    """

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval, named; "counts" as a `Point`'s."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    counts: bool = True


def line_plot(
    series: Sequence[Series],
    *,
    name: str,
    label: str,
    x: Axis,
    y: Axis,
    references: Sequence[Reference] = (),
    ordered: bool = False,
    markers: bool = True,
) -> str:
    """Lines with their confidence bands, named at their ends where there are several.

    Args:
        series: Those without points are left out.
        name: Unique among a page's plots; letters, digits and dashes.
        label: What a screen reader says of it.
        x: The axis across.
        y: The axis up.
        references: Dashed lines.
        ordered: Whether the series have an order, that shades from light to dark show; else they have colours.
        markers: Whether points that count are marked.
    """
    names = [shortened(each.name) if len(series) > 1 else "" for each in series]
    with plot_style():
        figure, axes = figure_with_axes(left=46, right=max(text_width(names) + 22, 16))
        values = [value for each in series for point in each.points for value in (point.y, point.low, point.high)]
        heights = [value for value in values if value is not None] + [reference.value for reference in references]
        places = [_place(x, point.x) for each in series for point in each.points]
        axes.set_xlim(*scale_axis(axes, "x", x, min(places, default=1), max(places, default=1)))
        axes.set_ylim(*scale_axis(axes, "y", y, min(heights, default=1), max(heights, default=1)))
        name_axes(axes, x, y)
        ends = []
        for each, text, colour in zip(series, names, colours(len(series), ordered=ordered), strict=True):
            points = [point._replace(x=_place(x, point.x)) for point in each.points]
            if points:
                ends.append((*_draw(axes, points, colour, markers=markers), text, colour))
        for reference in references:
            _draw_reference(axes, reference)
        if len(series) > 1:
            label_ends(axes, ends)
        return svg(figure, name=name, label=label)


def _place(axis: Axis, value: float) -> float:
    return stretched(value) if axis.scale == "percentile" else value


def _draw(axes: Axes, points: Sequence[Point], colour: str, *, markers: bool) -> tuple[float, float]:
    """Draws one series; where its name belongs. A line that turns back, as throughput does, has no band."""
    line = [point for point in points if point.counts]
    hollow = [point for point in points if not point.counts]
    known = [(point.x, point.low, point.high) for point in line if point.low is not None and point.high is not None]
    if len(known) > 1 and all(before[0] < after[0] for before, after in pairwise(known)):
        places, lows, highs = zip(*known, strict=True)
        axes.fill_between(places, lows, highs, color=colour, alpha=0.14, linewidth=0)
    for place, low, high in known:
        axes.plot([place, place], [low, high], color=colour, linewidth=1.1, alpha=0.7)
    style: dict[str, Any] = {"marker": "o", "markersize": 3.6} if markers else {}
    if line:
        axes.plot(
            [point.x for point in line], [point.y for point in line], color=colour, clip_on=False, zorder=3, **style
        )
    if hollow:
        at = [point.x for point in hollow], [point.y for point in hollow]
        axes.plot(*at, marker="o", markersize=5, markeredgecolor=colour, clip_on=False, zorder=3, **_HOLLOW)
    last = (line or hollow)[-1]
    return last.x, last.y


def _draw_reference(axes: Axes, reference: Reference) -> None:
    axes.axhline(reference.value, color=SOFT, linewidth=1.1, linestyle=(0, (5, 4)))
    axes.annotate(
        shortened(reference.label, 60), (0, reference.value), (6, 4), xycoords=("axes fraction", "data"),
        textcoords="offset points", color=SOFT, va="bottom", ha="left", fontsize=9,
    )  # fmt: skip


def stacked_bars(
    bars: Sequence[str],
    layers: Sequence[Layer],
    *,
    name: str,
    label: str,
    x: Axis,
    muted: Sequence[bool] = (),
    wide: bool = False,
) -> str:
    """Bars from left to right, one below the other, each of parts that add up.

    Args:
        bars: Their names.
        layers: The parts, in order; a value per bar.
        name: As for `line_plot`.
        label: Likewise.
        x: The axis of the parts' sum.
        muted: Which bars are pale, because they do not count; none where it is empty.
        wide: Whether it is to take a page's width.
    """
    names = [shortened(bar, 24) for bar in bars]
    pale = list(muted) or [False] * len(bars)
    with plot_style():
        height = 78 + 26 * max(len(bars), 1)
        figure, axes = figure_with_axes(
            left=text_width(names) + 14, right=42, top=32, height=height, width=WIDE if wide else WIDTH
        )
        sums = [0.0] * len(bars)
        for layer, colour in zip(layers, colours(len(layers), ordered=False), strict=True):
            for row, value in enumerate(layer.values):
                shown = max(value or 0.0, 0.0)
                axes.barh(row, shown, left=sums[row], height=0.62, color=colour, alpha=0.3 if pale[row] else 0.9)
                sums[row] += shown
        axes.set_xlim(*scale_axis(axes, "x", x, 0.0, max(sums, default=0.0)))
        axes.set_ylim(max(len(bars), 1) - 0.5, -0.5)
        axes.set_yticks(range(len(bars)), names)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(x.label, labelpad=6)
        for row, total in enumerate(sums):
            axes.annotate(
                digits(total), (total, row), (4, 0), textcoords="offset points", color=SOFT, va="center", fontsize=9
            )
        _name_layers(axes, [layer.name for layer in layers], height)
        return svg(figure, name=name, label=label)


def _name_layers(axes: Axes, names: Sequence[str], height: float) -> None:
    """The parts' names above the bars, in one line, each behind a square of its colour."""
    place = 8.0
    for name, colour in zip(names, colours(len(names), ordered=False), strict=True):
        at: dict[str, Any] = {"xycoords": "figure pixels", "va": "center", "annotation_clip": False}
        axes.annotate("■", (place, height - 14), color=colour, fontsize=11, **at)
        axes.annotate(shortened(name), (place + 12, height - 14), color=INK, **at)
        place += 26 + LETTER * len(shortened(name))


def estimate_plot(estimates: Sequence[Estimate], *, name: str, label: str, x: Axis, wide: bool = False) -> str:
    """Values with their confidence intervals, one below the other: where intervals part, there is a difference.

    Args:
        estimates: In order, from the top; those that do not count are hollow.
        name: As for `line_plot`.
        label: Likewise.
        x: The axis of the values.
        wide: Whether it is to take a page's width.
    """
    names = [shortened(each.name) for each in estimates]
    with plot_style():
        height = 62 + 26 * max(len(estimates), 1)
        figure, axes = figure_with_axes(
            left=text_width(names) + 14, right=46, top=12, height=height, width=WIDE if wide else WIDTH
        )
        ends = [end for each in estimates for end in (each.value, each.low, each.high) if end is not None]
        axes.set_xlim(*scale_axis(axes, "x", x, min(ends, default=1), max(ends, default=1)))
        axes.set_ylim(max(len(estimates), 1) - 0.5, -0.5)
        axes.set_yticks(range(len(estimates)), names)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(x.label, labelpad=6)
        for row, (each, colour) in enumerate(zip(estimates, colours(len(estimates), ordered=False), strict=True)):
            end = each.value
            if each.low is not None and each.high is not None:
                axes.plot([each.low, each.high], [row, row], color=colour, linewidth=4.5, alpha=0.35)
                end = each.high
            face = colour if each.counts else "white"
            axes.plot(
                each.value, row, marker="o", markersize=6.5, markerfacecolor=face, markeredgecolor=colour, zorder=3
            )
            axes.annotate(
                digits(each.value), (end, row), (8, 0), textcoords="offset points", color=SOFT, va="center", fontsize=9
            )
        return svg(figure, name=name, label=label)
