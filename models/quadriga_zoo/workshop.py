"""The folder beside the models' places in which they are made, and its end. Runs in the `quadriga zoo` command.

    <repository>/.building-XXXXXXXX/     hidden from servers, and locked as long as its command lives

A command that is killed cannot clear up after itself. The kernel then gives its lock up, and the next command removes
what lies there.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

PREFIX: Final = ".building-"


@contextmanager
def workshop(repository: Path) -> Iterator[Path]:
    """A new folder in the repository's own file system, gone at the end; those that nobody uses any more go first."""
    repository.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _locked(repository):  # nobody else finds a folder that is made and not locked yet
            for folder in repository.glob(f"{PREFIX}*"):
                _remove_abandoned(folder)
            made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=repository)))
            stack.enter_context(_locked(made))
        yield made


def _remove_abandoned(folder: Path) -> None:
    with suppress(OSError), _locked(folder, wait=False):
        shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
