"""A seccomp filter: system calls that the calling process, and all that it starts, can no longer make. Linux; workers.

The filter is a program of the kernel's classic BPF that sees a call's number and its arguments in registers. It refuses
what reaches the network, other processes, or around such a filter (io_uring); all else goes on as before, at the cost
of some 30 comparisons, which the kernel spares itself for calls that no comparison of arguments concerns.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_PR_GET_SECCOMP: Final = 21  # linux/prctl.h
_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000  # and the error's number
# Instructions of classic BPF: load a word, jump if equal, jump if greater or equal, return.
_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
# Where the words lie that a filter sees, on machines whose least significant byte is the first.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST_ARGUMENT: Final = 16
#: Calls of x86-64's second interface, x32, begin here; no other architecture has numbers as high.
_X32: Final = 0x40000000


class Architecture(NamedTuple):
    """One that the filter knows: its name for the kernel, and which column of the tables below is its own."""

    audit: int
    column: int


ARCHITECTURES: Final = {"x86_64": Architecture(0xC000003E, 0), "aarch64": Architecture(0xC00000B7, 1)}

#: Numbers by architecture, in the order of `ARCHITECTURES`. Those that are refused whatever their arguments are.
_OTHER_PROCESSES: Final = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "kcmp": (312, 272),
}
_KERNEL: Final = {
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "open_by_handle_at": (304, 265),
    "setns": (308, 268),
    "unshare": (272, 97),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
#: Those whose first argument names the process that they are about: allowed for the caller's own.
_OWN_PROCESS_ONLY: Final = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "prlimit64": (302, 261),
}
_IO_URING_SETUP: Final = (425, 425)
_SOCKET: Final = (41, 198)


class Instruction(NamedTuple):
    """One of a filter: what to do, how far to jump where a comparison holds and where not, and its operand."""

    code: int
    operand: int
    jump_true: int = 0
    jump_false: int = 0


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def available() -> bool:
    """Whether there is a filter for this machine, and its kernel takes some."""
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        return False
    mode: int = ctypes.CDLL(None).prctl(_PR_GET_SECCOMP, 0, 0, 0, 0)
    return mode >= 0


def refuse(*, local_sockets: bool) -> None:
    """Refuses the calling thread, which has to be the only one, what the tables name; for good.

    Args:
        local_sockets: Whether sockets of this machine (AF_UNIX) can still be made; pairs of them always can.

    Raises:
        OSError: The kernel takes no filter, or no-new-privileges is not set.
    """
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise OSError(errno.ENOSYS, f"seccomp: there is no filter for {platform.machine()}")
    code = assemble(filter_of(architecture, os.getpid(), local_sockets=local_sockets))
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def filter_of(architecture: Architecture, pid: int, *, local_sockets: bool) -> list[Instruction]:
    """The program; pure."""
    column = architecture.column
    refused = [numbers[column] for table in (_OTHER_PROCESSES, _KERNEL) for numbers in table.values()]
    program = [
        Instruction(_LOAD, _ARCHITECTURE),
        Instruction(_JUMP_EQUAL, architecture.audit, 1, 0),
        Instruction(_RETURN, _REFUSE | errno.EPERM),  # such as 32-bit programs, whose numbers mean other calls
        Instruction(_LOAD, _NUMBER),
        *_refuse_if(_JUMP_AT_LEAST, _X32, errno.EPERM),
        *_refuse_if(_JUMP_EQUAL, _IO_URING_SETUP[column], errno.ENOSYS),
    ]
    for number in refused:
        program += _refuse_if(_JUMP_EQUAL, number, errno.EPERM)
    for name, numbers in _OWN_PROCESS_ONLY.items():
        own = (pid, 0) if name == "prlimit64" else (pid,)  # 0 is the caller there, and all of its group elsewhere
        program += _refuse_unless(numbers[column], own, errno.EPERM)
    program += _refuse_unless(_SOCKET[column], (socket.AF_UNIX,) if local_sockets else (), errno.EACCES)
    return [*program, Instruction(_RETURN, _ALLOW)]


def assemble(program: Sequence[Instruction]) -> bytes:
    """The program as the kernel takes it."""
    return b"".join(struct.pack("=HBBI", step.code, step.jump_true, step.jump_false, step.operand) for step in program)


def _refuse_if(comparison: int, operand: int, error: int) -> Iterator[Instruction]:
    """Refuses a call whose number, which is loaded, compares so."""
    yield Instruction(comparison, operand, 0, 1)
    yield Instruction(_RETURN, _REFUSE | error)


def _refuse_unless(number: int, allowed: Sequence[int], error: int) -> Iterator[Instruction]:
    """Refuses a call of a number unless its first argument is one of those."""
    yield Instruction(_JUMP_EQUAL, number, 0, len(allowed) + 3)
    yield Instruction(_LOAD, _FIRST_ARGUMENT)
    for place, value in enumerate(allowed):
        yield Instruction(_JUMP_EQUAL, value, len(allowed) - place, 0)
    yield Instruction(_RETURN, _REFUSE | error)
    yield Instruction(_RETURN, _ALLOW)
