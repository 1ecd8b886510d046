"""Which Python runs the workers of a backend: another one where frameworks cannot share an environment. Server process.

An image whose frameworks need different versions of CUDA has an environment for each, and says so in a variable:

    QUADRIGA_INTERPRETERS="tensorflow=/opt/tensorflow/bin/python keras=/opt/tensorflow/bin/python"

Each environment has the same version of quadriga, since server and worker talk in its messages.
"""

import os
import sys
from collections.abc import Mapping
from typing import Final

from quadriga.backends import BACKENDS
from quadriga.errors import ConfigError

VARIABLE: Final = "QUADRIGA_INTERPRETERS"


def interpreter_of(backend: str, environment: Mapping[str, str] = os.environ) -> str:
    """The path of the Python that runs a backend's workers; this process's own unless the variable says otherwise.

    Raises:
        ConfigError: The variable is not "BACKEND=PATH", separated by spaces.
    """
    return interpreters(environment).get(backend, sys.executable)


def interpreters(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The path by backend, as the variable has them.

    Raises:
        ConfigError: It is something else than "BACKEND=PATH", separated by spaces; or names an unknown backend, or a
            file that cannot be run.
    """
    paths: dict[str, str] = {}
    for entry in environment.get(VARIABLE, "").split():
        backend, _, path = entry.partition("=")
        if backend not in BACKENDS:
            raise ConfigError(f"{VARIABLE} has {entry!r}; expected BACKEND=PATH with one of {', '.join(BACKENDS)}")
        if not os.access(path, os.X_OK):
            raise ConfigError(f"{VARIABLE} gives {backend} the interpreter {path!r}, which cannot be run")
        paths[backend] = path
    return paths
