"""Lines of code, counted in sources whose count is known."""

from pathlib import Path

import pytest
from study.lines import CORE, NETWORKS, count, measure_networks

SOURCE = '''"""A docstring

of three lines."""

import this  # a comment behind code

#: A comment.
SIZE = (
    1,

    2,
)


class ConvolutionalNetwork:
    """One line."""

    @property
    def layers(self) -> str:
        """Two
        lines."""
        # Why.
        return """text

        on three lines"""


def train(epochs: int) -> None:
    for _ in range(epochs):
        if epochs: pass
'''
ZOO = Path(__file__).parents[2] / "models" / "quadriga_zoo" / "networks"


def test_blank_lines_comments_and_docstrings_are_no_code() -> None:
    by_name = {purpose.name: purpose for purpose in count("keras", SOURCE).purposes}
    assert by_name["imports and constants"].lines == 5
    # The class, the decorator, the method, and a string of three lines, the middle one of which belongs to it.
    assert by_name["model"].lines == 6
    assert by_name["training"].lines == 3


def test_statements_count_once_however_long_and_with_their_heads() -> None:
    by_name = {purpose.name: purpose for purpose in count("keras", SOURCE).purposes}
    assert by_name["imports and constants"].statements == 2
    assert by_name["model"].statements == 3
    assert by_name["training"].statements == 4


def test_purposes_add_up() -> None:
    code = count("keras", SOURCE)
    assert code.lines() == 14
    assert code.lines(*CORE) == 9
    assert code.statements(*CORE) == 7


def test_a_definition_that_nobody_has_classified_is_refused() -> None:
    with pytest.raises(ValueError, match="surprise has no purpose"):
        count("keras", "def surprise() -> None:\n    return None\n")


def test_every_network_of_the_zoo_is_counted() -> None:
    codes = measure_networks(ZOO)
    assert [code.network for code in codes] == list(NETWORKS)
    assert all(code.lines("model") and code.lines("training") for code in codes)
