"""A matplotlib figure as an SVG element that can stand in a page beside others. Pure.

Matplotlib writes whole SVG files: with a prolog, fonts by name, a style for everything around it, and ids that are the
same in each. A page needs none of that.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

INK: Final = "#1b2430"
SOFT: Final = "#566270"
GRID: Final = "#e4e8ed"

_SVG: Final = "http://www.w3.org/2000/svg"
_FONTS: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif"
_STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and copied
    "text.parse_math": False,  # a model's name may have dollars
    "font.family": "DejaVu Sans",  # matplotlib's own; only measured with
    "font.size": 9.5,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.which": "major",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    "xtick.color": "#9aa5b1",
    "ytick.color": "#9aa5b1",
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "path.simplify": False,
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Figures are built and drawn inside of it."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The page's fonts draw the texts, not matplotlib's, which may lack a letter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def svg(figure: Figure, *, name: str, label: str) -> str:
    """The figure.

    Args:
        figure: Built inside of `plot_style`, and drawn there.
        name: Makes its ids unique in a page; letters, digits and dashes.
        label: What a screen reader says of it.
    """
    drawn = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):  # else ids are random, and no two files equal
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(drawn.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        _rewrite(element, f"{name}-")
    root.set("xmlns", _SVG)
    root.set("role", "img")
    root.set("aria-label", printable(label))
    # What matplotlib says of every element in a style of its own.
    root.set("style", "stroke-linejoin:round;stroke-linecap:butt")
    return ElementTree.tostring(root, encoding="unicode")


def printable(text: str) -> str:
    """The text in one line, without what XML cannot hold."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _rewrite(element: ElementTree.Element, prefix: str) -> None:
    """Ids and references begin with the prefix; fonts are the page's."""
    attributes = dict(element.attrib)
    element.attrib.clear()
    for qualified, value in attributes.items():
        key = _local(qualified)
        if key == "id":
            value = prefix + value
        elif key == "href":
            value = "#" + prefix + value.removeprefix("#")
        elif key == "style":
            value = re.sub(r"(font: [^;]*?[\d.]+px) [^;]*", rf"\1 {_FONTS}", value)
        element.set(key, value.replace("url(#", f"url(#{prefix}"))
