"""A plot of what happened over time, one panel per figure, as an SVG element for a page. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quadriga_client.load.formats.canvas import COLOURS, WIDE, Axis, name_axes, scale_axis, shortened
from quadriga_client.load.formats.svg import GRID, SOFT, plot_style, svg

_PANEL: Final = 140.0  # points from one panel's top to the next one's
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 46.0, 38.0
_SHADE: Final = "#eef1f5"


class Piece(NamedTuple):
    """A stretch of time with one value per panel.

    Attributes:
        seconds: Its length.
        values: None where there is none.
        shaded: Whether it stands out from the others as one that does not count.
    """

    seconds: float
    values: Sequence[float | None]
    shaded: bool


@dataclass(frozen=True, slots=True)
class Part:
    """Pieces that belong together, with a name.

    Attributes:
        name: Stands above them.
        pieces: One after the other.
        counts: Else its lines are pale.
    """

    name: str
    pieces: Sequence[Piece]
    counts: bool = True


def timeline(parts: Sequence[Part], panels: Sequence[Axis], *, name: str, label: str) -> str:
    """Parts one after the other, in steps.

    Args:
        parts: In the order of time.
        panels: The axes of the pieces' values, from the top.
        name: Unique among a page's plots; letters, digits and dashes.
        label: What a screen reader says of it.
    """
    height = _TOP + _BOTTOM + _PANEL * len(panels) - 30
    end = sum(piece.seconds for part in parts for piece in part.pieces)
    with plot_style():
        figure = Figure(figsize=(WIDE / 72, height / 72), dpi=72)
        for number, panel in enumerate(panels):
            bottom = height - _TOP - (number + 1) * _PANEL + 30
            place = (_LEFT / WIDE, bottom / height, (WIDE - _LEFT - _RIGHT) / WIDE, (_PANEL - 30) / height)
            axes = figure.add_axes(place)
            last = number == len(panels) - 1
            axes.set_xlim(0, scale_axis(axes, "x", Axis(""), 0.0, end)[1] / 1.06)
            values = [piece.values[number] for part in parts for piece in part.pieces]
            known = [value for value in values if value is not None]
            axes.set_ylim(*scale_axis(axes, "y", panel, min(known, default=1.0), max(known, default=1.0)))
            name_axes(axes, Axis("seconds" if last else ""), panel)
            axes.grid(visible=False, axis="x")
            axes.tick_params(axis="x", labelbottom=last)
            _draw(axes, parts, number, COLOURS[number % len(COLOURS)])
        _name_parts(figure, parts)
        return svg(figure, name=name, label=label)


def _draw(axes: Axes, parts: Sequence[Part], number: int, colour: str) -> None:
    begin = 0.0
    for part in parts:
        axes.axvline(begin, color=GRID, linewidth=0.8)
        edges, heights = [begin], []
        for piece in part.pieces:
            if piece.shaded:
                axes.axvspan(edges[-1], edges[-1] + piece.seconds, color=_SHADE, linewidth=0)
            edges.append(edges[-1] + piece.seconds)
            value = piece.values[number]
            heights.append(float("nan") if value is None else value)
        if heights:
            axes.stairs(heights, edges, baseline=None, color=colour, linewidth=1.6, alpha=1.0 if part.counts else 0.35)
        begin = edges[-1]


def _name_parts(figure: Figure, parts: Sequence[Part]) -> None:
    """Each part's name above it, as far as there is room."""
    axes = figure.axes[0]
    begin = free = 0.0
    for part in parts:
        place = float(axes.transData.transform((begin, 1))[0])
        text = shortened(part.name, 24)
        if part.pieces and place >= free:
            top = figure.get_figheight() * 72 - 8
            axes.annotate(text, (place, top), xycoords="figure pixels", color=SOFT, va="top", fontsize=9)
            free = place + 5.4 * len(text) + 8
        begin += sum(piece.seconds for piece in part.pieces)
