"""The filter's program, run by an interpreter of its own: which system calls pass, on each architecture."""

import errno
import socket
from collections.abc import Sequence

import pytest

from quadriga.workers import seccomp
from quadriga.workers.seccomp import ARCHITECTURES, Architecture, Instruction, assemble, filter_of

PID = 4711
ALLOWED = 0x7FFF0000


def outcome(program: Sequence[Instruction], architecture: int, number: int, argument: int = 0) -> int:
    """What the kernel would do with a call: 0 lets it pass, else the error's number."""
    words = {0: number, 4: architecture, 16: argument}
    accumulator, at = 0, 0
    while True:
        step = program[at]
        at += 1
        if step.code == 0x06:
            return 0 if step.operand == ALLOWED else step.operand & 0xFFFF
        if step.code == 0x20:
            accumulator = words[step.operand]
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
    program = filter_of(architecture, PID, local_sockets=local_sockets)
    number = seccomp._SOCKET[architecture.column]
    for family in (socket.AF_INET, socket.AF_INET6, 16, 17, 38):  # netlink, packet, alg
        assert outcome(program, architecture.audit, number, family) == errno.EACCES
    expected = 0 if local_sockets else errno.EACCES
    assert outcome(program, architecture.audit, number, socket.AF_UNIX) == expected
    assert outcome(program, architecture.audit, seccomp._IO_URING_SETUP[architecture.column]) == errno.ENOSYS


def test_signals_and_limits_are_for_the_process_itself(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=False)
    for name, numbers in seccomp._OWN_PROCESS_ONLY.items():
        number = numbers[architecture.column]
        assert outcome(program, architecture.audit, number, PID) == 0, name
        assert outcome(program, architecture.audit, number, PID + 1) == errno.EPERM, name
        assert outcome(program, architecture.audit, number, 2**32 - 1) == errno.EPERM, name  # -1 is everybody
        assert outcome(program, architecture.audit, number, 0) == (0 if name == "prlimit64" else errno.EPERM), name


def test_what_is_refused_always_is_so_and_all_else_passes(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=True)
    tables = (seccomp._OTHER_PROCESSES, seccomp._KERNEL)
    refused = {numbers[architecture.column] for table in tables for numbers in table.values()}
    conditional = {numbers[architecture.column] for numbers in seccomp._OWN_PROCESS_ONLY.values()}
    conditional |= {seccomp._SOCKET[architecture.column], seccomp._IO_URING_SETUP[architecture.column]}
    assert not refused & conditional
    for number in range(600):
        if number not in conditional:
            expected = errno.EPERM if number in refused else 0
            assert outcome(program, architecture.audit, number, PID) == expected, number


def test_calls_of_another_interface_are_refused_whatever_they_are(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=True)
    assert outcome(program, 0x40000003, 1) == errno.EPERM  # 32-bit x86
    assert outcome(program, architecture.audit, 0x40000000 | 1) == errno.EPERM  # x32


def test_the_program_is_what_the_kernel_takes(architecture: Architecture) -> None:
    program = filter_of(architecture, PID, local_sockets=False)
    assert len(assemble(program)) == 8 * len(program)
    assert len(program) <= 4096
    assert all(step.jump_true < 256 and step.jump_false < 256 for step in program)
    assert program[-1] == Instruction(0x06, ALLOWED)
