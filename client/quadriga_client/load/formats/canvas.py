"""What all plots share: figures with room for their labels, axes with ticks that read well, and colours. Pure.

Sizes are in points, of which a figure has as many as SVG units.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from quadriga_client.load.formats.svg import SOFT, printable

#: Okabe and Ito's palette, which colour-blind readers can tell apart, in an order for lines on white;
#: "Color Universal Design", 2008. Its yellow is left out, which white swallows.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
LETTER: Final = 5.6  # points that a letter takes at most, on average
LINE: Final = 12.5  # points between lines of text
#: Of plots that stand side by side, and of those that take a page's width.
WIDTH: Final = 480.0
WIDE: Final = 980.0


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a plot.

    Attributes:
        label: What it shows, and its unit.
        scale: "percentile" stretches the end as HdrHistogram's plots do: 90, 99 and 99.9 % are as far from each other.
        ticks: Where ticks are; empty: at round numbers.
    """

    label: str
    scale: Literal["linear", "log", "percentile"] = "linear"
    ticks: Sequence[float] = ()


def colours(count: int, *, ordered: bool) -> list[str]:
    """One per series: of the palette, or from light to dark where the series have an order."""
    if ordered:
        shades = matplotlib.colormaps["viridis"]
        return [to_hex(shades(0.68 - 0.62 * index / max(count - 1, 1))) for index in range(count)]
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def figure_with_axes(
    *, left: float, right: float, top: float = 30, bottom: float = 40, height: float = 300, width: float = WIDTH
) -> tuple[Figure, Axes]:
    """A figure and its axes, with margins in points."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    place = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    return figure, figure.add_axes(place)


def text_width(texts: Sequence[str]) -> float:
    """Points that the longest of them takes."""
    return LETTER * max((len(text) for text in texts), default=0)


def shortened(text: str, letters: int = 30) -> str:
    """The text in one line that a plot has room for."""
    text = printable(text)
    return text if len(text) <= letters else text[: letters - 1] + "…"


def stretched(percentile: float) -> float:
    """Where a percentile stands on an axis of that scale: one further for each nine."""
    return -math.log10(1 - min(percentile, 99.9999) / 100)


def name_axes(axes: Axes, x: Axis, y: Axis) -> None:
    """Labels: below for x, and above the axis for y, where it reads without turning one's head."""
    axes.set_xlabel(printable(x.label), labelpad=6)
    axes.annotate(
        printable(y.label), (0, 1), (-axes_left(axes) + 2, 12), xycoords="axes fraction", textcoords="offset points",
        color=SOFT, va="bottom", ha="left", annotation_clip=False,
    )  # fmt: skip


def axes_left(axes: Axes) -> float:
    """Points from the figure's left edge to the axes."""
    return float(axes.transAxes.transform((0, 0))[0])


def scale_axis(axes: Axes, direction: Literal["x", "y"], axis: Axis, low: float, high: float) -> tuple[float, float]:
    """Sets scale and ticks of one direction; the limits that values from `low` to `high` need."""
    which = axes.xaxis if direction == "x" else axes.yaxis
    which.set_minor_locator(NullLocator())
    if axis.scale == "percentile":
        marks = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
        which.set_major_locator(FixedLocator([stretched(mark) for mark in marks]))
        which.set_major_formatter(FuncFormatter(lambda place, _: f"{100 * (1 - 10**-place):.6g}%"))
        return 0.0, max(high, stretched(99.0))
    if axis.scale == "log" and low > 0:
        axes.set(**{f"{direction}scale": "log"})
        subs = (1, 2, 5) if high / low < 2000 else (1,)
        which.set_major_locator(FixedLocator(axis.ticks) if axis.ticks else LogLocator(subs=subs))
        which.set_minor_locator(NullLocator())
        which.set_minor_formatter(NullFormatter())
        which.set_major_formatter(FuncFormatter(_tick))
        return low / 1.25, high * 1.25
    round_numbers = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10])
    which.set_major_locator(FixedLocator(axis.ticks) if axis.ticks else round_numbers)
    which.set_major_formatter(FuncFormatter(_tick))
    return 0.0, (high or 1.0) * 1.06


def _tick(value: float, _position: int | None = None) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names lines at their right ends, moved apart where they would overlap.

    Args:
        axes: With their final limits.
        ends: x, y, text and colour of each.
    """
    heights = [float(axes.transData.transform((x, y))[1]) for x, y, _, _ in ends]
    edge = float(axes.transAxes.transform((1, 0))[0])
    lowest, highest = (float(axes.transAxes.transform((0, share))[1]) for share in (0, 1))
    places = moved_apart(heights, LINE, lowest, highest)
    for (x, _, text, colour), height, place in zip(ends, heights, places, strict=True):
        end = float(axes.transData.transform((x, 0 if axes.get_yscale() == "linear" else 1))[0])
        axes.annotate(
            text, (end, height), (edge + 12, place), xycoords="figure pixels", textcoords="figure pixels",
            color=colour, va="center", ha="left", fontweight="bold", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.5, "shrinkA": 2, "shrinkB": 3},
        )  # fmt: skip


def moved_apart(heights: Sequence[float], distance: float, lowest: float, highest: float) -> list[float]:
    """Places near the heights, in their order, at least `distance` apart and within the bounds where these suffice."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    places: dict[int, float] = {}
    below = lowest - distance
    for index in order:
        below = places[index] = max(heights[index], below + distance)
    above = highest + distance
    for index in reversed(order):
        above = places[index] = min(places[index], above - distance)
    return [places[index] for index in range(len(heights))]
