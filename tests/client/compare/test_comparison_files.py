"""A comparison's files: JSON and back, CSV, Markdown and the page."""

import csv
import io
from dataclasses import replace
from json import loads
from pathlib import Path

import jsonschema
import pytest
from comparisons import blocks, comparison, made_level
from load_reports import NASTY_NAMES

from quadriga_client.compare.changes import changes
from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.errors import CompareError
from quadriga_client.compare.formats import NAMES, json, prepare, write
from quadriga_client.compare.formats import REPORT as REPORT_NAME
from quadriga_client.compare.formats.csv import blocks_csv
from quadriga_client.compare.formats.figures import html
from quadriga_client.compare.formats.sections import lead, sections, title
from quadriga_client.compare.likeness import Agreement
from quadriga_client.compare.verdict import level
from quadriga_client.load.formats.markdown import document_markdown

SCHEMA_FILE = Path(__file__).parents[3] / "client/quadriga_client/compare/formats/comparison.schema.json"
REPORT = comparison({"a": 100.0, "b": 200.0})
DIFFERENT = Agreement(contestant="b", agrees=False, top1=0.5, problems=("b's 'y' differs from a's 'x' by up to 0.31",))


def markdown(report: Comparison) -> str:
    return document_markdown(title(report), sections(report), lead=lead(report))


def page(report: Comparison) -> str:
    return html(report, title(report), lead(report), sections(report))


def test_a_report_is_read_back_as_it_was(tmp_path: Path) -> None:
    report = replace(REPORT, changes=changes(REPORT, REPORT, against="old.json", tolerated=0.05))
    write(report, tmp_path)
    assert json.read(tmp_path / "comparison.json") == report
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "is no JSON, or only a part of it"),
        (b"\xff{}", "is no JSON, or only a part of it"),
        (b"[]", "is not a comparison's report, or was changed by hand"),
        (b"{}", "is not a comparison's report, or was changed by hand"),
        (b'{"schema": "quadriga.load/1"}', r"has the schema 'quadriga.load/1', and .* reads 'quadriga.compare/1'"),
        (b'{"schema": "quadriga.compare/1"}', "is not a comparison's report, or was changed by hand"),
        (json.encode(REPORT)[:-100], "is no JSON, or only a part of it"),
        (json.encode(REPORT).replace(b'"seed": 0', b'"seed": "x"'), "or was changed by hand"),
    ],
)
def test_what_is_no_report_is_refused(document: bytes, said: str) -> None:
    with pytest.raises(CompareError, match=said):
        json.decode(document, "old.json")


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(loads(json.encoded_schema()))


def test_the_committed_schema_is_current() -> None:
    assert SCHEMA_FILE.read_bytes() == json.encoded_schema(), (
        f"run `python -m quadriga_client.compare.formats.json > {SCHEMA_FILE.relative_to(Path.cwd())}`"
    )


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(replace(REPORT, changes=changes(REPORT, REPORT, against="old.json", tolerated=0.05)), id="full"),
        pytest.param(replace(REPORT, levels=(), interrupted=True, error="gone"), id="nothing timed"),
        pytest.param(replace(REPORT, agreements=(DIFFERENT,), allowed_different=True), id="different"),
        pytest.param(comparison(dict.fromkeys(NASTY_NAMES, 100.0)), id="nasty names"),
    ],
)
def test_a_report_is_valid_by_its_schema(report: Comparison) -> None:
    validator().validate(loads(json.encode(report)))


def test_the_schema_refuses_what_is_no_report() -> None:
    validator().check_schema(loads(json.encoded_schema()))
    document = loads(json.encode(REPORT))
    assert not validator().is_valid({**document, "levels": "none"})
    assert not validator().is_valid({**document, "schema": "quadriga.compare/2"})


def test_a_typed_name_that_is_no_text_loses_no_report(tmp_path: Path) -> None:
    report = comparison({"a\udcff": 1.0, "b": 2.0})
    write(report, tmp_path)
    assert json.read(tmp_path / "comparison.json").contestants[0].name == "a?"


def test_fields_of_later_versions_are_passed_over() -> None:
    assert json.decode(json.encode(REPORT).replace(b'"seed": 0', b'"seed": 0, "later": {}')) == REPORT


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match=r"old\.json cannot be read: No such file"):
        json.read(tmp_path / "old.json")


def test_a_folder_is_made_and_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    prepare(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(CompareError, match="cannot be made: File exists"):
        prepare(tmp_path / "file")


def test_a_report_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / NAMES[0]).mkdir()
    with pytest.raises(CompareError, match=r"cannot be written to .*comparison\.json: "):
        write(REPORT, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[0]]


def test_the_json_is_written_whatever_becomes_of_the_pages(tmp_path: Path) -> None:
    (tmp_path / "comparison.csv").mkdir()
    with pytest.raises(CompareError, match=r"cannot be written to .*comparison\.csv: "):
        write(REPORT, tmp_path)
    assert json.read(tmp_path / REPORT_NAME) == REPORT


