"""Private folders that last no longer than the server: of models that came with a load, of workers. Server process.

    <temporary folder>/quadriga-uploads-XXXXXXXX/     of one server; mode 700
        lock                                          locked as long as the server lives
        <number>/                                     one of its folders: <version>/<name> of what came with a load

A server that is killed cannot clear up after itself. The kernel then gives its lock up, and the next server that needs
such folders removes what lies there.
"""

import contextlib
import fcntl
import itertools
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

#: What the folders' names begin with: of files that came with a load, and of what confined workers write to.
UPLOADS: Final = "quadriga-uploads-"
WORKERS: Final = "quadriga-workers-"
_LOCK: Final = "lock"

log = logging.getLogger("quadriga.private_folders")


class PrivateFolders:
    """Those of one server, for one purpose. Methods run on the event loop's thread but for those that say otherwise."""

    def __init__(self, prefix: str) -> None:
        """Makes nothing before the first folder; `prefix` is what the name of the one that they lie in begins with."""
        self._prefix = prefix
        self._root: Path | None = None
        self._lock = -1
        self._numbers = itertools.count(1)

    def new_folder(self) -> Path:
        """One more folder.

        Raises:
            OSError: The machine is short of disk, inodes or descriptors.
        """
        while self._root is None:
            self._take_root()
        folder = self._root / str(next(self._numbers))
        folder.mkdir()
        return folder

    def _take_root(self) -> None:
        """Makes the server's folder; without effect where another server that starts took it for an abandoned one."""
        root = Path(tempfile.mkdtemp(prefix=self._prefix))
        lock = -1
        try:
            lock = os.open(root / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                self._root, self._lock = root, lock
                return
        except OSError:
            shutil.rmtree(root, ignore_errors=True)
            raise
        finally:
            if self._root is None and lock >= 0:
                os.close(lock)

    def close(self) -> None:
        """Removes them all; in a thread or, at the server's end, anywhere."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            os.close(self._lock)
            self._root = None


def write_files(folder: Path, files: Mapping[PurePosixPath, bytes]) -> None:
    """Writes files below a folder; runs in a thread.

    Raises:
        OSError: The machine is short of disk or inodes.
    """
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def remove_folder(folder: Path) -> None:
    """Removes one of the folders; runs in a thread."""
    shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(prefix: str) -> None:
    """Removes what servers of the same user left that were killed; for the start of a server."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            with _lock_of_abandoned(folder) as abandoned:
                if abandoned:
                    shutil.rmtree(folder)
                    log.info("removed %s, which a server that was killed had left", folder)
        except OSError as error:
            log.warning("%s cannot be removed: %s", folder, error.strerror)


@contextlib.contextmanager
def _lock_of_abandoned(folder: Path) -> Iterator[bool]:
    """Whether a folder is abandoned; its lock is held meanwhile, so that no server that starts takes it as its own."""
    found = folder.lstat()  # anybody may put anything there under that name
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        yield False
        return
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield False  # made a moment ago, and about to be locked
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)
