"""What workers and templates get of the server's environment. Server process.

Frameworks and backends of a user's own are set by variables of any name, so that all are handed on but those which can
only be the server's, and where workers are confined those whose names say that they are secrets.
"""

import os
import re
from collections.abc import Mapping
from typing import Final

#: NumPy and SciPy bring an OpenBLAS each, which starts threads when it is imported; workers compute nothing with it.
WITHOUT_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1"}
#: The server's settings, and those of its traces, which may carry a key to where they are sent.
_SERVERS: Final = re.compile(r"(QUADRIGA|OTEL)_")
_SECRET: Final = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY", re.IGNORECASE)


def environment_of_workers(confined: bool, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a worker that is spawned, or of a template.

    Args:
        confined: Whether its workers are. Such a one has a single thread when it is, and no secrets.
        environment: The server's.
    """
    kept = {name: value for name, value in environment.items() if not _SERVERS.match(name)}
    if not confined:
        return kept
    return {name: value for name, value in kept.items() if not _SECRET.search(name)} | WITHOUT_THREADS
