"""The tables of `quadriga conformance`: the catalogue, and a report by group. Runs in the command's own process."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from quadriga_client.conformance import ROLES, Check, Entry, Level, Outcome, Report

_STYLES = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "red",
    Outcome.UNSUPPORTED: "dim",
    Outcome.SKIPPED: "dim",
    Outcome.ERROR: "bold red",
}


def catalogue_table(checks: Sequence[Check]) -> Table:
    """Every check with its rule."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("CHECK", no_wrap=True)
    for heading in ("GROUP", "LEVEL", "RULE", "WRITTEN IN", "ROLES"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        cells = (check.id, check.group, check.level, check.rule, check.source, ", ".join(check.roles))
        table.add_row(*map(escape, cells))
    return table


def roles_table() -> Table:
    """What the models of each role do."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ROLE", no_wrap=True)
    table.add_column("WHAT ITS MODEL DOES", overflow="fold")
    for role, behaviour in ROLES.items():
        table.add_row(role, behaviour)
    return table


def print_report(console: Console, report: Report) -> None:
    """The server, a table per group, and the counts by level."""
    named = f"{report.server} {report.server_version}".strip() or "a server without a name"
    console.print(f"{escape(named)} at {escape(report.url)}, kit {report.kit}")
    for group, entries in groupby(report.entries, lambda entry: entry.group):
        console.print()
        console.print(group_table(group, list(entries)))
    console.print()
    console.print(counts_table(report))
    if report.ended_early:
        console.print(f"The run ended early: {report.ended_early}.")
    console.print(verdict(report))


def verdict(report: Report) -> str:
    """What the run says of the rules that bind, in a sentence; those that could not be tried are no proof."""
    binding = report.count(level=Level.MUST)
    tried = binding[Outcome.PASSED] + binding[Outcome.FAILED]
    if not report.conforms:
        broken = binding[Outcome.FAILED] + binding[Outcome.ERROR]
        return f"{broken} of the {binding.total()} rules that bind (MUST) are broken."
    return f"None of the {binding.total()} rules that bind (MUST) was found broken; {tried} of them were tried."


def group_table(group: str, entries: Sequence[Entry]) -> Table:
    """The checks of a group; why, where one did not pass, else what was observed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(group.upper(), no_wrap=True, min_width=34)
    table.add_column("LEVEL", min_width=6)
    table.add_column("OUTCOME", min_width=11)
    table.add_column("", overflow="fold")
    for entry in entries:
        outcome = Text(entry.outcome, style=_STYLES[entry.outcome])
        said = entry.message if entry.outcome is not Outcome.FAILED else f"{entry.rule} But {entry.message}"
        table.add_row(entry.id, entry.level, outcome, escape(" ".join((said or entry.observed).split())))
    return table


def counts_table(report: Report) -> Table:
    """How many checks ended how, by level."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for outcome in Outcome:
        table.add_column(outcome.upper(), justify="right")
    for level in Level:
        counts = report.count(level=level)
        table.add_row(level, *(str(counts[outcome]) for outcome in Outcome))
    return table
