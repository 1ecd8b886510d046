"""What `quadriga compare` takes, and what it refuses before any server is asked."""

import importlib
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from comparisons import comparison

from quadriga.cli import main
from quadriga.commands.compare import status_of
from quadriga.commands.compare_plan import parse_metrics, parse_share
from quadriga_client.compare.changes import changes
from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.contest import Observer
from quadriga_client.compare.errors import Disagreement, WrongOption
from quadriga_client.compare.formats import json
from quadriga_client.compare.likeness import Agreement
from quadriga_client.compare.options import CompareOptions
from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import Interval

#: The module; the package has the command under the same name.
compare = importlib.import_module("quadriga.commands.compare")
OLD = comparison({"a": 100.0, "b": 200.0})


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments])


def written(folder: Path, name: str, throughput: float) -> str:
    path = folder / name
    path.write_bytes(json.encode(comparison({"a": 100.0, "b": throughput})))
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "at least two models, got 0"),
        (("a",), "at least two models, got 1"),
        (("a", "a"), "two contestants are named 'a'"),
        (("a", "b@nowhere"), "names no port"),
        (("a", "b", "--duration", "5"), "the shortest --duration is 6"),
        (("a", "b", "--duration", "0"), "Invalid value for '--duration'"),
        (("a", "b", "--concurrency", "8,8"), "a level is given twice: 8, 8"),
        (("a", "b", "--concurrency", "0.5"), "Invalid value for '--concurrency'"),
        (("a", "b", "--rows", "0"), "Invalid value for '--rows'"),
        (("a", "b", "--shape", "x"), "Invalid value for '--shape'"),
        (("a", "b", "--shape", "x:1", "--input", "x.npy"), "--input says the shapes"),
        (("a", "b", "--atol", "-1"), "Invalid value for '--atol'"),
        (("a", "b", "--processes", "5"), "each of the 5 processes needs a connection, got 4"),
        (("a", "b", "--metrics", "elsewhere:1=elsewhere:2"), "elsewhere:1, where no contestant is"),
        (("a", "b", "--metrics", "one:1", "--metrics", "two:2"), "--metrics is given twice for"),
        (("a", "b", "--worse-than", "much"), "'much' is no share"),
        (("a", "b", "--worse-than", "5%"), "--worse-than says by how much a figure may be worse"),
        *(
            (("a", "b", option, value), f"Invalid value for '{option}'")
            for option in ("--duration", "--atol", "--rtol")
            for value in ("nan", "inf", "-inf", "x")
        ),
        (("--report", "new.json"), "--report is compared with --against FILE"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, said in result.output) == (2, True), result.output


def test_an_older_report_that_is_none_is_told_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    result = run("a", "b", "--against", str(tmp_path / "old.json"))
    assert (result.exit_code, "is not a comparison's report" in result.output) == (1, True), result.output


