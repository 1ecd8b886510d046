"""Writing reports: the format by the file's name, whole files or none, and refusals before a long run."""

import os
from pathlib import Path

import pytest
from load_reports import full_report, report, silent_row

from quadriga_client.load.errors import LoadError
from quadriga_client.load.formats import check_path, write
from quadriga_client.load.formats.json import read


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("load.json", "{\n"),
        ("load.csv", "model,version,mode,"),
        ("load.perf_analyzer.csv", "Request Rate,Inferences/Second,"),
        ("load.md", "# Load test of"),
        ("load.html", "<!DOCTYPE html>"),
        ("LOAD.2.HTML", "<!DOCTYPE html>"),
    ],
)
def test_name_asks_for_the_format(tmp_path: Path, name: str, begins: str) -> None:
    write(full_report(), tmp_path / name)
    assert (tmp_path / name).read_text().startswith(begins)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "load.json"
    write(report(error="first"), path)
    first = path.stat().st_ino
    write(report(error="second"), path)
    assert read(path).error == "second"
    assert path.stat().st_ino != first


@pytest.mark.parametrize("name", ["load", "load.txt", "load.json.gz", ".json", ".html"])
def test_unknown_format_is_refused_with_those_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(LoadError, match=r"no format.*\.json.*\.perf_analyzer\.csv.*\.csv.*\.md.*\.html"):
        check_path(tmp_path / name)
    with pytest.raises(LoadError, match="no format"):
        write(report(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"there is no folder .*nowhere"):
        check_path(tmp_path / "nowhere" / "load.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(LoadError, match="there is no folder"):
        check_path(tmp_path / "file" / "load.json")


def test_folder_as_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "load.json").mkdir()
    with pytest.raises(LoadError, match=r"load.json is a folder"):
        check_path(tmp_path / "load.json")


def test_folder_that_allows_no_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(LoadError, match="allows no new files"):
        check_path(tmp_path / "load.json")


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    for name in (f"{'n' * 250}.json", f"{'n' * 300}.json", f"{'n' * 300}/load.json"):
        with pytest.raises(LoadError, match="cannot be written: File name too long; name another"):
            check_path(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(self: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(LoadError, match=r"load.json cannot be written: Read-only file system"):
        check_path(tmp_path / "load.json")


def test_looking_leaves_nothing(tmp_path: Path) -> None:
    check_path(tmp_path / "load.json")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "load.json"
    write(report(error="old"), path)

    def fill(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", fill)
        with pytest.raises(LoadError, match=r"load.json: No space left on device"):
            write(report(error="new"), path)
    assert read(path).error == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["load.json"]


@pytest.mark.parametrize("suffix", [".json", ".csv", ".perf_analyzer.csv", ".md", ".html"])
def test_bytes_that_are_no_text_do_not_cost_the_report(tmp_path: Path, suffix: str) -> None:
    typed = os.fsdecode(b"load \xff.npz")
    path = tmp_path / f"load{suffix}"
    write(report([silent_row(notes=(typed,))], command=typed, settings={typed: typed}), path)
    assert path.read_text()
    if suffix == ".json":
        assert read(path).command == "load ?.npz"


def test_relative_name_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(report(), Path("load.md"))
    assert (tmp_path / "load.md").exists()
