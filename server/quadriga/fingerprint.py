"""Whether a model on disk has changed since it was looked at. Server process."""

import stat
from collections.abc import Iterator
from pathlib import Path

from quadriga.model_files import ModelFiles

#: Path, inode, size in bytes and time of modification in ns of every file and folder; the last two are 0 for a folder.
Fingerprint = tuple[tuple[str, int, int, int], ...]


def fingerprint(model: ModelFiles) -> Fingerprint:
    """A value that changes whenever a file or folder of the model comes, goes or is written."""
    return tuple(sorted(_entries(model.file or model.directory)))


def _entries(root: Path) -> Iterator[tuple[str, int, int, int]]:
    pending, seen = [root], set()
    while pending:
        path = pending.pop()
        try:
            found = path.stat()
            is_folder = stat.S_ISDIR(found.st_mode)
            if is_folder and (found.st_dev, found.st_ino) not in seen:  # a link may lead back up
                seen.add((found.st_dev, found.st_ino))
                pending.extend(path.iterdir())
        except OSError:  # gone since it was listed, a dangling link, or not ours to read: as good as not there
            continue
        yield str(path), found.st_ino, 0 if is_folder else found.st_size, 0 if is_folder else found.st_mtime_ns
