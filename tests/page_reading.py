"""Reads the HTML pages that reports make: whether elements are balanced, and what they refer to."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_REFERRING = frozenset({"href", "xlink:href", "src", "srcset", "action", "data", "poster", "cite", "background"})


@dataclass
class PageReading(HTMLParser):
    """What a page holds.

    Attributes:
        tags: Of all elements, in order.
        ids: All of them.
        references: Values of the attributes that refer to something.
        texts: Tag -> the texts directly in such elements.
        unbalanced: What is wrong with the nesting; empty where nothing is.
    """

    tags: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    unbalanced: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def of(cls, page: str) -> "PageReading":
        """Reads the whole page."""
        reading = cls()
        reading.feed(page)
        reading.close()
        reading.unbalanced += [f"<{tag}> is not closed" for tag in reading._open]
        return reading

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._saw(tag, attributes)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._saw(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.unbalanced.append(f"</{tag}> within {self._open[-3:]}")
        else:
            self._open.pop()

    def handle_data(self, text: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(text)

    def _saw(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            elif name in _REFERRING:
                self.references.append(value or "")
            elif name == "style":
                self.styles.append(value or "")
