"""A load test's report as JSON: it comes back as it was, its schema describes it, and damage is named."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from load_reports import NASTY_NAMES, full_report, report, request, row, silent_row

from quadriga_client.load.errors import LoadError
from quadriga_client.load.formats.json import decode, encode, encoded_schema, read
from quadriga_client.load.report import Report

SCHEMA_FILE = Path(__file__).parents[3] / "client/quadriga_client/load/formats/report.schema.json"

REPORTS = [
    pytest.param(full_report(), id="full"),
    pytest.param(report(), id="nothing measured"),
    pytest.param(report([silent_row()], interrupted=True, error="the server went away"), id="no answers"),
    pytest.param(report([row()], request=request(model="".join(NASTY_NAMES))), id="nasty names"),
]


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(encode(report([row()]))), **changes}).encode()


@pytest.mark.parametrize("measured", REPORTS)
def test_report_comes_back_as_it_was(measured: Report) -> None:
    assert decode(encode(measured)) == measured


def test_equal_reports_are_equal_files_in_the_order_of_the_fields() -> None:
    assert encode(full_report()) == encode(full_report())
    assert list(json.loads(encode(full_report())))[:3] == ["schema", "quadriga", "created"]
    assert b'\n  "schema": "quadriga.load/1",\n' in encode(full_report())


@pytest.mark.parametrize("measured", REPORTS)
def test_report_is_valid_by_its_schema(measured: Report) -> None:
    jsonschema.Draft202012Validator(json.loads(encoded_schema())).validate(json.loads(encode(measured)))


def test_schema_refuses_what_is_no_report() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(encoded_schema()))
    validator.check_schema(json.loads(encoded_schema()))
    assert not validator.is_valid(json.loads(changed(rows="none")))
    assert not validator.is_valid(json.loads(changed(schema="quadriga.load/2")))


def test_committed_schema_is_current() -> None:
    assert SCHEMA_FILE.read_bytes() == encoded_schema(), (
        f"run `python -m quadriga_client.load.formats.json > {SCHEMA_FILE.relative_to(Path.cwd())}`"
    )


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert decode(changed(colour="blue")) == report([row()])


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (changed(schema="quadriga.load/7"), "'quadriga.load/7'.*'quadriga.load/1'.*another version"),
        (changed(rows=[{"mode": "closed"}]), r"not a load test's report.*`\$.rows\[0\]`"),
        (changed(connections="four"), r"`int`, got `str`.*`\$.connections`"),
        (b'{"schema": 1}', r"`\$.schema`"),
        (b'{"tool": "other"}', "`schema`"),
        (b"[1, 2]", "`array`"),
        (b"", "no JSON, or only a part"),
        (encode(full_report())[:1000], "no JSON, or only a part"),
        (b"\xff\xfe{}", "no JSON, or only a part"),
    ],
)
def test_damage_is_named(document: bytes, said: str) -> None:
    with pytest.raises(LoadError, match=said) as raised:
        decode(document, "old.json")
    assert str(raised.value).startswith("old.json ")


def test_file_is_named_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"missing.json cannot be read: No such file"):
        read(tmp_path / "missing.json")
    (tmp_path / "foreign.json").write_text("{}")
    with pytest.raises(LoadError, match=r"foreign.json is not a load test's report"):
        read(tmp_path / "foreign.json")
    (tmp_path / "whole.json").write_bytes(encode(full_report()))
    assert read(tmp_path / "whole.json") == full_report()