@pytest.mark.parametrize("spelling", ["{}/out", "{}/out/", "{}/out/../out", "{}/link"])
def test_an_older_report_is_not_written_over(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    old = written(tmp_path / "out", "comparison.json", 200.0)
    result = run("a", "b", "--output", spelling.format(tmp_path), "--against", old)
    assert (result.exit_code, "would write over" in result.output) == (2, True), result.output


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    result = run("a", "b", "--output", str(tmp_path / "out"))
    assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output


@pytest.mark.parametrize(
    ("throughput", "worse_than", "status"), [(120.0, "5%", 4), (120.0, "0.95", 0), (200.0, "5%", 0), (300.0, "0%", 0)]
)
def test_two_reports_are_compared_with_an_exit_status(
    tmp_path: Path, throughput: float, worse_than: str, status: int
) -> None:
    old, new = written(tmp_path, "old.json", 200.0), written(tmp_path, "new.json", throughput)
    result = run("--report", new, "--against", old, "--worse-than", worse_than)
    assert result.exit_code == status, result.output
    assert " figures are worse by more than " in result.output


def test_reports_with_nothing_in_common_are_told(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_bytes(json.encode(comparison({"x": 1.0, "y": 2.0})))
    result = run("--report", str(other), "--against", written(tmp_path, "old.json", 200.0))
    assert result.exit_code == 1
    assert "the older report is of a, b, and this one of x, y" in result.output


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("0", 0.0), ("0%", 0.0)])
def test_shares_are_read(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "-1%", "100%", "1", "nan", "x"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(LoadError, match="is no share"):
        parse_share(text)


def test_metrics_pages_are_by_server() -> None:
    assert parse_metrics(["here:8000", "there:9001=http://there:9002/metrics"], "here:8001") == {
        "here:8001": "here:8000",
        "there:9001": "http://there:9002/metrics",
    }


def beside(new: Comparison) -> Comparison:
    return replace(new, changes=changes(OLD, new, against="old.json", tolerated=0.05))


def without_p99() -> Comparison:
    (level,) = OLD.levels
    return replace(
        OLD, levels=(replace(level, standings=(replace(level.standings[0], p99_ms=None), *level.standings[1:])),)
    )


def failed() -> Comparison:
    (level,) = OLD.levels
    standing = replace(level.standings[0], errors={"INTERNAL": 3})
    return replace(OLD, levels=(replace(level, standings=(standing, level.standings[1])),))


@pytest.mark.parametrize(
    ("report", "status"),
    [
        pytest.param(OLD, 0, id="compared"),
        pytest.param(beside(OLD), 0, id="the same again"),
        pytest.param(beside(comparison({"a": 100.0, "b": 120.0})), 4, id="worse"),
        pytest.param(beside(without_p99()), 1, id="a figure is missing"),
        pytest.param(beside(comparison({"a": 100.0, "c": 200.0})), 1, id="a model was dropped"),
        pytest.param(beside(comparison({"a": 100.0, "b": 200.0, "c": 1.0})), 0, id="a model is new"),
        pytest.param(failed(), 3, id="requests failed"),
        pytest.param(beside(failed()), 3, id="requests failed, beside an older report"),
        pytest.param(replace(OLD, error="gone"), 1, id="ended early"),
        pytest.param(replace(OLD, interrupted=True), 143, id="a signal"),
    ],
)
def test_the_exit_status_is_the_worst_that_happened(report: Comparison, status: int) -> None:
    assert status_of(report, 143) == status


@pytest.mark.parametrize(
    ("new", "status", "said"),
    [
        (without_p99(), 1, "not comparable any more: a with 8 callers: p99 ms"),
        (comparison({"a": 100.0, "c": 200.0}), 1, "b is only in the older report"),
        (failed(), 3, "requests failed: 3 of a"),
        (replace(OLD, error="gone"), 1, "new.json ended early: gone"),
        (replace(OLD, interrupted=True), 1, "new.json ended early: it was interrupted"),
    ],
)
def test_a_newer_report_that_failed_does_not_pass(tmp_path: Path, new: Comparison, status: int, said: str) -> None:
    (tmp_path / "new.json").write_bytes(json.encode(new))
    result = run("--report", str(tmp_path / "new.json"), "--against", written(tmp_path, "old.json", 200.0))
    assert (result.exit_code, said in result.output) == (status, True), result.output


def test_an_older_report_with_a_figure_of_0_is_compared_in_the_others(tmp_path: Path) -> None:
    (level,) = OLD.levels
    standing = replace(level.standings[0], throughput=Interval(value=0.0, low=0.0, high=0.0))
    old = replace(OLD, levels=(replace(level, standings=(standing, level.standings[1])),))
    (tmp_path / "old.json").write_bytes(json.encode(old))
    result = run("--report", written(tmp_path, "new.json", 200.0), "--against", str(tmp_path / "old.json"))
    assert result.exit_code == 0, result.output
    assert "0 of 7 figures are worse" in result.output


def test_the_documents_have_the_exit_statuses_that_the_help_has() -> None:
    text = (Path(__file__).parents[2] / "docs/compare.md").read_text()
    table = text.partition("## Exit status")[2].partition("##")[0]
    documented = [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    helped = [int(number) for number in re.findall(r"^    (\d+) ", run("--help").output, re.MULTILINE)]
    assert documented == helped == [0, 1, 2, 3, 4, 5, 130, 143]


class Differing:
    """`run_comparison` of two that differ."""

    def __init__(self, left: str) -> None:
        self._left = left

    def __call__(self, options: CompareOptions, observer: Observer, **fields: object) -> Comparison:
        """See `run_comparison`."""
        if self._left:
            observer.left(self._left)
        raise Disagreement([Agreement(contestant="b", agrees=False, problems=("b differs by 0.31",))])


@pytest.mark.parametrize(("left", "status"), [("", 5), ("b is not put back", 1)])
@pytest.mark.parametrize("quiet", [True, False])
def test_what_differs_is_told_once(monkeypatch: pytest.MonkeyPatch, left: str, status: int, quiet: bool) -> None:
    monkeypatch.setattr(compare, "connection", lambda target: nullcontext())
    monkeypatch.setattr(compare, "run_comparison", Differing(left))
    result = CliRunner().invoke(main, ["compare", "a", "b", *["--quiet"][: int(quiet)]])
    assert (result.exit_code, result.output.count("0.31")) == (status, 1), result.output
    assert "--allow-different" in result.stderr
    assert ("AGREES WITH a" in result.stdout) != quiet
    assert left in result.stderr


@pytest.mark.parametrize(
    ("report", "left", "status"),
    [(OLD, "", 0), (OLD, "b is not put back", 1), (replace(OLD, error="b died"), "", 1)],
)
def test_the_report_is_written_and_failures_are_on_stderr(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, report: Comparison, left: str, status: int
) -> None:
    def compared(options: CompareOptions, observer: Observer, **fields: object) -> Comparison:
        if left:
            observer.left(left)
        return report

    monkeypatch.setattr(compare, "connection", lambda target: nullcontext())
    monkeypatch.setattr(compare, "run_comparison", compared)
    result = CliRunner().invoke(main, ["compare", "a", "b", "--output", str(tmp_path)])
    said = report.error or left
    assert (result.exit_code, result.stderr) == (status, f"Error: {said}\n" if said else ""), result.output
    assert json.read(tmp_path / "comparison.json") == report


def test_an_option_that_does_not_fit_the_first_model_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(options: CompareOptions, observer: Observer, **fields: object) -> Comparison:
        raise WrongOption("--shape is for input 'y'")

    monkeypatch.setattr(compare, "connection", lambda target: nullcontext())
    monkeypatch.setattr(compare, "run_comparison", refuse)
    result = run("a", "b", "--shape", "y:3")
    assert (result.exit_code, "--shape is for input 'y'" in result.output) == (2, True), result.output
