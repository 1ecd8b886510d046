"""A process with all its descendants: what it costs."""

from typing import NamedTuple

import psutil


class Resident(NamedTuple):
    """Resident bytes of a process, and of its descendants together."""

    root: int
    rest: int


class ProcessTree:
    """A process and its descendants, as they are when asked."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def cpu_seconds(self) -> float:
        """User and system time of all of them."""
        times = [member.cpu_times() for member in self._members()]
        return sum(each.user + each.system for each in times)

    def resident(self) -> Resident:
        """Their resident bytes; shared memory counts at each that touched it."""
        root, *rest = [member.memory_info().rss for member in self._members()]
        return Resident(root, sum(rest))

    def _members(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]
