"""Levels of load as texts give them: numbers, lists and ranges. Pure.

- 16: one.
- 1,8,32: as they are.
- 1:64: doubling, 1, 2, 4 ... 64; the end is the last one, whether or not doubling meets it.
- 100:500:200: in steps, 100, 300, 500; the end is the last one only where a step meets it.
"""

import math
from typing import Final

from quadriga_client.load.errors import LoadError

#: Levels of one test; each takes seconds.
MOST_LEVELS: Final = 100
_EXPECTED: Final = "expected a number, a list as 1,8,32, a doubling range as 1:64, or one in steps as 100:500:200"


def parse_levels(text: str, *, whole: bool = False) -> tuple[float, ...]:
    """The levels of a text.

    Args:
        text: See the module.
        whole: Whether they must be whole numbers, as callers are.

    Raises:
        LoadError: The text is not of this form, a level is not above 0 or not whole, or there are too many.
    """
    levels: list[float] = []
    for part in text.split(","):
        levels += _range(part, text, whole)
        if len(levels) > MOST_LEVELS:
            raise LoadError(f"{text!r} makes more than {MOST_LEVELS} levels; take a larger step or a shorter range")
    return tuple(levels)


def _range(part: str, text: str, whole: bool) -> list[float]:
    """The levels of one part of a list; a few more than `MOST_LEVELS` at most."""
    numbers = [_number(number, text, whole) for number in part.split(":")]
    match numbers:
        case [level]:
            return [level]
        case [start, end] if start <= end:
            doublings = math.ceil(math.log2(end) - math.log2(start))
            return [*(start * 2.0**power for power in range(min(doublings, MOST_LEVELS + 1))), end]
        case [start, end, step] if start <= end:
            # A step that misses the end by a rounding error meets it.
            steps = math.floor(min((end - start) / step + 1e-9, MOST_LEVELS + 1))
            return [start + number * step for number in range(steps + 1)]
        case [start, end, *_] if len(numbers) <= 3:
            raise LoadError(f"the range {part!r} goes down from {start:g} to {end:g}; give the lower end first")
    raise LoadError(f"{part!r} has {len(numbers)} numbers with colons; {_EXPECTED}")


def _number(number: str, text: str, whole: bool) -> float:
    try:
        value = float(number)
    except ValueError:
        raise LoadError(f"{number!r} in {text!r} is not a number; {_EXPECTED}") from None
    if not 0 < value < math.inf:
        raise LoadError(f"{number!r} in {text!r} is not a level of load; it must be above 0")
    if whole and not value.is_integer():
        raise LoadError(f"{number!r} in {text!r} is not a number of callers; it must be whole")
    return value
