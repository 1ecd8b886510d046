"""A load test's report as JSON, and the schema of it; reads report files, else pure.

`python -m quadriga_client.load.formats.json` prints the schema, which is committed beside this module:

    python -m quadriga_client.load.formats.json > client/quadriga_client/load/formats/report.schema.json
"""

from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import SCHEMA, Report


class _Envelope(msgspec.Struct):
    """What every version of a report has."""

    schema: str


def encode(report: Report) -> bytes:
    """The report, indented; keys are in the order of its classes' fields, so that equal reports are equal files."""
    try:
        document = msgspec.json.encode(report)
    except UnicodeEncodeError:
        document = msgspec.json.encode(_encodable(msgspec.to_builtins(report)))
    return msgspec.json.format(document, indent=2) + b"\n"


def _encodable(value: Any) -> Any:  # noqa: ANN401
    """The value with "?" for what Python keeps of bytes that are no text, as a typed file name may have them."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


def decode(document: bytes, name: str = "the report") -> Report:
    """A report of its JSON; fields that a later version added are passed over.

    Args:
        document: The JSON.
        name: Goes into messages: where the document came from.

    Raises:
        LoadError: It is no JSON, of another schema, or damaged; the text says where.
    """
    try:
        schema = msgspec.json.decode(document, type=_Envelope).schema
        if schema != SCHEMA:
            raise LoadError(
                f"{name} has the schema {schema!r}, and this version of Quadriga reads {SCHEMA!r}: it was written by "
                "another version; read it with that one, or measure again"
            )
        return msgspec.json.decode(document, type=Report)
    except msgspec.ValidationError as error:
        raise LoadError(
            f"{name} is no load test's report, or was changed by hand: {error}; give a .json file that "
            "`quadriga load --output` wrote"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LoadError(f"{name} is no JSON, or only a part of it: {error}; measure again, or copy it again") from None


def read(path: Path) -> Report:
    """The report in a file.

    Raises:
        LoadError: The file cannot be read, or as `decode` says.
    """
    try:
        document = path.read_bytes()
    except OSError as error:
        raise LoadError(f"the report {path} cannot be read: {error.strerror or error}") from None
    return decode(document, str(path))


def schema() -> dict[str, Any]:
    """The JSON Schema of reports, of the draft 2020-12."""
    described = msgspec.json.schema(Report)
    for definition in described["$defs"].values():
        if "description" in definition:  # a docstring, whose indentation is Python's own
            definition["description"] = cleandoc(definition["description"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('/', ':').replace('.', ':')}",
        "title": "A load test by Quadriga",
        **described,
    }


def encoded_schema() -> bytes:
    """The schema as it is committed."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n"


if __name__ == "__main__":
    print(encoded_schema().decode(), end="")
