"""A load test's report as files; writes them, in the command's process.

    document.py   sections, tables, plots: a report before it is HTML or Markdown
    sections.py     a load test's; wording.py, digits.py: how its figures are written
    page.py         sections -> one HTML page; page.css
    markdown.py     sections -> Markdown
    canvas.py     axes and colours; plots.py, timeline.py: series -> SVG; svg.py: SVG that pages can hold
    figures.py      a load test's plots
    html.py       the load test's page: sections, figures, and the report itself as JSON
    json.py       the report for programs; report.schema.json describes it
    csv.py        a line per level: all that is known, or perf_analyzer's columns

Whatever is slow to import (matplotlib) is imported where it is used: a path is checked before a long run, which makes
its report at the end.
"""

import os
from pathlib import Path
from typing import Final

from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import Report
from quadriga_client.report_files import write_whole

#: Ends of file names; the first that fits is meant.
SUFFIXES: Final = {
    ".json": "the whole report, which can be read back",
    ".perf_analyzer.csv": "perf_analyzer's columns",
    ".csv": "a line per level",
    ".md": "Markdown",
    ".html": "a page with plots",
}


def write(report: Report, path: Path) -> None:
    """Writes the report in the format that the file's name asks for, whole or not at all.

    Raises:
        LoadError: No format has that suffix, or the file cannot be written.
    """
    check_path(path)
    content = _encoded(report, _suffix(path))
    try:
        write_whole(path, content)
    except OSError as error:
        raise LoadError(f"the report cannot be written to {path}: {error.strerror or error}") from None


def check_path(path: Path) -> None:
    """Says early that a report could not be written there later.

    Raises:
        LoadError: No format has that suffix, there is no folder that could be written to, or it does not take the name.
    """
    _suffix(path)
    try:
        if path.is_dir():
            raise LoadError(f"{path} is a folder; name a file in it")
        if not path.parent.is_dir():
            raise LoadError(f"{path} cannot be written: there is no folder {path.parent}; make it, or name another")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise LoadError(f"{path} cannot be written: the folder {path.parent} allows no new files; name another")
        # Nothing else knows of file systems that are read-only or full, and of names that are too long.
        _unfinished(path).touch()
        _unfinished(path).unlink()
    except OSError as error:
        raise LoadError(f"{path} cannot be written: {error.strerror or error}; name another") from None


def _unfinished(path: Path) -> Path:
    """What the file is called until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return suffix
    known = ", ".join(f"{suffix} ({meaning})" for suffix, meaning in SUFFIXES.items())
    raise LoadError(f"no format is known by the end of the name {path.name!r}; there are {known}")


def _encoded(report: Report, suffix: str) -> bytes:
    from quadriga_client.load.formats import csv, html, json, markdown

    if suffix == ".json":
        return json.encode(report)
    texts = {
        ".perf_analyzer.csv": csv.perf_analyzer_csv,
        ".csv": csv.rows_csv,
        ".md": markdown.markdown,
        ".html": html.html,
    }
    return texts[suffix](report).encode(errors="replace")
