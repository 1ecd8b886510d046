"""What a report consists of, before it is HTML or Markdown: sections of texts, facts, tables and plots. Pure.

All texts are plain; who renders them escapes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

#: How a thing is to be taken: "good", "warning" and "bad" are verdicts, "muted" is there and does not count.
Tone = Literal["plain", "good", "warning", "bad", "muted"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's cell.

    Attributes:
        text: What stands in it.
        detail: Stands below it, smaller: a confidence interval.
        tone: "muted" figures stand in brackets; verdicts are badges.
        number: Whether it is a figure, whose digits stand below each other.
    """

    text: str
    detail: str = ""
    tone: Tone = "plain"
    number: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text; one with a tone is a notice that stands out."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with a text each."""

    items: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure that a reader looks for first."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Tiles:
    """The figures at the top."""

    tiles: Sequence[Tile]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below headings; the first cell of a row names it.

    Attributes:
        caption: What it shows.
        headings: Of the columns.
        rows: As long as the headings.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot.

    Attributes:
        svg: As `plots` makes it.
        caption: What it shows and how to read it.
        wide: Whether it takes the page's width; others stand side by side.
    """

    svg: str
    caption: str
    wide: bool = False


Block = Paragraph | Bullets | Facts | Tiles | Table | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of the report; one with an empty title opens it."""

    title: str
    blocks: Sequence[Block]
