"""Options whose texts are more than numbers and names. Runs in the command's own process."""

import shlex
import sys
from collections.abc import Callable
from typing import Any

import click

from quadriga_client.load.errors import LoadError


class Parsed(click.ParamType):  # type: ignore[type-arg] # generic in new versions of click only
    """An option whose text a function reads, which raises LoadError."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See `click.ParamType`."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except LoadError as error:
            self.fail(str(error), param, ctx)


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """A name and sizes, from NAME:3,224,224; a name may have colons itself.

    Raises:
        LoadError: The text is not of this form.
    """
    name, separator, sizes = text.rpartition(":")
    parts = sizes.split(",")
    if not (separator and name and all(part.isdecimal() for part in parts)):
        raise LoadError(f"{text!r} is no shape; expected an input's name and its sizes, as NAME:3,224,224")
    return name, tuple(map(int, parts))


def typed_command() -> str:
    """The command as it was typed; it holds no secrets, since tokens are given by files."""
    return shlex.join(["quadriga", *sys.argv[1:]])
