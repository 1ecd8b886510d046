"""A worker's share of the processors while it loads: less than that of the models that serve.

The server process puts it on a worker or a template that it starts, and these take it off themselves.

Importing a framework and warming up take whole cores for seconds. On Linux a process may make itself nicer at any time,
but take that back only where it is allowed to: by CAP_SYS_NICE, which root of a user namespace has in name only, or by
a limit, RLIMIT_NICE, of 20 or more (`ulimit -e 20`). Where it is not, the worker loads at the usual priority.
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
#: RLIMIT_NICE is that minus the least niceness that a process may give itself; see getrlimit(2).
_HIGHEST: Final = 20
#: RLIMIT_NICE that lets a process return to niceness 0.
NEEDED_LIMIT: Final = _HIGHEST
_CAP_SYS_NICE: Final = 23  # linux/capability.h
_TASKS: Final = Path("/proc/self/task")
#: Users inside and outside of the process's user namespace, and how many; see user_namespaces(7).
_UID_MAP: Final = Path("/proc/self/uid_map")
_INITIAL_NAMESPACE: Final = ["0", "0", "4294967295"]


def yield_at_once(pid: int) -> None:
    """Has a process that was just started let others run first until it leaves `yielding`, if that can be undone.

    To start Python and import what a worker is made of takes a quarter of a second of a core by itself.
    """
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    if _may_return_to(usual):
        _yield(pid)


@contextmanager
def yielding() -> Iterator[None]:
    """While the context lasts, lets others run first, if that can be undone; in threads that are started too.

    Afterwards this process is as nice as the one that started it.
    """
    usual = os.getpriority(os.PRIO_PROCESS, os.getppid())
    if not _may_return_to(usual):
        yield
        return
    _yield(os.getpid())
    try:
        yield
    finally:
        # Niceness belongs to threads, which inherit it: the frameworks' pools have been started meanwhile.
        for task in _TASKS.iterdir():
            # One that stays nice where the system has changed its mind is better than a model that is not there.
            with suppress(ProcessLookupError, PermissionError):
                os.setpriority(os.PRIO_PROCESS, int(task.name), usual)


def _yield(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, max(os.getpriority(os.PRIO_PROCESS, pid), NICENESS))


def _may_return_to(niceness: int) -> bool:
    if sys.platform != "linux":
        return False
    limit = resource.getrlimit(resource.RLIMIT_NICE)[0]
    if limit == resource.RLIM_INFINITY or limit >= _HIGHEST - niceness:
        return True
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> _CAP_SYS_NICE & 1) and _UID_MAP.read_text().split() == _INITIAL_NAMESPACE
