"""Markdown of the catalogue, and of several reports side by side; in the kit's process."""

from collections.abc import Sequence
from typing import Final

from quadriga_client.conformance.catalogue import Check
from quadriga_client.conformance.outcomes import Level, Outcome
from quadriga_client.conformance.report import Entry, Report

_MARKS: Final = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "**failed**",
    Outcome.UNSUPPORTED: "unsupported",
    Outcome.SKIPPED: "skipped",
    Outcome.ERROR: "**error**",
}


def catalogue_markdown(checks: Sequence[Check]) -> str:
    """The checks as one table."""
    rows = [
        (f"`{check.id}`", check.group, check.level, check.rule, check.source, ", ".join(check.roles))
        for check in checks
    ]
    return _table(("check", "group", "level", "rule", "written in", "roles"), rows)


def comparison_markdown(reports: Sequence[tuple[str, Report]]) -> str:
    """Several reports side by side: who they are of, counts by level, every check, and why some failed.

    Args:
        reports: With the name that each is to go by.
    """
    names = [name for name, _ in reports]
    servers = [
        (
            name,
            f"{report.server} {report.server_version}",
            ", ".join(report.extensions) or "none",
            report.kit,
            report.date[:10],
        )
        for name, report in reports
    ]
    counts = [
        (f"{level} {_MARKS[outcome]}", *(str(report.count(level=level)[outcome]) for _, report in reports))
        for level in Level
        for outcome in Outcome
        if any(report.count(level=level)[outcome] for _, report in reports)
    ]
    parts = [
        _table(("run", "server", "extensions", "kit", "date"), servers),
        _table(("outcome", *names), counts),
        _table(("check", "level", *names), _check_rows([report for _, report in reports])),
    ]
    for name, report in reports:
        failed = [entry for entry in report.entries if entry.outcome in (Outcome.FAILED, Outcome.ERROR)]
        if failed:
            rows = [(f"`{entry.id}`", entry.level, entry.message) for entry in failed]
            parts.append(f"What failed at {name}:\n\n" + _table(("check", "level", "what came"), rows))
    return "\n".join(parts)


def _check_rows(reports: Sequence[Report]) -> list[tuple[str, ...]]:
    found = [{entry.id: entry for entry in report.entries} for report in reports]
    levels = {entry.id: entry.level for report in reports for entry in report.entries}
    return [(f"`{id}`", level, *(_mark(entries.get(id)) for entries in found)) for id, level in levels.items()]


def _mark(entry: Entry | None) -> str:
    return "" if entry is None else _MARKS[entry.outcome]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|").replace("<", "&lt;")
    return " ".join(escaped.split())