def test_figures_of_0_can_be_drawn(tmp_path: Path) -> None:
    made = [
        replace(each, throughput=0.0, p50_ms=None, p99_ms=None, latencies="") for each in blocks({"a": 1.0, "b": 1.0})
    ]
    write(comparison({"a": 1.0, "b": 1.0}, levels=[level(["a", "b"], 8, made, 0)]), tmp_path)
    assert "0 (0–0)" in markdown(json.read(tmp_path / REPORT_NAME))  # noqa: RUF001


def test_csv_has_a_line_for_each_block() -> None:
    lines = list(csv.DictReader(io.StringIO(blocks_csv(REPORT))))
    (level,) = REPORT.levels
    assert [(line["contestant"], float(line["throughput"])) for line in lines] == [
        (block.contestant, block.throughput) for block in level.blocks
    ]
    assert (lines[0]["concurrency"], lines[0]["saturated"], lines[0]["errors"]) == ("8", "false", "")


def test_the_verdicts_and_figures_are_in_the_markdown() -> None:
    text = markdown(REPORT)
    assert "# Comparison of a, b" in text
    assert f"requests/s: {REPORT.levels[0].verdicts[0].sentence}" in text
    assert "Medians over 10 rounds" in text
    assert "97.49%" in text
    assert "Made Up 1" in text


def test_contestants_that_differ_are_marked_on_every_report() -> None:
    report = replace(REPORT, agreements=(DIFFERENT,), allowed_different=True)
    for text in (markdown(report), page(report)):
        assert "--allow-different: b and a do not answer alike" in text
        assert "by up to 0.31" in text


def test_failures_and_early_ends_are_said() -> None:
    (level,) = REPORT.levels
    failed = replace(level, standings=(replace(level.standings[0], errors={"INTERNAL": 7}), level.standings[1]))
    text = markdown(replace(REPORT, levels=(failed,), interrupted=True, error="the server went away"))
    assert "7 requests of a failed, so it cannot win" in text
    assert "interrupted" in text
    assert "the server went away" in text


def test_what_is_not_known_is_called_so() -> None:
    contestants = tuple(
        replace(each, load_ms=None, memory_bytes=None, file_bytes=None, accuracy=None) for each in REPORT.contestants
    )
    assert markdown(replace(REPORT, contestants=contestants)).count("unknown") == 8


def test_what_is_missing_is_in_the_report() -> None:
    (level,) = REPORT.levels
    standing = replace(level.standings[1], p99_ms=None)
    new = replace(REPORT, levels=(replace(level, standings=(level.standings[0], standing)),))
    text = markdown(replace(new, changes=changes(REPORT, new, against="old.json", tolerated=0.05)))
    assert "Not comparable any more" in text
    assert "b with 8 callers: p99 ms" in text
    assert "too few requests" in text


def test_how_far_verdicts_and_cores_can_be_trusted_is_said() -> None:
    text = markdown(REPORT)
    assert "Each of the 4 verdicts stands for itself" in text
    assert "not corrected for multiple comparisons" in text
    assert "Nothing is pinned to cores" in text


@pytest.mark.parametrize(
    ("numbers", "said"), [((0, 1, 2, 3, 6), "0-3,6"), ((5,), "5"), ((0, 2), "0,2"), ((), "unknown")]
)
def test_the_cores_of_the_generators_are_in_the_report(numbers: tuple[int, ...], said: str) -> None:
    line = next(
        line
        for line in markdown(replace(REPORT, generator_cores=numbers)).splitlines()
        if "cores that the generators may use" in line
    )
    assert said in line


def test_a_problem_is_told_once() -> None:
    assert markdown(replace(REPORT, agreements=(DIFFERENT, DIFFERENT), allowed_different=True)).count("0.31") == 1


def test_changes_are_in_the_report() -> None:
    new = comparison({"a": 100.0, "b": 120.0})
    text = markdown(replace(new, changes=changes(REPORT, new, against="old.json", tolerated=0.05)))
    assert "4 figures are worse than in old.json" in text


def test_the_page_has_plots_of_each_level_and_the_report_itself() -> None:
    levels = [made_level({"a": 100.0, "b": 200.0}, concurrency) for concurrency in (1, 8)]
    text = page(comparison({"a": 100.0, "b": 200.0}, levels=levels))
    assert text.count("<svg") == 2 * 5
    assert 'id="report"' in text
    assert '"schema": "quadriga.compare/1"' in text


def test_a_report_without_a_complete_round_has_pages_too() -> None:
    for levels in ([], [made_level({"a": 100.0, "b": 200.0}, rounds=0)]):
        report = comparison({"a": 100.0, "b": 200.0}, levels=levels, interrupted=True)
        assert page(report)
        assert markdown(report)


def test_names_are_never_taken_for_markup() -> None:
    report = comparison(dict.fromkeys(NASTY_NAMES, 100.0))
    text = page(report)
    assert text.count("<script") == 1
    assert "<b>bold" not in text
    assert "<b>bold" not in markdown(report)
