"""A seccomp filter: system calls that the calling process, and all that it starts, can no longer make. Linux; workers.

The filter is a program of the kernel's classic BPF that sees a call's number and its arguments in registers. It refuses
what reaches the network, other processes, or around such a filter (io_uring); all else goes on as before, at the cost
of some 50 comparisons, which the kernel spares itself for calls that no comparison of arguments concerns.
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
# Instructions of classic BPF: load a word, keep some of its bits, jump if equal, jump if greater or equal, return.
_LOAD: Final = 0x20
_AND: Final = 0x54
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
# Where the words lie that a filter sees, on machines whose least significant byte is the first.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST_ARGUMENT: Final = 16
_PER_ARGUMENT: Final = 8
_ALL_BITS: Final = 0xFFFFFFFF
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
#: Memory, queues and locks by number (System V's), which all programs of a user share.
_SHARED_BY_NUMBER: Final = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
}
#: Landlock sees no program that lies in memory alone.
_PROGRAMS: Final = {"execve": (59, 221), "execveat": (322, 281)}
#: Those by which a descriptor's signals can be sent to another process: what their second argument must not be.
_SIGNAL_SETTINGS: Final = {
    "fcntl": ((72, 25), (8, 10, 15)),  # F_SETOWN, F_SETSIG, F_SETOWN_EX of fcntl.h
    "ioctl": ((16, 29), (0x8901, 0x8902)),  # FIOSETOWN, SIOCSPGRP of sockios.h
}
_IO_URING_SETUP: Final = (425, 425)
#: Its flags lie in memory, where no filter looks; the C library then takes `clone`.
_CLONE3: Final = (435, 435)
_CLONE: Final = (56, 220)
#: CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of sched.h.
_NAMESPACES: Final = (
    0x00000080 | 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
)
_SOCKET: Final = (41, 198)
_SOCKETPAIR: Final = (53, 199)
_SOCKET_TYPES: Final = 0xF


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


def refuse(*, local_sockets: bool, programs: bool) -> None:
    """Refuses the calling thread, which has to be the only one, what the tables name; for good.

    Args:
        local_sockets: Whether sockets of this machine (AF_UNIX) can still be made; connected pairs of them always can.
        programs: Whether programs can still be started.

    Raises:
        OSError: The kernel takes no filter, or no-new-privileges is not set.
    """
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise OSError(errno.ENOSYS, f"seccomp: there is no filter for {platform.machine()}")
    code = assemble(filter_of(architecture, os.getpid(), local_sockets=local_sockets, programs=programs))
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def filter_of(architecture: Architecture, pid: int, *, local_sockets: bool, programs: bool) -> list[Instruction]:
    """The program; pure."""
    column = architecture.column
    tables = (_OTHER_PROCESSES, _KERNEL, _SHARED_BY_NUMBER, *(() if programs else (_PROGRAMS,)))
    refused = [numbers[column] for table in tables for numbers in table.values()]
    program = [
        Instruction(_LOAD, _ARCHITECTURE),
        Instruction(_JUMP_EQUAL, architecture.audit, 1, 0),
        Instruction(_RETURN, _REFUSE | errno.EPERM),  # such as 32-bit programs, whose numbers mean other calls
        Instruction(_LOAD, _NUMBER),
        *_refuse_if(_JUMP_AT_LEAST, _X32, errno.EPERM),
        *_refuse_if(_JUMP_EQUAL, _IO_URING_SETUP[column], errno.ENOSYS),
        *_refuse_if(_JUMP_EQUAL, _CLONE3[column], errno.ENOSYS),
    ]
    for number in refused:
        program += _refuse_if(_JUMP_EQUAL, number, errno.EPERM)
    for name, numbers in _OWN_PROCESS_ONLY.items():
        own = (pid, 0) if name == "prlimit64" else (pid,)  # 0 is the caller there, and all of its group elsewhere
        program += _by_argument(numbers[column], 0, passes=own, error=errno.EPERM)
    for numbers, settings in _SIGNAL_SETTINGS.values():
        program += _by_argument(numbers[column], 1, refused=settings, error=errno.EPERM)
    program += _by_argument(_CLONE[column], 0, _NAMESPACES, passes=(0,), error=errno.EPERM)
    # A socket of datagrams can send to any other that has a name, also one of a pair.
    program += _by_argument(_SOCKETPAIR[column], 1, _SOCKET_TYPES, passes=(socket.SOCK_STREAM,), error=errno.EACCES)
    families = (socket.AF_UNIX,) if local_sockets else ()
    program += _by_argument(_SOCKET[column], 0, passes=families, error=errno.EACCES)
    return [*program, Instruction(_RETURN, _ALLOW)]


def assemble(program: Sequence[Instruction]) -> bytes:
    """The program as the kernel takes it."""
    return b"".join(struct.pack("=HBBI", step.code, step.jump_true, step.jump_false, step.operand) for step in program)


def _refuse_if(comparison: int, operand: int, error: int) -> Iterator[Instruction]:
    """Refuses a call whose number, which is loaded, compares so."""
    yield Instruction(comparison, operand, 0, 1)
    yield Instruction(_RETURN, _REFUSE | error)


def _by_argument(
    number: int,
    argument: int,
    bits: int = _ALL_BITS,
    *,
    passes: Sequence[int] = (),
    refused: Sequence[int] = (),
    error: int,
) -> Iterator[Instruction]:
    """Judges a call of a number by some bits of an argument, the first being 0.

    One that is among `passes` passes, or else one that is not among `refused`, where those are given.
    """
    listed = passes or refused
    last = (_REFUSE | error, _ALLOW) if not refused else (_ALLOW, _REFUSE | error)
    yield Instruction(_JUMP_EQUAL, number, 0, len(listed) + 4)
    yield Instruction(_LOAD, _FIRST_ARGUMENT + argument * _PER_ARGUMENT)
    yield Instruction(_AND, bits)
    for place, value in enumerate(listed):
        yield Instruction(_JUMP_EQUAL, value, len(listed) - place, 0)
    for verdict in last:
        yield Instruction(_RETURN, verdict)
