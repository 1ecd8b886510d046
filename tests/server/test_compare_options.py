"""What `quadriga compare` takes, and what it refuses before any server is asked."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from comparisons import comparison

from quadriga.cli import main
from quadriga.commands.compare import parse_metrics, parse_share, status_of
from quadriga_client.compare.changes import changes
from quadriga_client.compare.formats import json
from quadriga_client.load.errors import LoadError

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
        (("a", "a"), "is the same model as"),
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
        (("--report", "new.json"), "--report is compared with --against FILE"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, said in result.output) == (2, True), result.output


def test_an_older_report_that_is_none_is_told_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    result = run("a", "b", "--against", str(tmp_path / "old.json"))
    assert (result.exit_code, "is no comparison" in result.output) == (1, True), result.output


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


def test_the_exit_status_is_the_worst_that_happened() -> None:
    worse = comparison({"a": 100.0, "b": 120.0})
    regressed = comparison({"a": 100.0, "b": 120.0}, changes=changes(OLD, worse, against="old.json", tolerated=0.05))
    assert status_of(OLD) == 0
    assert status_of(regressed) == 4
    assert status_of(comparison({"a": 1.0, "b": 2.0}, error="gone")) == 1
    assert status_of(comparison({"a": 1.0, "b": 2.0}, interrupted=True)) == 130
