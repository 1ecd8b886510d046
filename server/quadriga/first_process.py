"""The first process of a container: starts the command, hands signals on to it, and reaps what it leaves behind.

A worker whose template was killed becomes a child of process 1; one that does not reap would keep it as a zombie.
Process 1 also ignores every signal that it does not ask for, and its end is the container's.

    python -m quadriga.first_process ARGUMENTS...    runs `quadriga ARGUMENTS...`
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

#: What the command is told of as well.
_HANDED_ON: Final = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
)  # fmt: skip
_KILLED: Final = 128


def main(arguments: Sequence[str]) -> NoReturn:
    """Runs the command to its end, and ends with its exit status: 128 and the signal's number where one killed it."""
    sys.exit(supervise([sys.executable, "-P", "-m", "quadriga", *arguments]))


def supervise(command: Sequence[str]) -> int:
    """Runs a command, reaps every process that ends meanwhile, and returns the command's exit status."""
    waited_for = {*_HANDED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    # A group of its own: Ctrl-C on a terminal reaches this process alone, and the command once.
    child = os.posix_spawn(command[0], list(command), os.environ, setsigmask=before, setpgroup=0)
    while True:
        number = signal.sigwait(waited_for)
        if number != signal.SIGCHLD:
            os.kill(child, number)
        elif (status := _reap(child)) is not None:
            return status if status >= 0 else _KILLED - status


def _reap(child: int) -> int | None:
    """Reaps all that have ended; the status of `child` where it is among them, a signal's number negated."""
    status = None
    while True:
        try:
            pid, waited = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            status = os.waitstatus_to_exitcode(waited)


if __name__ == "__main__":
    main(sys.argv[1:])
