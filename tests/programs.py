"""Programs that tests run if they are installed: into this Python's environment, or anywhere on the path."""

import os
import shutil
import sys
from pathlib import Path


def find(name: str) -> str | None:
    """The path of a program; None: it is not installed."""
    return shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
