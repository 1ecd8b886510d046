"""What `quadriga load` shows: levels while they are measured, and the report. Runs in the command's process."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from quadriga_client.load.arrivals import Arrivals
from quadriga_client.load.formats import document, sections
from quadriga_client.load.formats.digits import UNKNOWN, digits
from quadriga_client.load.formats.document import Block, Bullets, Facts, Paragraph
from quadriga_client.load.formats.wording import level, verdict
from quadriga_client.load.options import level_name
from quadriga_client.load.report import Report, Row, Window

_STYLES: Final = {"plain": "", "good": "green", "warning": "yellow", "bad": "bold red", "muted": "dim"}
#: Of those in a report, what a terminal has room for.
_PERCENTILES: Final = (50.0, 95.0, 99.0, 99.9)
#: A column that it has none for: of the server's side, how many requests it counted; it is told where they differ.
_NO_ROOM: Final = "requests"
#: Sections of a report that are for its files.
_LEFT_OUT: Final = ("What was sent", "The generator's machine", "Settings")


class Quiet:
    """Shows nothing while a load test runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is to be cleared away."""

    def phase(self, text: str) -> None:
        """See `Observer`."""

    def level(self, arrivals: Arrivals) -> None:
        """See `Observer`."""

    def window(self, window: Window) -> None:
        """See `Observer`."""

    def row(self, row: Row) -> None:
        """See `Observer`."""


class Lines(Quiet):
    """A line for each thing that is done, for files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def phase(self, text: str) -> None:
        """See `Observer`."""
        self._print(text)

    def row(self, row: Row) -> None:
        """See `Observer`."""
        figures = f"{digits(row.throughput.value)}/s"
        if row.latency.count:
            figures += f", p50 {digits(row.latency.percentile_ms(50.0))} ms"
            figures += f", p99 {digits(row.latency.percentile_ms(99.0))} ms"
        self._print(f"{level(row)}: {figures}, {verdict(row)[0]}")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class Display(Quiet):
    """The levels in a table that grows, and below it what is being done; for terminals.

    It is drawn anew when there is something new, and never by a clock: what drawing takes is taken from the generators
    and, where it shares their machine, from the server.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._rows: list[Row] = []
        self._level = ""
        self._windows = 0
        self._is_warm = False

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def phase(self, text: str) -> None:
        """See `Observer`."""
        self._show(f"{text} ...")

    def level(self, arrivals: Arrivals) -> None:
        """See `Observer`."""
        self._level, self._windows, self._is_warm = level_name(arrivals), 0, False
        self._show(f"{self._level} ...")

    def window(self, window: Window) -> None:
        """See `Observer`."""
        self._windows = 1 if window.measured and not self._is_warm else self._windows + 1
        self._is_warm = window.measured
        p99 = "no answers" if window.p99_ms is None else f"p99 {digits(window.p99_ms)} ms"
        throughput = f"{digits(window.throughput)}/s"
        kind = "window" if window.measured else "warm-up window"
        self._show(f"{self._level}: {kind} {self._windows}, of {window.seconds:.1f} s: {throughput}, {p99} ...")

    def row(self, row: Row) -> None:
        """See `Observer`."""
        self._rows.append(row)
        self._show("")

    def _show(self, status: str) -> None:
        table = [levels_table(self._rows)] if self._rows else []
        self._live.update(Group(*table, Text(status, style="dim")), refresh=True)


def print_report(console: Console, report: Report) -> None:
    """The report on standard output: what a reader of its files sees first, without the plots."""
    console.print(Text(sections.lead(report)), soft_wrap=True)
    for section in sections.sections(report):
        if section.title in _LEFT_OUT:
            continue
        blocks = list(section.blocks)
        if section.title == sections.LEVELS:
            # Its table is for pages; the terminal's has fewer columns.
            blocks = [block for block in blocks if isinstance(block, Bullets)]
            console.print()
            console.print(levels_table(report.rows))
        elif section.title == sections.SERVER:
            blocks = [_without(block, _NO_ROOM) if isinstance(block, document.Table) else block for block in blocks]
        elif section.title == sections.CONDUCT:
            blocks = [block for block in blocks if isinstance(block, Paragraph)]
        for block in blocks:
            shown = _shown(block)
            if shown is not None:
                console.print()
                console.print(shown)


def levels_table(rows: Sequence[Row]) -> Table:
    """A line per level; latencies count from when requests were due, and a generator's own figures are in brackets."""
    table = _table("LEVEL")
    for heading in ("ANSWERS/S", *(f"P{each:g} MS" for each in _PERCENTILES), "MAX MS", "ERRORS"):
        table.add_column(heading, justify="right")
    table.add_column("VERDICT")
    for row in rows:
        words, tone = verdict(row)
        latency = row.latency
        figures = [digits(row.throughput.value), *[UNKNOWN] * (len(_PERCENTILES) + 1)]
        if latency.count:
            figures[1:] = [digits(ms) for ms in (*map(latency.percentile_ms, _PERCENTILES), latency.max_ms)]
        table.add_row(
            level(row),
            *(Text(f"[{each}]" if row.saturated and each != UNKNOWN else each) for each in figures),
            f"{sum(row.errors.values()):,}",
            Text(words, style=_STYLES[tone]),
        )
    return table


def _shown(block: Block) -> RenderableType | None:
    """A block of a report on a terminal; None for what only pages have."""
    match block:
        case Paragraph(text, tone):
            return Text(text, style=_STYLES[tone])
        case Bullets(items):
            return Text("\n".join(f"- {item}" for item in items))
        case Facts(items):
            table = Table(box=None, pad_edge=False, show_header=False)
            for name, text in items.items():
                table.add_row(Text(name), Text(text))
            return table
        case document.Table():
            return _with_caption(block)
        case _:
            return None


def _without(content: document.Table, heading: str) -> document.Table:
    kept = [number for number, each in enumerate(content.headings) if each != heading]
    rows = [[row[number] for number in kept] for row in content.rows]
    return document.Table(content.caption, [content.headings[number] for number in kept], rows)


def _with_caption(content: document.Table) -> Group:
    table = _table()
    for heading, cell in zip(content.headings, content.rows[0], strict=True):
        word = max(map(len, heading.split()))
        table.add_column(heading.upper(), justify="right" if cell.number else "left", min_width=word)
    for row in content.rows:
        table.add_row(*(Text(cell.text, style=_STYLES[cell.tone]) for cell in row))
    return Group(Text(content.caption, style="dim"), table)


def _table(*headings: str) -> Table:
    # Eighty columns are enough.
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for heading in headings:
        table.add_column(heading)
    return table
