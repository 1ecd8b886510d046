"""Private folders, as for uploaded files: private, gone with their server, and no file of anybody else's is touched."""

import fcntl
import gc
import os
import tempfile
from pathlib import Path, PurePosixPath

import pytest

from quadriga.private_folders import UPLOADS, PrivateFolders, remove_abandoned, remove_folder, write_files


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_nothing_is_made_before_the_first_upload_and_nothing_left_after_the_last(folder: Path) -> None:
    uploads = PrivateFolders(UPLOADS)
    uploads.close()
    assert list(folder.iterdir()) == []
    first, second = uploads.new_folder(), uploads.new_folder()
    write_files(first, {PurePosixPath("1/model.savedmodel/variables/v"): b"a", PurePosixPath("1/x"): b"b"})
    assert (first / "1/model.savedmodel/variables/v").read_bytes() == b"a"
    assert (first / "1/x").read_bytes() == b"b"
    assert first.parent.stat().st_mode & 0o777 == 0o700
    remove_folder(first)
    assert (first.exists(), second.exists()) == (False, True)
    uploads.close()
    assert list(folder.iterdir()) == []


def test_what_a_killed_server_left_is_removed_and_what_another_one_uses_is_not(folder: Path) -> None:
    uploads = PrivateFolders(UPLOADS)
    used = uploads.new_folder()
    abandoned = folder / f"{UPLOADS}abandoned"
    write_files(abandoned, {PurePosixPath("lock"): b"", PurePosixPath("1/1/model.onnx"): b""})
    remove_abandoned(UPLOADS)
    assert (used.exists(), abandoned.exists()) == (True, False)
    uploads.close()


def test_a_folder_that_another_server_took_for_abandoned_is_made_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_file = fcntl.flock
    taken: list[Path] = []

    def flock(descriptor: int, operation: int) -> None:
        if not taken:  # the other server gets the lock first, and removes the folder
            taken.extend(folder.iterdir())
            for path in taken:
                remove_folder(path)
        lock_file(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    uploads = PrivateFolders(UPLOADS)
    made = uploads.new_folder()
    assert made.is_dir()
    assert made.parent not in taken
    uploads.close()
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_locked_is_not_left_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(37, "no locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="no locks"):
        PrivateFolders(UPLOADS).new_folder()
    assert list(folder.iterdir()) == []


def test_what_is_no_servers_folder_stays(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    write_files(elsewhere, {PurePosixPath("lock"): b"", PurePosixPath("precious"): b""})
    (folder / f"{UPLOADS}link").symlink_to(elsewhere)
    (folder / f"{UPLOADS}file").touch()
    (folder / f"{UPLOADS}new").mkdir()  # made a moment ago, and not locked yet
    odd = folder / f"{UPLOADS}odd"
    odd.mkdir()
    (odd / "lock").symlink_to(elsewhere / "lock")
    remove_abandoned(UPLOADS)
    assert len(list(folder.iterdir())) == 5
    assert (elsewhere / "precious").exists()


def test_a_look_at_what_is_left_keeps_no_descriptor_and_no_lock(folder: Path) -> None:
    locked = folder / f"{UPLOADS}locked"
    write_files(locked, {PurePosixPath("lock"): b""})
    with (locked / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        gc.collect()  # else what an earlier test left open is closed at any time
        before = os.listdir("/proc/self/fd")
        remove_abandoned(UPLOADS)
        assert os.listdir("/proc/self/fd") == before
    remove_abandoned(UPLOADS)
    assert not locked.exists()
