"""A comparison's report as files; writes them into a folder, in the command's process.

    sections.py   the report before it is HTML or Markdown
    figures.py    its plots
    json.py       the report for programs, and back; comparison.schema.json describes it
    csv.py        a line per block

Pages, Markdown and plots are those of `quadriga_client.load.formats`.
"""

import os
from pathlib import Path
from typing import Final

from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.errors import CompareError
from quadriga_client.compare.formats import json
from quadriga_client.report_files import write_whole

#: What is read back.
REPORT: Final = "comparison.json"
#: All that is written; the suffix says how.
NAMES: Final = (REPORT, "comparison.csv", "comparison.md", "comparison.html")


def prepare(folder: Path) -> None:
    """Makes the folder where it is missing, and says early that a report could not be written there later.

    Raises:
        CompareError: There is something else, or it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompareError(f"the folder {folder} cannot be made: {error.strerror or error}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CompareError(f"the folder {folder} allows no new files; name another")


def write(report: Comparison, folder: Path) -> None:
    """Writes the report in every format, each file whole or not at all; first the one that all others can be made of.

    Raises:
        CompareError: A file cannot be written.
    """
    _put(folder / REPORT, json.encode(report))
    # Plots take a second to import, which nothing else should wait for.
    from quadriga_client.compare.formats import csv, figures, sections
    from quadriga_client.load.formats.markdown import document_markdown

    title, lead, body = sections.title(report), sections.lead(report), sections.sections(report)
    texts = (
        csv.blocks_csv(report),
        document_markdown(title, body, lead=lead),
        figures.html(report, title, lead, body),
    )
    for name, text in zip(NAMES[1:], texts, strict=True):
        _put(folder / name, text.encode(errors="replace"))


def _put(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise CompareError(f"the report cannot be written to {path}: {error.strerror or error}") from None
