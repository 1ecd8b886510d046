"""Landlock: which files the calling thread, and all that it starts, may open from now on. Linux 5.13 or newer; workers.

The kernel's interface is three system calls without wrappers in libc (landlock(7)). A ruleset names kinds of access,
which are all refused but where a rule allows them beneath a folder or on a file. What is open already stays so. A
process under a ruleset may no longer trace others that are not, nor read their memory or environment. Looking at names,
sizes and permissions is no access that Landlock knows.
"""

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple

#: The same on every architecture.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION_FLAG: Final = 1
_RULE_PATH_BENEATH: Final = 1

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_FOLDER: Final = 1 << 3
_CHANGE_FOLDER: Final = sum(1 << bit for bit in range(4, 13))  # make and remove files, folders and all else
_REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEVICE: Final = 1 << 15
#: What a rule may allow on a file that is no folder.
_ON_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
#: Kinds of access to files that came with versions after the first.
_LATER: Final = {2: _REFER, 3: TRUNCATE, 5: IOCTL_DEVICE}
#: The version from which on files can also not be emptied.
COMPLETE: Final = 3
_SCOPES_SINCE: Final = 6
_SCOPE_ABSTRACT_SOCKETS: Final = 1 << 0
_SCOPE_SIGNALS: Final = 1 << 1

READ: Final = READ_FILE | READ_FOLDER
WRITE: Final = READ | WRITE_FILE | _CHANGE_FOLDER | _REFER | TRUNCATE


class Rule(NamedTuple):
    """What is allowed beneath a folder, or on a file."""

    path: str
    access: int


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("access", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def version() -> int:
    """The version of the kernel's Landlock; 0: it has none, or it is switched off."""
    if sys.platform != "linux":
        return 0
    found: int = _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    return max(found, 0)


def restrict(rules: Iterable[Rule]) -> None:
    """Refuses the calling thread every access to files but those that the rules allow; for good.

    Rules for what is not there are left out. Other threads stay as they are: call it while there is one.

    Raises:
        OSError: The kernel has no Landlock, or no-new-privileges is not set.
    """
    kernel = version()
    handled = EXECUTE | WRITE | READ
    for since, access in _LATER.items():
        handled = handled | access if kernel >= since else handled & ~access
    scoped = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if kernel >= _SCOPES_SINCE else 0
    attributes = _RulesetAttributes(handled, 0, scoped)
    # An older kernel refuses a structure that is longer than its own, unless the rest is zero.
    ruleset = _checked(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
    try:
        for rule in rules:
            _add(ruleset, rule, handled)
        _checked(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _add(ruleset: int, rule: Rule, handled: int) -> None:
    try:
        opened = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        folder = stat.S_ISDIR(os.fstat(opened).st_mode)
        access = rule.access & handled & (-1 if folder else _ON_FILES)
        if access:
            beneath = _PathBeneath(access, opened)
            _checked(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(opened)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(*arguments: object) -> int:
    result: int = _libc().syscall(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        hint = "; it is switched off" if number == errno.EOPNOTSUPP else ""
        raise OSError(number, f"landlock: {os.strerror(number)}{hint}")
    return result
