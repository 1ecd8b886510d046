"""The filter's program, run by an interpreter of its own: which system calls pass, on each architecture."""

import errno
import socket
from collections.abc import Sequence

import pytest

from quadriga.workers import seccomp
from quadriga.workers.seccomp import ARCHITECTURES, Architecture, Instruction, assemble, filter_of

PID = 4711
ALLOWED = 0x7FFF0000


def outcome(program: Sequence[Instruction], architecture: int, number: int, argument: int = 0, second: int = 0) -> int:
    """What the kernel would do with a call: 0 lets it pass, else the error's number."""
    words = {0: number, 4: architecture, 16: argument, 24: second}
    accumulator, at = 0, 0
    while True:
        step = program[at]
        at += 1
        if step.code == 0x06:
            return 0 if step.operand == ALLOWED else step.operand & 0xFFFF
        if step.code == 0x20:
            accumulator = words[step.operand]
            continue
        if step.code == 0x54:
            accumulator &= step.operand
            continue
        holds = accumulator == step.operand if step.code == 0x15 else accumulator >= step.operand
        at += step.jump_true if holds else step.jump_false


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return ARCHITECTURES[request.param]


@pytest.mark.parametrize("local_sockets", [False, True])
def test_sockets_are_refused_but_those_of_the_machine_where_they_are_needed(
    architecture: Architecture, local_sockets: bool
) -> None:
    program = filter_of(architecture, PID, local_sockets=local_sockets, programs=False)
    number = seccomp._SOCKET[architecture.column]
    for family in (socket.AF_INET, socket.AF_INET6, 16, 17, 38):  # netlink, packet, alg
        assert outcome(program, architecture.audit, number, family) == errno.EACCES
    expected = 0 if local_sockets else errno.EACCES
    assert outcome(program, architecture.audit, number, socket.AF_UNIX) == expected
    assert outcome(program, architecture.audit, seccomp._IO_URING_SETUP[architecture.column]) == errno.ENOSYS


def test_signals_and_limits_are_for_the_process_itself(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=False, programs=False)
    for name, numbers in seccomp._OWN_PROCESS_ONLY.items():
        number = numbers[architecture.column]
        assert outcome(program, architecture.audit, number, PID) == 0, name
        assert outcome(program, architecture.audit, number, PID + 1) == errno.EPERM, name
        assert outcome(program, architecture.audit, number, 2**32 - 1) == errno.EPERM, name  # -1 is everybody
        assert outcome(program, architecture.audit, number, 0) == (0 if name == "prlimit64" else errno.EPERM), name


def test_pairs_of_sockets_are_connected_and_of_bytes(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=False, programs=False)
    number = seccomp._SOCKETPAIR[architecture.column]
    flags = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    assert outcome(program, architecture.audit, number, socket.AF_UNIX, socket.SOCK_STREAM | flags) == 0
    for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW):
        assert outcome(program, architecture.audit, number, socket.AF_UNIX, kind | flags) == errno.EACCES


def test_no_descriptor_signals_others(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=False, programs=False)
    for numbers, settings in seccomp._SIGNAL_SETTINGS.values():
        for setting in settings:
            assert outcome(program, architecture.audit, numbers[architecture.column], 3, setting) == errno.EPERM
    duplicate, set_flags = 0, 4  # F_DUPFD, F_SETFL
    for harmless in (duplicate, set_flags):
        number = seccomp._SIGNAL_SETTINGS["fcntl"][0][architecture.column]
        assert outcome(program, architecture.audit, number, 3, harmless) == 0


def test_threads_and_processes_share_the_namespaces(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=False, programs=False)
    number = seccomp._CLONE[architecture.column]
    thread, fork, new_user = 0x003D0F00, 0x01200011, 0x10000000  # as the C library has them; CLONE_NEWUSER
    assert outcome(program, architecture.audit, number, thread) == 0
    assert outcome(program, architecture.audit, number, fork) == 0
    assert outcome(program, architecture.audit, number, new_user | 17) == errno.EPERM
    assert outcome(program, architecture.audit, seccomp._CLONE3[architecture.column]) == errno.ENOSYS


def test_programs_are_started_where_they_are_needed(architecture: Architecture) -> None:
    for programs in (False, True):
        program = filter_of(architecture, PID, local_sockets=programs, programs=programs)
        for numbers in seccomp._PROGRAMS.values():
            expected = 0 if programs else errno.EPERM
            assert outcome(program, architecture.audit, numbers[architecture.column]) == expected


def test_what_is_refused_always_is_so_and_all_else_passes(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=True, programs=True)
    tables = (seccomp._OTHER_PROCESSES, seccomp._KERNEL, seccomp._SHARED_BY_NUMBER)
    refused = {numbers[architecture.column] for table in tables for numbers in table.values()}
    conditional = {numbers[architecture.column] for numbers in seccomp._OWN_PROCESS_ONLY.values()}
    conditional |= {numbers[architecture.column] for numbers, _ in seccomp._SIGNAL_SETTINGS.values()}
    named = (seccomp._SOCKET, seccomp._SOCKETPAIR, seccomp._CLONE, seccomp._CLONE3, seccomp._IO_URING_SETUP)
    conditional |= {numbers[architecture.column] for numbers in named}
    assert not refused & conditional
    for number in range(600):
        if number not in conditional:
            expected = errno.EPERM if number in refused else 0
            assert outcome(program, architecture.audit, number, PID) == expected, number


def test_calls_of_another_interface_are_refused_whatever_they_are(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=True, programs=True)
    assert outcome(program, 0x40000003, 1) == errno.EPERM  # 32-bit x86
    assert outcome(program, architecture.audit, 0x40000000 | 1) == errno.EPERM  # x32


def test_the_program_is_what_the_kernel_takes(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=False, programs=False)
    assert len(assemble(program)) == 8 * len(program)
    assert len(program) <= 4096
    assert all(step.jump_true < 256 and step.jump_false < 256 for step in program)
    assert program[-1] == Instruction(0x06, ALLOWED)
