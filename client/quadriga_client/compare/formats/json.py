"""A comparison as JSON, and back; reads report files, else pure."""

from pathlib import Path

import msgspec

from quadriga_client.compare.comparison import SCHEMA, Comparison
from quadriga_client.compare.errors import CompareError


class _Envelope(msgspec.Struct):
    """What every version of a report has."""

    schema: str


def encode(report: Comparison) -> bytes:
    """The report, indented; keys are in the order of its classes' fields, so that equal reports are equal files."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def decode(document: bytes, name: str = "the report") -> Comparison:
    """A report of its JSON; fields that a later version added are passed over.

    Args:
        document: The JSON.
        name: Goes into messages: where the document came from.

    Raises:
        CompareError: It is no JSON, of another schema, or damaged; the text says where.
    """
    try:
        schema = msgspec.json.decode(document, type=_Envelope).schema
        if schema != SCHEMA:
            raise CompareError(
                f"{name} has the schema {schema!r}, and this version of Quadriga reads {SCHEMA!r}; give a"
                " comparison.json that `quadriga compare` of this version wrote"
            )
        return msgspec.json.decode(document, type=Comparison)
    except msgspec.ValidationError as error:
        raise CompareError(
            f"{name} is no comparison, or was changed by hand: {error}; give a comparison.json that `quadriga compare`"
            " wrote"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CompareError(f"{name} is no JSON, or only a part of it: {error}") from None


def read(path: Path) -> Comparison:
    """The report in a file.

    Raises:
        CompareError: The file cannot be read, or as `decode` says.
    """
    try:
        document = path.read_bytes()
    except OSError as error:
        raise CompareError(f"the report {path} cannot be read: {error.strerror or error}") from None
    return decode(document, str(path))
