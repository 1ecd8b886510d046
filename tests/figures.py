"""Figures that a test measures, and the table in which they are shown when all tests have run."""

from typing import NamedTuple


class Figure(NamedTuple):
    """One of them.

    Attributes:
        promise: What it shows, in the words of docs/reliability.md.
        what: What was measured, and where: "goodput at 3x capacity, native".
        measured: The value with its unit.
        bound: What it was held against; empty where it only informs.
    """

    promise: str
    what: str
    measured: str
    bound: str = ""


class Figures:
    """All of a session, in the order in which they were measured."""

    def __init__(self) -> None:
        self._figures: list[Figure] = []

    def add(self, promise: str, what: str, measured: str, bound: str = "") -> None:
        """Takes one down; see `Figure`."""
        self._figures.append(Figure(promise, what, measured, bound))

    def lines(self) -> list[str]:
        """A table of Markdown, as docs/reliability.md shows it; nothing where nothing was measured."""
        if not self._figures:
            return []
        return [
            "| promise | what | measured | bound |",
            "|---|---|---|---|",
            *(f"| {' | '.join(figure)} |" for figure in self._figures),
        ]
