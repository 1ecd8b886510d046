"""What was measured of a model when its file was made, as a folder's `export.json` has it. Runs in the server process.

`quadriga-zoo` writes the file; others may. Nothing is served by it: clients that compare models are told of it.
"""

import logging
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import msgspec

from quadriga.errors import ConfigError, one_line
from quadriga.folder_files import read_file

EXPORT_FILE: Final = "export.json"
_MOST_BYTES: Final = 1_048_576

log = logging.getLogger("quadriga.export_file")


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of it; the file's other keys are for people.

    Attributes:
        accuracy: Share of the data set's test images whose class was right; None where it was not measured.
        dataset: Whose images they were; empty where it is not said.
    """

    accuracy: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    dataset: str = ""

    def properties(self) -> dict[str, str]:
        """As properties of the model's metadata; without an accuracy there is nothing to tell."""
        if self.accuracy is None:
            return {}
        return {"accuracy": str(self.accuracy), **({"dataset": self.dataset} if self.dataset else {})}


#: Of a model of which nothing is told.
NOTHING: Final = Export()


def read_export(directory: Path) -> Export:
    """What a model's folder has; nothing where there is no file, or one that cannot be read, which is warned of."""
    path = directory / EXPORT_FILE
    if not path.exists():
        return NOTHING
    try:
        return msgspec.json.decode(read_file(path, _MOST_BYTES), type=Export)
    except (ConfigError, ValueError, RecursionError) as error:  # no text, no JSON, no such object, or nested too deep
        _warn_ignored(path, one_line(str(error)))
    return NOTHING


@cache  # repositories are scanned again and again when they are polled
def _warn_ignored(path: Path, reason: str) -> None:
    log.warning(
        "%s is ignored: %s; expected a JSON object with an accuracy from 0 to 1 and a dataset's name", path, reason
    )
