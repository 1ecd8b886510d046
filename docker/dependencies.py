"""Prints what extras of the project need, one requirement a line: `python dependencies.py EXTRA...`.

Runs while an image is built, in a layer that knows pyproject.toml and none of the code, so that a change of the code
installs nothing anew.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_PYPROJECT: Final = Path("pyproject.toml")


def requirements(project: Mapping[str, Any], extras: Sequence[str]) -> list[str]:
    """What the project and those extras of it need, each once, without the project itself.

    Args:
        project: The table `project` of pyproject.toml.
        extras: Their names.

    Raises:
        KeyError: There is no extra of a name.
    """
    return list(dict.fromkeys([*project["dependencies"], *_of_extras(project, extras)]))


def _of_extras(project: Mapping[str, Any], extras: Sequence[str]) -> Iterator[str]:
    own = re.compile(rf"{re.escape(project['name'])}\[([^]]+)\]")
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            if match := own.fullmatch(requirement):
                yield from _of_extras(project, [name.strip() for name in match[1].split(",")])
            else:
                yield requirement


if __name__ == "__main__":
    try:
        print("\n".join(requirements(tomllib.loads(_PYPROJECT.read_text())["project"], sys.argv[1:])))
    except KeyError as error:
        sys.exit(f"there is no extra {error} in {_PYPROJECT}")
