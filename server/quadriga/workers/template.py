"""The template: has imported a backend's framework, and forks workers that need not. Runs in a process of its own.

Started by `template_child` as `python -P -m quadriga.workers.template DESCRIPTOR PARENT_PID`. It loads no
model and runs nothing of the framework, so that every pool of threads is made in the worker that uses it: only a
process with a single thread can be forked safely, which is looked at before each fork. A forked worker goes on as
`process` does. It dies with the template, and the template with the server process.
"""

import ctypes
import gc
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from quadriga.backends import import_backend
from quadriga.workers import process
from quadriga.workers.channel import Channel, ChannelClosed
from quadriga.workers.messages import (
    Exited,
    Forked,
    ForkFailed,
    Prepare,
    Prepared,
    ToTemplate,
    Useless,
)
from quadriga.workers.priority import yielding

_FORK_DESCRIPTORS: Final = 2
_PR_SET_NAME: Final = 15  # linux/prctl.h

log = logging.getLogger("quadriga.workers.template")


def main(arguments: Sequence[str]) -> None:
    """Runs a template, and the workers forked from it, each to its end; never returns."""
    descriptor, parent = int(arguments[0]), int(arguments[1])
    end = process.enter(descriptor, parent)
    _call_process("quadriga-tmpl")
    try:
        worker_end = Template(Channel(end, ToTemplate)).serve()
    except ChannelClosed:
        process.leave(0)
    except BaseException:
        log.exception("the template failed")
        process.leave(1)
    process.run(worker_end)


class Template:
    """The template's loop: forks when it is asked to, and tells how those that it forked ended."""

    def __init__(self, channel: Channel[ToTemplate]) -> None:
        self._channel = channel
        self._workers: dict[int, int] = {}  # pids by pidfd
        self._poll = select.poll()
        self._poll.register(channel.socket, select.POLLIN)

    def serve(self) -> socket.socket:
        """Serves the server process; returns in forked workers alone, with their end of their socket.

        Raises:
            ChannelClosed: The end.
        """
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._workers:
                    self._reap(descriptor)
                    continue
                messages, descriptors = self._channel.receive_with_descriptors(_FORK_DESCRIPTORS)
                for message in messages:
                    if isinstance(message, Prepare):
                        self._prepare(message)
                    elif worker_end := self._fork(descriptors):
                        return worker_end

    def _prepare(self, message: Prepare) -> None:
        """Imports the framework, as a worker does when it loads a model, and says whether workers can be forked now."""
        try:
            backend = import_backend(message.backend)()
            backend.prepare(message.source)
            with yielding():
                backend.import_framework()
        except Exception as error:
            self._give_up(f"{type(error).__name__}: {error}")
        if threads := _other_threads():
            self._give_up(f"its framework runs {threads} threads from its import on")
        # What a collection looks through it writes to: frozen, it stays memory that all workers share.
        gc.collect()
        gc.freeze()
        self._channel.send(Prepared())

    def _fork(self, descriptors: Sequence[int]) -> socket.socket | None:
        """Forks; a worker's end of its socket in the worker, None in the template."""
        end, output = descriptors
        template = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            if threads := _other_threads():
                raise OSError(f"the template runs {threads} other threads")
            pid = os.fork()
            if pid:
                self._tell(pid)
        except OSError as error:
            self._channel.send(ForkFailed(str(error)))
        else:
            if pid == 0:
                return self._become_worker(template, end, output)
        os.close(end)
        os.close(output)
        return None

    def _become_worker(self, template: int, end: int, output: int) -> socket.socket:
        process.die_with(template)
        _call_process("quadriga-worker")
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        # What is the template's: the end of a socket is noticed only when nobody else holds it.
        self._channel.close()
        for pidfd in self._workers:
            os.close(pidfd)
        return socket.socket(fileno=end)

    def _tell(self, pid: int) -> None:
        """A pidfd cannot come to mean another process, as the pid can once this template has reaped the worker."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._workers[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        self._channel.send(Forked(pid), [pidfd])

    def _reap(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        pid, status = os.waitpid(self._workers.pop(pidfd), 0)
        os.close(pidfd)
        self._channel.send(Exited(pid, os.waitstatus_to_exitcode(status)))

    def _give_up(self, reason: str) -> NoReturn:
        self._channel.send(Useless(reason))
        process.leave(0)


def _other_threads() -> int:
    """How many threads there are besides this one.

    A fork copies the one thread that calls it: a lock that another holds would be held for ever in the worker.
    """
    return len(list(Path("/proc/self/task").iterdir())) - 1


def _call_process(name: str) -> None:
    """Sets what `ps -o comm` shows, since a forked worker has its template's command line; at most 15 characters."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
