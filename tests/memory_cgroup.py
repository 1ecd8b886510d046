"""Processes that the kernel gives little memory, and kills when they take more: control groups, of either version.

Who is moved into one keeps what it has, and counts for what it takes from then on. Needs a root that may make groups.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from running_server import wait_for

ROOT = Path("/sys/fs/cgroup")
REMOVAL_SECONDS = 10.0


class Kind(NamedTuple):
    """What the files of a group are called.

    Attributes:
        limits: Those that take the most bytes: of memory, and of swap, which not every system has.
        events: The one in which a line "oom_kill N" counts the processes that were killed.
    """

    limits: tuple[str, str]
    events: str


V1 = Kind(("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), "memory.oom_control")
V2 = Kind(("memory.max", "memory.swap.max"), "memory.events")


class MemoryGroup:
    """One such group, which is empty at first."""

    def __init__(self, folder: Path, home: Path, kind: Kind, limit: int) -> None:
        """Makes it, for so many bytes.

        Args:
            folder: Of the group.
            home: Of the group to which its processes go in the end.
            kind: Of both.
            limit: In bytes.

        Raises:
            OSError: That may not be done here.
        """
        self._folder = folder
        self._home = home
        self._kind = kind
        folder.mkdir()
        try:
            memory, swap = kind.limits
            write(folder / memory, limit)
            with contextlib.suppress(OSError):
                write(folder / swap, limit if kind is V1 else 0)  # V1 limits the sum of both
        except OSError:
            folder.rmdir()
            raise

    def add(self, pid: int) -> None:
        """Moves a process into it; one that has ended is left alone."""
        with contextlib.suppress(ProcessLookupError):
            write(self._folder / "cgroup.procs", pid)

    @property
    def killed(self) -> int:
        """How many processes of it the kernel has killed for memory."""
        lines = (self._folder / self._kind.events).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self) -> None:
        """Its processes, if there are any, go back to where they came from."""
        wait_for(self._removed, f"{self._folder} to be empty", REMOVAL_SECONDS)

    def _removed(self) -> bool:
        for pid in (self._folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                write(self._home / "cgroup.procs", int(pid))
        with contextlib.suppress(OSError):  # one that is about to end cannot be moved any more
            self._folder.rmdir()
        return not self._folder.exists()


def write(file: Path, number: int) -> None:
    """Writes to a file of the kernel's; unlike an ordinary way to write, this one makes none where it is missing."""
    with file.open("r+") as opened:
        opened.write(str(number))


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup | None]:
    """A group whose processes may take so many further bytes, all of them together; None where none can be made."""
    group = None
    with contextlib.suppress(OSError, StopIteration):
        parent, home, kind = place()
        group = MemoryGroup(parent / f"quadriga-tests-{os.getpid()}", home, kind, limit)
    try:
        yield group
    finally:
        if group is not None:
            group.remove()


def place() -> tuple[Path, Path, Kind]:
    """The nearest group that may have others with a limit of memory in it, the one of this process, and their kind.

    Raises:
        OSError: There are no groups.
        StopIteration: None of them may.
    """
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    for _, controllers, path in lines:
        if "memory" in controllers.split(","):
            home = ROOT / "memory" / path.lstrip("/")
            return home, home, V1
    home = next(ROOT / path.lstrip("/") for _, controllers, path in lines if not controllers)
    above = (folder for folder in (home, *home.parents) if folder.is_relative_to(ROOT))
    return next(folder for folder in above if "memory" in _controlled(folder)), home, V2


def _controlled(folder: Path) -> list[str]:
    """By which controllers the groups in a group of V2 are limited."""
    return (folder / "cgroup.subtree_control").read_text().split()
