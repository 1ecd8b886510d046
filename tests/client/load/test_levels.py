"""Levels of load from texts."""

import pytest

from quadriga_client.load.errors import LoadError
from quadriga_client.load.levels import MOST_LEVELS, parse_levels


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("16", (16,)),
        ("0.5", (0.5,)),
        ("1e3", (1000,)),
        ("1,8,32", (1, 8, 32)),
        ("32, 8, 8", (32, 8, 8)),
        ("1:64", (1, 2, 4, 8, 16, 32, 64)),
        ("1:48", (1, 2, 4, 8, 16, 32, 48)),
        ("100:5000", (100, 200, 400, 800, 1600, 3200, 5000)),
        ("5:5", (5,)),
        ("1:10:3", (1, 4, 7, 10)),
        ("1:11:3", (1, 4, 7, 10)),
        ("0.1:0.3:0.1", (0.1, 0.2, 0.3)),
        ("7:7:2", (7,)),
        ("1:4,10:30:10", (1, 2, 4, 10, 20, 30)),
    ],
)
def test_levels(text: str, levels: tuple[float, ...]) -> None:
    assert parse_levels(text) == pytest.approx(levels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' in '' is not a number; expected a number, a list as 1,8,32"),
        ("many", "'many' in 'many' is not a number"),
        ("1,,2", "'' in '1,,2' is not a number"),
        ("1:", "'' in '1:' is not a number"),
        ("0", "'0' in '0' is not a level of load; it must be above 0"),
        ("-1:4", "'-1' in '-1:4' is not a level of load"),
        ("nan", "'nan' in 'nan' is not a level of load"),
        ("1:inf", "'inf' in '1:inf' is not a level of load"),
        ("1:10:0", "'0' in '1:10:0' is not a level of load"),
        ("64:1", "the range '64:1' goes down from 64 to 1; give the lower end first"),
        ("10:1:2", "the range '10:1:2' goes down from 10 to 1"),
        ("1:2:3:4", "'1:2:3:4' has 4 numbers with colons"),
        ("1:1000000:1", f"'1:1000000:1' makes more than {MOST_LEVELS} levels"),
        ("1e-300:1e300", f"makes more than {MOST_LEVELS} levels"),
    ],
)
def test_what_is_no_level_is_refused(text: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        parse_levels(text)


def test_callers_are_whole() -> None:
    assert parse_levels("1:8", whole=True) == (1, 2, 4, 8)
    assert parse_levels("1.0", whole=True) == (1,)
    with pytest.raises(LoadError, match=r"'1\.5' in '1\.5:8' is not a number of callers; it must be whole"):
        parse_levels("1.5:8", whole=True)


def test_as_many_levels_as_are_allowed() -> None:
    assert len(parse_levels(f"1:{MOST_LEVELS}:1")) == MOST_LEVELS
    with pytest.raises(LoadError, match="makes more than"):
        parse_levels(f"1:{MOST_LEVELS + 1}:1")
