"""The table of models: whatever a file or a framework made of a text, the table shows it and does not fail."""

from io import StringIO

import pytest
from rich.console import Console

from quadriga.commands.table import ModelRow, model_table

TEXTS = ("[ONNXRuntimeError] : 7", "KeyError: '[red]'", "no match for [/dense]", ":warning: [link=x]y[/link]")


def printed(*rows: ModelRow) -> list[str]:
    file = StringIO()
    Console(file=file, width=400).print(model_table(rows))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("text", TEXTS)
def test_brackets_are_text_and_no_markup(text: str) -> None:
    _, line = printed(ModelRow(model=f"m{text}", inputs=f"x{text}", state="UNAVAILABLE", reason=f"r{text}"))
    assert [f"{start}{text}" in line for start in "mxr"] == [True] * 3


def test_reasons_have_a_column_where_there_are_some() -> None:
    fine, bad = ModelRow(model="m", state="READY", load_ms=12.6), ModelRow(model="n", state="UNAVAILABLE", reason="why")
    header, line = printed(fine)
    assert ("REASON" in header, line.split()) == (False, ["m", "13", "READY"])
    header, _, line = printed(fine, bad)
    assert ("REASON" in header, line.split()) == (True, ["n", "UNAVAILABLE", "why"])
