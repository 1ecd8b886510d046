"""How numbers are written for people: as many digits as mean something. Pure."""

import math
from typing import Final

UNKNOWN: Final = "–"  # noqa: RUF001


def digits(value: float) -> str:
    """Three significant digits, or all of a larger number's, and at most three decimals: 0.012, 1.23, 12.3, 12,345."""
    if not math.isfinite(value):
        return UNKNOWN
    if abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:,.{min(max(2 - math.floor(math.log10(abs(value))), 0), 3)}f}"
