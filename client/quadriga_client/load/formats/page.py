"""One HTML page that holds all it needs: styles, plots and data; reads page.css, else pure.

It asks nothing of the network and runs no script, and its own policy forbids both, so that a report can be mailed, kept
and opened years later. Shared by the load test's report, the comparison's and the study's.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from itertools import groupby
from typing import Final

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

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
#: What could end a script element, or change how one is read, written as JSON's own escapes.
_SCRIPT_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def page(
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    footer: str = "",
    data: Mapping[str, bytes] | None = None,
) -> str:
    """The page.

    Args:
        title: Of the page.
        sections: In order; one with an empty title has no heading and opens the page.
        lead: A sentence below the title.
        footer: A sentence at the end.
        data: Element id -> JSON document that the page carries along, for programs.
    """
    anchors = _anchors(sections)
    body = [
        "<header>",
        f"<h1>{_text(title)}</h1>",
        *([f'<p class="lead">{_text(lead)}</p>'] if lead else []),
        *_navigation(anchors),
        "</header>",
        "<main>",
        *(_section(section, anchor) for section, anchor in anchors),
        "</main>",
        *([f"<footer><p>{_text(footer)}</p></footer>"] if footer else []),
        *(_data(name, document) for name, document in (data or {}).items()),
    ]
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light">',
        '<link rel="icon" href="data:,">',
        f"<title>{_text(title)}</title>",
        f"<style>\n{_styles()}</style>",
    ]
    lines = ["<!DOCTYPE html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body, "</body>", "</html>"]
    return "\n".join(lines) + "\n"


@cache
def _styles() -> str:
    return resources.files(__package__).joinpath("page.css").read_text()


def _text(text: str) -> str:
    """The text in one line, without the characters that HTML cannot hold."""
    return escape(" ".join("".join(each if each.isprintable() else " " for each in text).split()))


def _anchors(sections: Sequence[Section]) -> list[tuple[Section, str]]:
    """Each section with the id that links go to; "" for those without a title."""
    return [(section, f"section-{number}" if section.title else "") for number, section in enumerate(sections)]


def _navigation(anchors: Iterable[tuple[Section, str]]) -> list[str]:
    links = [f'<li><a href="#{anchor}">{_text(section.title)}</a></li>' for section, anchor in anchors if anchor]
    return ['<nav aria-label="Sections">', "<ul>", *links, "</ul>", "</nav>"] if len(links) > 1 else []


def _section(section: Section, anchor: str) -> str:
    opening = (
        [
            f'<section id="{anchor}" aria-labelledby="{anchor}-title">',
            f'<h2 id="{anchor}-title">{_text(section.title)}</h2>',
        ]
        if anchor
        else ['<section class="opening">']
    )
    blocks = []
    for pictures, group in groupby(section.blocks, lambda block: isinstance(block, Picture)):
        rendered = [_block(block) for block in group]
        blocks += ['<div class="pictures">', *rendered, "</div>"] if pictures else rendered
    return "\n".join([*opening, *blocks, "</section>"])


def _block(block: Block) -> str:
    match block:
        case Paragraph(text, "plain"):
            return f"<p>{_text(text)}</p>"
        case Paragraph(text, tone):
            return f'<p class="notice {tone}" role="note">{_text(text)}</p>'
        case Bullets(items):
            return "\n".join(["<ul>", *(f"<li>{_text(item)}</li>" for item in items), "</ul>"])
        case Facts(facts):
            pairs = (f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts.items())
            return "\n".join(['<dl class="facts">', *pairs, "</dl>"])
        case Tiles():
            return _tiles(block)
        case Table():
            return _table(block)
        case Picture(svg, caption, wide):
            opening = '<figure class="wide">' if wide else "<figure>"
            return f"{opening}\n{svg}\n<figcaption>{_text(caption)}</figcaption>\n</figure>"


def _tiles(tiles: Tiles) -> str:
    lines = ['<div class="tiles">']
    for tile in tiles.tiles:
        detail = f'<dd class="detail">{_text(tile.detail)}</dd>' if tile.detail else ""
        lines.append(
            f'<dl class="tile"><dt>{_text(tile.name)}</dt><dd class="value">{_text(tile.value)}</dd>{detail}</dl>'
        )
    return "\n".join([*lines, "</div>"])


def _table(table: Table) -> str:
    numbers = [bool(column) and all(cell.number for cell in column) for column in zip(*table.rows, strict=True)]
    numbers = numbers or [False] * len(table.headings)
    headings = (
        f'<th scope="col"{_classes("number" if number else "")}>{_text(heading)}</th>'
        for heading, number in zip(table.headings, numbers, strict=True)
    )
    rows = (f"<tr>{_cell(row[0], named=True)}{''.join(map(_cell, row[1:]))}</tr>" for row in table.rows)
    caption = f"<caption>{_text(table.caption)}</caption>"
    # A wide table scrolls by itself on a small screen; the keyboard must reach what scrolls.
    opening = f'<div class="scroll" role="region" tabindex="0" aria-label="{_text(table.caption)}">'
    head = ["<thead>", f"<tr>{''.join(headings)}</tr>", "</thead>"]
    return "\n".join([opening, "<table>", caption, *head, "<tbody>", *rows, "</tbody>", "</table>", "</div>"])


def _cell(cell: Cell, *, named: bool = False) -> str:
    text = _text(cell.text)
    if cell.tone in ("good", "warning", "bad"):
        text = f'<span class="badge {cell.tone}">{text}</span>'
    elif cell.tone == "muted" and cell.number and text:
        text = f"[{text}]"
    detail = f"<small>{_text(cell.detail)}</small>" if cell.detail else ""
    classes = _classes("number" if cell.number else "", "muted" if cell.tone == "muted" else "")
    return f'<th scope="row"{classes}>{text}{detail}</th>' if named else f"<td{classes}>{text}{detail}</td>"


def _classes(*names: str) -> str:
    given = " ".join(name for name in names if name)
    return f' class="{given}"' if given else ""


def _data(name: str, document: bytes) -> str:
    text = document.decode()
    for letter, written in _SCRIPT_ESCAPES.items():
        text = text.replace(letter, written)
    return f'<script type="application/json" id="{escape(name)}">\n{text.strip()}\n</script>'
