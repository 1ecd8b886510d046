"""Checks of settings that the server's and the models' configuration share. Pure; runs in the server process."""

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from quadriga.errors import ConfigError

#: Smallest and largest value of a number, both inclusive; beyond is a slip of the pen, not a wish.
Limits = tuple[int, int]


def check_range(key: str, value: float, limits: Limits) -> None:
    """Makes sure that a number lies within its limits.

    Raises:
        ConfigError: It does not.
    """
    low, high = limits
    if not low <= value <= high:
        raise ConfigError(f"{key} is {value}; expected {low} to {high}")


def check_limits(key: str, value: float, limits: Mapping[str, Limits]) -> None:
    """Makes sure that a number lies within the limits of its key.

    Raises:
        ConfigError: It does not.
    """
    check_range(key, value, limits[key])


def check_choice(key: str, value: str, choices: Collection[str]) -> None:
    """Makes sure that a word is one of the known ones.

    Raises:
        ConfigError: It is not.
    """
    if value not in choices:
        raise ConfigError(f"{key} is {value!r}; expected one of {', '.join(choices)}")


def check_inside(key: str, file_name: str, folder: str) -> None:
    """Makes sure that a path leads into a folder, links aside.

    Raises:
        ConfigError: It does not; `folder` is what it calls the folder.
    """
    path = PurePosixPath(file_name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in file_name:
        raise ConfigError(f"{key} is {file_name!r}; expected a path inside {folder}")
