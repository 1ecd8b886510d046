"""Sections as Markdown of GitHub's flavour, which reads well in a README or a pull request. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from quadriga_client.load.formats import sections as load_sections
from quadriga_client.load.formats.document import (
    Block,
    Bullets,
    Cell,
    Facts,
    Paragraph,
    Picture,
    Section,
    Table,
    Tiles,
)
from quadriga_client.load.report import Report

#: What Markdown or HTML takes for markup; an underscore within a word is none.
_MARKUP: Final = re.compile(r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])")


def markdown(report: Report) -> str:
    """A load test's report."""
    return document_markdown(
        load_sections.title(report), load_sections.sections(report), lead=load_sections.lead(report)
    )


def document_markdown(title: str, sections: Sequence[Section], *, lead: str = "") -> str:
    """The document; plots are left out.

    Args:
        title: Its heading.
        sections: In order; one with an empty title has no heading.
        lead: A sentence below the title.
    """
    parts = [f"# {_text(title)}"]
    if lead:
        parts.append(_text(lead))
    for section in sections:
        blocks = [_block(block) for block in section.blocks if not isinstance(block, Picture)]
        if section.title and blocks:
            parts.append(f"## {_text(section.title)}")
        parts += blocks
    return "\n\n".join(parts) + "\n"


def _text(text: str) -> str:
    """In one line, and without what would be markup."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return _MARKUP.sub(r"\\\g<0>", line.replace("&", "&amp;"))


def _block(block: Block) -> str:
    match block:
        case Paragraph(text, "plain"):
            return _text(text)
        case Paragraph(text):
            return f"> {_text(text)}"
        case Bullets(items):
            return "\n".join(f"- {_text(item)}" for item in items)
        case Facts(facts):
            return "\n".join(f"- {_text(name)}: {_text(value)}" for name, value in facts.items())
        case Tiles(tiles):
            lines = (f"- {_text(tile.name)}: **{_text(tile.value)}**{_behind(tile.detail)}" for tile in tiles)
            return "\n".join(lines)
        case Table():
            return _table(block)
        case Picture():
            return ""


def _table(table: Table) -> str:
    numbers = [bool(column) and all(cell.number for cell in column) for column in zip(*table.rows, strict=True)]
    numbers = numbers or [False] * len(table.headings)
    lines = [
        [_text(heading) for heading in table.headings],
        ["---:" if number else "---" for number in numbers],
        *([_cell(cell) for cell in row] for row in table.rows),
    ]
    return f"{_text(table.caption)}:\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(cell: Cell) -> str:
    text = _text(cell.text)
    if cell.tone in ("warning", "bad"):
        text = f"**{text}**"
    elif cell.tone == "muted" and cell.number:
        text = f"\\[{text}\\]"
    return text + _behind(cell.detail)


def _behind(detail: str) -> str:
    return f" ({_text(detail)})" if detail else ""
