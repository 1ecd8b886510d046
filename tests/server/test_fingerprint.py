"""What changes on disk, and what is told of it."""

import os
from pathlib import Path

import pytest
from model_folders import given, only, put

from quadriga.fingerprint import fingerprint
from quadriga.repository import scan


class TestFingerprint:
    @pytest.fixture
    def repository(self, tmp_path: Path) -> Path:
        put(tmp_path / "m" / "1" / "model.savedmodel" / "saved_model.pb")
        put(tmp_path / "m" / "1" / "model.savedmodel" / "variables" / "variables.index")
        put(tmp_path / "m" / "labels.txt", "a")
        return tmp_path

    def test_it_stays_while_nothing_changes(self, repository: Path) -> None:
        before = fingerprint(only(repository))
        assert before
        assert fingerprint(only(repository)) == before

    def test_a_file_deep_down_that_is_written_changes_it(self, repository: Path) -> None:
        before = fingerprint(only(repository))
        index = repository / "m" / "1" / "model.savedmodel" / "variables" / "variables.index"
        os.utime(index, ns=(0, index.stat().st_mtime_ns + 1))
        assert fingerprint(only(repository)) != before

    def test_a_file_that_is_replaced_by_one_as_old_and_as_long_changes_it(self, repository: Path) -> None:
        before = fingerprint(only(repository))
        labels = repository / "m" / "labels.txt"
        kept = labels.stat()
        fresh = put(repository / "fresh", "b")
        os.utime(fresh, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        fresh.replace(labels)
        assert fingerprint(only(repository)) != before

    def test_files_and_folders_that_come_and_go_change_it(self, repository: Path) -> None:
        before = fingerprint(only(repository))
        (repository / "m" / "2").mkdir()
        with_folder = fingerprint(only(repository))
        put(repository / "m" / "model.toml", "")
        with_file = fingerprint(only(repository))
        (repository / "m" / "labels.txt").unlink()
        assert len({before, with_folder, with_file, fingerprint(only(repository))}) == 4

    def test_other_models_do_not_change_it(self, repository: Path) -> None:
        before = fingerprint(only(repository))
        put(repository / "other" / "1" / "model.onnx")
        assert fingerprint(scan([repository])[0]) == before

    def test_links_in_a_circle_and_to_nowhere_are_survived(self, repository: Path) -> None:
        (repository / "m" / "1" / "up").symlink_to(repository / "m")
        (repository / "m" / "1" / "nowhere").symlink_to(repository / "gone")
        assert len(fingerprint(only(repository))) < 20

    def test_of_a_given_folder_all_files_count(self, tmp_path: Path) -> None:
        put(tmp_path / "net.onnx")
        before = fingerprint(given(tmp_path))
        put(tmp_path / "labels.txt")
        assert fingerprint(given(tmp_path)) != before

    def test_of_a_single_file_only_the_file_counts(self, tmp_path: Path) -> None:
        path = put(tmp_path / "net.onnx")
        before = fingerprint(given(path))
        put(tmp_path / "beside.txt")
        assert fingerprint(given(path)) == before
        put(path, "longer than before")
        assert fingerprint(given(path)) != before
