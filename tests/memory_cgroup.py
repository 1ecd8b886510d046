"""Processes that the kernel gives little memory, and kills when they take more: control groups, of either version.

Who is moved into one keeps what it has, and counts for what it takes from then on. Needs a root that may make groups.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/sys/fs/cgroup")


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

    def __init__(self, folder: Path, kind: Kind, limit: int) -> None:
        """Makes it, for so many bytes.

        Raises:
            OSError: That may not be done here.
        """
        self._folder = folder
        self._kind = kind
        folder.mkdir()
        try:
            memory, swap = kind.limits
            (folder / memory).write_text(str(limit))
            with contextlib.suppress(OSError):
                (folder / swap).write_text(str(limit) if kind is V1 else "0")  # V1 limits the sum of both
        except OSError:
            folder.rmdir()
            raise

    def add(self, pid: int) -> None:
        """Moves a process into it; one that has ended is left alone."""
        with contextlib.suppress(ProcessLookupError):
            (self._folder / "cgroup.procs").write_text(str(pid))

    @property
    def killed(self) -> int:
        """How many processes of it the kernel has killed for memory."""
        lines = (self._folder / self._kind.events).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self) -> None:
        """Its processes, if there are any, go back to where they came from."""
        for pid in (self._folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (self._folder.parent / "cgroup.procs").write_text(pid)
        self._folder.rmdir()


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup | None]:
    """A group whose processes may take so many further bytes, all of them together; None where none can be made."""
    group = None
    with contextlib.suppress(OSError, StopIteration):
        folder, kind = place()
        group = MemoryGroup(folder / f"quadriga-tests-{os.getpid()}", kind, limit)
    try:
        yield group
    finally:
        if group is not None:
            group.remove()


def place() -> tuple[Path, Kind]:
    """The group of this process, which may have others in it.

    Raises:
        StopIteration: It has no memory controller.
    """
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    for _, controllers, path in lines:
        if "memory" in controllers.split(","):
            return ROOT / "memory" / path.lstrip("/"), V1
    return next((ROOT / path.lstrip("/"), V2) for _, controllers, path in lines if not controllers)
