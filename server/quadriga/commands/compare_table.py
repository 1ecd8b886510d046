"""What `quadriga compare` shows: progress, agreement, verdicts, figures and changes. Runs in the command's process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from quadriga_client.compare.change import Changes
from quadriga_client.compare.comparison import Comparison, Contender
from quadriga_client.compare.formats.sections import KB, MB, UNKNOWN, absence, caution, factor, level_title
from quadriga_client.compare.likeness import Agreement
from quadriga_client.compare.measures import MEASURES
from quadriga_client.compare.standings import Block, Level, Standing
from quadriga_client.load.formats.digits import digits
from quadriga_client.load.formats.wording import bounds
from quadriga_client.load.report import Interval


class Shown:
    """The blocks as a bar, and what is being done beside it.

    It is drawn anew after each block, and never by a clock: what that takes is taken from the generators and, perhaps,
    the server.
    """

    def __init__(self, display: Progress, left: list[str]) -> None:
        self._display = display
        self._left = left
        self._task = display.add_task("", total=None)

    def phase(self, text: str) -> None:
        """See `Observer`."""
        self._display.update(self._task, description=text)
        self._display.refresh()

    def block(self, concurrency: int, block: Block, done: int, total: int) -> None:
        """See `Observer`."""
        self._display.update(self._task, completed=done, total=total)

    def left(self, text: str) -> None:
        """See `Observer`."""
        self._left.append(text)


@contextmanager
def shown(left: list[str], *, quiet: bool) -> Iterator[Shown]:
    """Shows the progress on standard error, where that is a terminal; `left` is given what is not put back."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    off = quiet or not console.is_terminal
    with Progress(*columns, console=console, auto_refresh=False, transient=True, disable=off) as display:
        yield Shown(display, left)


def print_report(console: Console, report: Comparison) -> None:
    """All that a user asks first; the rest stands in the report's files."""
    if any(not agreement.agrees for agreement in report.agreements):
        console.print(Text("--allow-different: these models do not answer alike", style="bold red"))
    print_agreements(console, report.contestants[0].name, report.agreements)
    for problem in dict.fromkeys(problem for agreement in report.agreements for problem in agreement.problems):
        console.print(Text(problem, style="red"))
    for level in report.levels:
        console.print()
        console.print(level_table(level))
        for verdict in level.verdicts:
            style = "green" if verdict.winner else ""
            console.print(Text(f"{MEASURES[verdict.measure].name}: {verdict.sentence}", style=style))
    console.print()
    console.print(contenders_table(report.contestants))
    if text := caution(report):
        console.print(escape(text), highlight=False)
    for note in report.notes:
        console.print(escape(note), highlight=False)
    for name, count in report.failed_requests.items():
        console.print(Text(f"{count:,} requests of {name} failed, so it cannot win", style="bold red"))
    if report.interrupted:
        console.print("interrupted: this is what had been measured by then")
    if report.changes:
        console.print()
        print_changes(console, report.changes)


def print_agreements(console: Console, first: str, agreements: Sequence[Agreement]) -> None:
    """How the others' answers compare with the first one's, in a line each."""
    table = _table(f"AGREES WITH {first}")
    for heading in ("", "LARGEST DIFFERENCE", "SAME TOP 1"):
        table.add_column(heading, justify="right" if heading else "left")
    for agreement in agreements:
        differences = [
            output.largest_difference for output in agreement.outputs if output.largest_difference is not None
        ]
        table.add_row(
            Text(agreement.contestant),
            Text("yes", style="green") if agreement.agrees else Text("no", style="bold red"),
            f"{max(differences):.3g}" if differences else "",
            "" if agreement.top1 is None else f"{agreement.top1:.1%}",
        )
    console.print(table)


def level_table(level: Level) -> Table:
    """A level's figures with their intervals."""
    table = _table(level_title(level).upper())
    for kind in MEASURES.values():
        table.add_column(kind.name.upper(), justify="right", no_wrap=True)
    table.add_column("FAILED", justify="right")
    table.add_column("SATURATED", justify="right")
    for standing in level.standings:
        table.add_row(
            Text(standing.contestant),
            *(
                _interval(getattr(standing, measure)) if known is None else known
                for measure in MEASURES
                for known in [absence(standing, measure)]
            ),
            f"{sum(standing.errors.values()):,}",
            _saturated(standing),
        )
    return table


def contenders_table(contenders: Sequence[Contender]) -> Table:
    """What else tells the contestants apart."""
    table = _table("BESIDE SPEED")
    table.add_column("BACKEND")
    for heading in ("LOAD MS", "WORKER MEMORY MB", "FILE KB", "ACCURACY"):
        table.add_column(heading, justify="right")
    table.add_column("SERVER", overflow="fold")
    for each in contenders:
        table.add_row(
            Text(each.name),
            Text(" ".join(filter(None, (each.backend or each.platform, each.device))) or UNKNOWN),
            _known(each.load_ms),
            _known(each.memory_bytes, MB),
            _known(each.file_bytes, KB),
            UNKNOWN if each.accuracy is None else f"{each.accuracy:.2%}",
            Text(f"{each.server or UNKNOWN} at {each.url}"),
        )
    return table


def print_changes(console: Console, changes: Changes) -> None:
    """What makes the reports unlike, then every figure that both have."""
    for warning in changes.warnings:
        console.print(Text(warning, style="yellow"))
    table = _table("NOW OVER BEFORE")
    table.add_column("CALLERS", justify="right")
    table.add_column("FIGURE")
    for heading in ("BEFORE", "NOW", "RATIO"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for entry in changes.entries:
        said, style = ("worse", "bold red") if entry.worse else ("better", "green") if entry.better else ("", "")
        table.add_row(
            Text(entry.contestant),
            f"{entry.concurrency:,}",
            MEASURES[entry.measure].name,
            digits(entry.before),
            digits(entry.now),
            factor(entry.ratio),
            Text(said, style=style),
        )
    console.print(table)
    for missing in changes.missing:
        console.print(Text(f"not comparable any more: {missing}", style="bold red"))
    console.print(
        f"{len(changes.worse)} of {len(changes.entries)} figures are worse by more than {changes.tolerated:.0%}"
        f" than in {escape(changes.against)}",
        highlight=False,
    )


def _table(first: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(escape(first), overflow="fold")
    return table


def _interval(interval: Interval) -> str:
    ends = bounds(interval)
    return f"{digits(interval.value)} ({ends})" if ends else digits(interval.value)


def _known(value: float | None, unit: float = 1.0) -> str:
    return UNKNOWN if value is None else digits(value / unit)


def _saturated(standing: Standing) -> str:
    return f"{standing.saturated_blocks} of {standing.blocks}" if standing.saturated_blocks else ""
