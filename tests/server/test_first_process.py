"""Process 1 of a container: hands signals on, reaps orphans, and ends as its command does."""

import signal
import subprocess
import sys

import pytest

#: Makes itself who orphans go to, as process 1 is, and runs what follows.
SUPERVISOR = """
import ctypes, sys
from quadriga.first_process import supervise
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
sys.exit(supervise([sys.executable, "-c", sys.argv[1]]))
"""
#: Leaves an orphan that ends at once, and waits until nothing of it is left.
ORPHAN = """
import os, time
reading, writing = os.pipe()
if (middle := os.fork()) == 0:
    if (orphan := os.fork()) == 0:
        os._exit(0)
    os.write(writing, str(orphan).encode())
    os._exit(0)
os.waitpid(middle, 0)
orphan = int(os.read(reading, 20))
while os.path.exists(f"/proc/{orphan}"):
    time.sleep(0.01)
"""


def start(program: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
    ],
)
def test_it_ends_as_its_command_does(program: str, status: int) -> None:
    with start(program) as process:
        process.communicate(timeout=60)
    assert process.returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_handed_on_once(number: signal.Signals) -> None:
    program = (
        "import signal, sys\n"
        "numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, numbers)\n"
        "print('ready', flush=True)\n"
        "print(signal.sigwait(numbers).name, signal.sigpending() & numbers or 'no other')\n"
        "sys.exit(7)\n"
    )
    with start(program) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
    assert (printed, process.returncode) == (f"{number.name} no other\n", 7)


def test_orphans_are_reaped() -> None:
    """The program ends when its grandchild is gone from the table of processes, where a zombie would stay."""
    with start(ORPHAN) as process:
        process.communicate(timeout=60)
    assert process.returncode == 0
