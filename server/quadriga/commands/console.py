"""The console that a command's tables go to. Runs in the command's own process."""

from typing import Final

from rich.console import Console

#: Columns where the output does not go to a terminal: nothing has to be folded for a file.
FILE_WIDTH: Final = 250


def output_console() -> Console:
    """Standard output, in the terminal's width or that of files."""
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    return console
