"""What the report files of all commands have in common: their writing, reading, schema. In the user's process."""

import os
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from quadriga_client.errors import QuadrigaClientError

_Report = TypeVar("_Report")


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


@dataclass(frozen=True, slots=True)
class ReportFormat(Generic[_Report]):
    """One kind of report as JSON.

    Attributes:
        report: Its class, whose field `schema` names the version of the format.
        schema: That name, as "quadriga.load/1".
        title: Of the schema, for people.
        noun: What a report is called in messages, as "a load test's report".
        written_by: What writes such files, for messages.
        error: What is raised of a file that is none of them.
    """

    report: type[_Report]
    schema: str
    title: str
    noun: str
    written_by: str
    error: type[QuadrigaClientError]

    def encode(self, report: _Report) -> bytes:
        """The report, indented; keys are in the order of its classes' fields: equal reports are equal files."""
        try:
            document = msgspec.json.encode(report)
        except UnicodeEncodeError:
            document = msgspec.json.encode(_encodable(msgspec.to_builtins(report)))
        return msgspec.json.format(document, indent=2) + b"\n"

    def decode(self, document: bytes, name: str = "the report") -> _Report:
        """A report of its JSON; fields that a later version added are passed over.

        Args:
            document: The JSON.
            name: Goes into messages: where the document came from.

        Raises:
            QuadrigaClientError: `error`: it is no JSON, of another schema, or damaged; the text says where.
        """
        try:
            schema = msgspec.json.decode(document, type=_Envelope).schema
            if schema != self.schema:
                raise self.error(
                    f"{name} has the schema {schema!r}, and this version of Quadriga reads {self.schema!r}: it was "
                    "written by another version or another command; read it with that one, or measure again"
                )
            return msgspec.json.decode(document, type=self.report)
        except msgspec.ValidationError as error:
            raise self.error(
                f"{name} is not {self.noun}, or was changed by hand: {error}; give a .json file that {self.written_by} "
                "wrote"
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.error(
                f"{name} is no JSON, or only a part of it: {error}; measure again, or copy it again"
            ) from None

    def read(self, path: Path) -> _Report:
        """The report in a file.

        Raises:
            QuadrigaClientError: `error`: the file cannot be read, or as `decode` says.
        """
        try:
            document = path.read_bytes()
        except OSError as error:
            raise self.error(f"the report {path} cannot be read: {error.strerror or error}") from None
        return self.decode(document, str(path))

    def encoded_schema(self) -> bytes:
        """The JSON Schema of such reports, of the draft 2020-12, as it is committed."""
        described = msgspec.json.schema(self.report)
        for definition in described["$defs"].values():
            if "description" in definition:  # a docstring, whose indentation is Python's own
                definition["description"] = cleandoc(definition["description"])
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:{self.schema.replace('/', ':').replace('.', ':')}",
            "title": self.title,
            **described,
        }
        return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


class _Envelope(msgspec.Struct):
    """What every version of a report has."""

    schema: str


def _encodable(value: Any) -> Any:  # noqa: ANN401
    """The value with "?" for what Python keeps of bytes that are no text, as a typed file name may have them."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value
