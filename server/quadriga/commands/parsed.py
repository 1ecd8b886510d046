"""Options whose texts are more than numbers and names. Runs in the command's own process."""

import shlex
import sys
from collections.abc import Callable
from typing import Any

import click

from quadriga_client.load.errors import LoadError


def parsed(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Reads an option's texts by a function that raises LoadError; what is not given stays as it is."""

    def read(context: click.Context, parameter: click.Parameter, value: Any) -> Any:  # noqa: ANN401
        try:
            if isinstance(value, tuple):
                return tuple(map(parse, value))
            return None if value is None else parse(value)
        except LoadError as error:
            raise click.BadParameter(str(error), context, parameter) from None

    return read


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
