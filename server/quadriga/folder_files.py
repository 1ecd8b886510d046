"""Small files of a model's folder, read so that nothing else is. Runs in the server process and in workers.

Whoever wrote the folder may have put anything there: a pipe that nobody writes to, a device without an end, a file that
is larger than the memory, a link to a file of somebody else's.
"""

import os
import stat
from pathlib import Path

from quadriga.errors import ConfigError


def read_file(path: Path, most_bytes: int) -> bytes:
    """The content of an ordinary file.

    Raises:
        ConfigError: It cannot be read, is no file, or is larger than `most_bytes`; says so without its name.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"is {_kind(found.st_mode)}; expected a file")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}") from None
    if len(content) > most_bytes:
        raise ConfigError(f"has {found.st_size} bytes; expected at most {most_bytes}")
    return content


def read_inside(folder: Path, name: str, most_bytes: int) -> bytes:
    """The content of a file of a folder, or of the folders in it, wherever links lead within it.

    Raises:
        ConfigError: As `read_file` says, or a link leads out of the folder.
    """
    path = Path(os.path.realpath(folder / name))
    if not path.is_relative_to(os.path.realpath(folder)):
        raise ConfigError(f"is a link out of {folder}; put the file itself there")
    return read_file(path, most_bytes)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
