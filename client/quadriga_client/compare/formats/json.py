"""A comparison as JSON, and back, and the schema of it; reads report files, else pure.

`python -m quadriga_client.compare.formats.json` prints the schema, which is committed beside this module:

    python -m quadriga_client.compare.formats.json > client/quadriga_client/compare/formats/comparison.schema.json
"""

from pathlib import Path

import msgspec

from quadriga_client.compare.comparison import SCHEMA, Comparison
from quadriga_client.compare.errors import CompareError
from quadriga_client.report_files import encode, encoded_schema

__all__ = ["decode", "encode", "read", "schema"]


class _Envelope(msgspec.Struct):
    """What every version of a report has."""

    schema: str


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


def schema() -> bytes:
    """The JSON Schema of comparisons, as it is committed."""
    return encoded_schema(Comparison, SCHEMA, "A comparison of models by Quadriga")


if __name__ == "__main__":
    print(schema().decode(), end="")
