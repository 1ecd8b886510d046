"""What the report files of all commands have in common: how they are written and described. In the user's process."""

import os
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: who reads it finds what was there before, or all that is new.

    Raises:
        OSError: It cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def encode(report: object) -> bytes:
    """A report as JSON, indented; keys are in the order of its classes' fields: equal reports are equal files."""
    try:
        document = msgspec.json.encode(report)
    except UnicodeEncodeError:
        document = msgspec.json.encode(_encodable(msgspec.to_builtins(report)))
    return msgspec.json.format(document, indent=2) + b"\n"


def encoded_schema(report: type, name: str, title: str) -> bytes:
    """The JSON Schema of reports, of the draft 2020-12, as it is committed.

    Args:
        report: Their class.
        name: As the field `schema` has it, as "quadriga.load/1".
        title: For people.
    """
    described = msgspec.json.schema(report)
    for definition in described["$defs"].values():
        if "description" in definition:  # a docstring, whose indentation is Python's own
            definition["description"] = cleandoc(definition["description"])
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{name.replace('/', ':').replace('.', ':')}",
        "title": title,
        **described,
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def _encodable(value: Any) -> Any:  # noqa: ANN401
    """The value with "?" for what Python keeps of bytes that are no text, as a typed file name may have them."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value
