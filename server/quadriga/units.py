"""How many of one unit make another. Runs in the server process and in commands."""

from typing import Final

MICROSECOND_NS: Final = 1_000
SECOND_NS: Final = 1_000_000_000
