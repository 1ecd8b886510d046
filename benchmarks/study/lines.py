"""Lines of code by purpose: what a network's author has to write. Pure, but for reading the sources."""

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from study.figures import Code, Purpose

#: The zoo's networks, in the article's order.
NETWORKS: Final = ("tensorflow", "keras", "pytorch")
IMPORTS: Final = "imports and constants"
#: What is written to build the network and to train it; the rest is needed by the zoo alone.
CORE: Final = ("model", "training")
#: Top-level definition -> what it is there for. A definition that is not here is an error: nobody has looked at it.
PURPOSES: Final = {
    "ConvolutionalNetwork": "model",
    "build": "model",
    "train": "training",
    "_EpochReporter": "progress",
    "predict": "prediction",
    "export": "export",
    "export_onnx": "export",
}
#: The order of tables.
NAMES: Final = (IMPORTS, "model", "training", "progress", "prediction", "export")
_NO_CODE: Final = frozenset(
    {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
)  # fmt: skip


def measure_networks(folder: Path) -> tuple[Code, ...]:
    """The zoo's networks.

    Args:
        folder: Of `quadriga_zoo.networks`.
    """
    return tuple(count(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in NETWORKS)


def count(network: str, source: str) -> Code:
    """One module's lines and statements by purpose, without blank lines, comments and docstrings.

    A line counts where something other than a comment stands on it; a statement counts once, however many lines it
    takes, and so does the head of a compound one.

    Raises:
        ValueError: It has a definition whose purpose is not known.
    """
    tree = ast.parse(source)
    docstrings = list(_docstrings(tree))
    written = _written_lines(source)
    for text in docstrings:
        written.difference_update(range(text.lineno, (text.end_lineno or 0) + 1))
    lines = dict.fromkeys(NAMES, 0)
    statements = dict.fromkeys(NAMES, 0)
    for node in tree.body:
        purpose = _purpose(node)
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
        lines[purpose] += sum(first <= line <= (node.end_lineno or 0) for line in written)
        statements[purpose] += sum(isinstance(each, ast.stmt) and each not in docstrings for each in ast.walk(node))
    purposes = (Purpose(name=name, lines=lines[name], statements=statements[name]) for name in NAMES)
    return Code(network=network, purposes=tuple(each for each in purposes if each.statements))


def _purpose(node: ast.stmt) -> str:
    if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return IMPORTS
    if node.name not in PURPOSES:
        raise ValueError(f"{node.name} has no purpose yet; add it to PURPOSES in {__file__}")
    return PURPOSES[node.name]


def _docstrings(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that are docstrings, of the module and all that is in it."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                yield first


def _written_lines(source: str) -> set[int]:
    """Numbers of the lines with code on them."""
    return set(_lines_of(tokenize.generate_tokens(io.StringIO(source).readline)))


def _lines_of(tokens: Iterable[tokenize.TokenInfo]) -> Iterator[int]:
    for token in tokens:
        if token.type not in _NO_CODE:
            yield from range(token.start[0], token.end[0] + 1)
