"""A worker's share of the processors while it loads: less than that of the models that serve. Runs in workers.

It is put on a process by whoever starts it, and taken off by the process itself.

Importing a framework and warming up take whole cores for seconds. On Linux a process may make itself nicer at any time,
but take that back only where it is allowed to: by CAP_SYS_NICE, or by a limit, RLIMIT_NICE, of 20 or more (`ulimit -e
20`). Where it is not, the worker loads at the usual priority.
"""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

#: A tenth of the weight of a process of the usual niceness, 0.
NICENESS: Final = 10
#: RLIMIT_NICE that lets a process return to niceness 0; see getrlimit(2).
NEEDED_LIMIT: Final = 20
_CAP_SYS_NICE: Final = 23  # linux/capability.h
_TASKS: Final = Path("/proc/self/task")


def yield_at_once(pid: int) -> None:
    """Has a process that was just started let others run first until it leaves `yielding`, if that can be undone.

    To start Python and import what a worker is made of takes a quarter of a second of a core by itself.
    """
    if _may_return():
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, pid, max(os.getpriority(os.PRIO_PROCESS, pid), NICENESS))


@contextmanager
def yielding() -> Iterator[None]:
    """While the context lasts, lets others run first, if that can be undone; in threads that are started too.

    Afterwards this process is as nice as the one that started it.
    """
    if not _may_return():
        yield
        return
    usual = os.getpriority(os.PRIO_PROCESS, os.getppid())
    yield_at_once(os.getpid())
    try:
        yield
    finally:
        # Niceness belongs to threads, which inherit it: the frameworks' pools have been started meanwhile.
        for task in _TASKS.iterdir():
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, int(task.name), usual)


def _may_return() -> bool:
    if sys.platform != "linux":
        return False
    if resource.getrlimit(resource.RLIMIT_NICE)[0] >= NEEDED_LIMIT:
        return True
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> _CAP_SYS_NICE & 1)
