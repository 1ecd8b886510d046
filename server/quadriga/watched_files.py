"""Files that may be replaced while the server runs, looked at no more than once a second. Server process."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 1.0

#: Inode, time of change and size; None where there is no file.
_Identity = tuple[int, int, int] | None


class WatchedFiles:
    """Says when one of some files has changed."""

    def __init__(self, paths: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        """Remembers the files as they are now; to be called before they are read, so that no change is missed."""
        self._paths = tuple(paths)
        self._clock = clock
        self._looked = clock()
        self._seen = self._identities()

    def changed(self) -> bool:
        """Whether one has changed since the last look that said so; false within a second of the last look."""
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        identities = self._identities()
        changed = identities != self._seen
        self._seen = identities
        return changed

    def _identities(self) -> tuple[_Identity, ...]:
        return tuple(map(_identity, self._paths))


def _identity(path: Path) -> _Identity:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
