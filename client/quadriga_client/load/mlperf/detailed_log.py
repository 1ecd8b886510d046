"""The errors in the detailed log that MLPerf's load generator writes. Pure.

Each line is ":::MLLOG " and an object of JSON, whose "metadata" tells errors apart.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

_MARK: Final = ":::MLLOG "


class _Metadata(msgspec.Struct):
    is_error: bool = False


class _Entry(msgspec.Struct):
    key: str
    value: object = None
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_decoder: Final = msgspec.json.Decoder(_Entry)


def errors(lines: Iterable[str]) -> Iterator[str]:
    """The texts of the errors; a line that cannot be read is none."""
    for line in lines:
        if not line.startswith(_MARK):
            continue
        try:
            entry = _decoder.decode(line.removeprefix(_MARK))
        except msgspec.DecodeError:
            continue
        if entry.metadata.is_error:
            yield str(entry.value or entry.key)
