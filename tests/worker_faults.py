"""Faults of a running server's workers and templates, one at a time, from outside or from inside.

Who is who is read from the server's log and from the kernel: a worker that serves was logged as ready, a template calls
itself one, and any other child is a worker that starts.
"""

import contextlib
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable

import grpc
import numpy as np
import psutil
from memory_cgroup import MemoryGroup
from oip import infer_request, method
from running_server import RunningServer, is_alive

_READY = re.compile(r"(\S+?)/\d+(?:#\d+)? is ready: pid (\d+)")
_TEMPLATE = "quadriga-tmpl"
#: How long the worker that replaces a killed one is looked for.
REPLACEMENT_SECONDS = 0.5
#: For a poisonous request, which is run several times.
POISON_SECONDS = 20.0


class Family:
    """A server's children, by what they are; each property looks anew."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._process = psutil.Process(server.process.pid)

    def ever_ready(self) -> dict[int, str]:
        """The model of every worker that was ever ready, by its pid."""
        return {int(pid): model for model, pid in _READY.findall(self._server.log)}

    def workers(self) -> dict[int, str]:
        """Likewise of those that are alive."""
        alive = {child.pid for child in self._children()}
        return {pid: model for pid, model in self.ever_ready().items() if pid in alive}

    def gone(self, model: str) -> int:
        """How many workers of a model were ready once and have ended."""
        alive = self.workers()
        return sum(of == model and pid not in alive for pid, of in self.ever_ready().items())

    def starting(self) -> list[int]:
        """Workers that import their framework or load their model."""
        ready = self.ever_ready()
        return [child.pid for child in self._children() if child.pid not in ready and _name(child) != _TEMPLATE]

    def templates(self) -> list[int]:
        """Templates, ready or not."""
        return [child.pid for child in self._children() if _name(child) == _TEMPLATE]

    def oldest(self, model: str) -> int | None:
        """That worker of a model that was ready first; None where it has none."""
        return next((pid for pid, of in self.workers().items() if of == model), None)

    def _children(self) -> list[psutil.Process]:
        return [child for child in self._process.children(recursive=True) if is_alive(child)]


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:  # it ended just now
        return ""


class Saboteur:
    """Picks faults and victims at random: the same row of kinds for the same seed.

    Attributes:
        struck: How many faults of each kind there were.
    """

    def __init__(self, family: Family, seed: int) -> None:
        self.struck: Counter[str] = Counter()
        self._family = family
        self._random = random.Random(seed)
        self._faults: dict[str, Callable[[], bool]] = {
            "SIGKILL": lambda: self._signal_worker(signal.SIGKILL),
            "SIGSEGV": lambda: self._signal_worker(signal.SIGSEGV),
            "SIGSTOP": lambda: self._signal_worker(signal.SIGSTOP),
            "SIGKILL in load": self._kill_starting,
            "SIGKILL of a template": lambda: self._send(self._family.templates(), signal.SIGKILL),
        }

    def add(self, kind: str, fault: Callable[[], bool]) -> None:
        """A further kind; `fault` says whether it found a victim."""
        self._faults[kind] = fault

    def strike(self) -> None:
        """One fault, of a kind that finds a victim, if any does."""
        for kind in self._random.sample(sorted(self._faults), len(self._faults)):
            if self._faults[kind]():
                self.struck[kind] += 1
                return

    def _signal_worker(self, number: signal.Signals) -> bool:
        workers = self._family.workers()
        return self._send(sorted(workers, key=lambda pid: (workers[pid], pid)), number)

    def _kill_starting(self) -> bool:
        """One that starts already, or the one that replaces a worker which is killed for it."""
        if self._send(self._family.starting(), signal.SIGKILL):
            return True
        if not self._signal_worker(signal.SIGKILL):
            return False
        end = time.monotonic() + REPLACEMENT_SECONDS
        while time.monotonic() < end:
            if self._send(self._family.starting(), signal.SIGKILL):
                return True
        return True  # its replacement waits, or was there at once: a worker was killed all the same

    def _send(self, pids: list[int], number: signal.Signals) -> bool:
        if not pids:
            return False
        with contextlib.suppress(ProcessLookupError):  # it died just now
            os.kill(self._random.choice(pids), number)
            return True
        return False


class Poisoner:
    """Sends requests that bring their worker down, and waits for none."""

    def __init__(self, channel: grpc.Channel, model: str) -> None:
        self._infer = method(channel, "ModelInfer")
        self._model = model
        self._sent: list[grpc.Future[bytes]] = []

    def send(self, poison: float) -> bool:
        """One of them; a row that is like no other, since what is refused is remembered."""
        row = np.array([[poison, len(self._sent), 0, 0]], np.float32)
        request = infer_request(self._model, x=row).SerializeToString()
        self._sent.append(self._infer.future(request, timeout=POISON_SECONDS))
        return True

    def outcomes(self) -> Counter[str]:
        """Of all of them, by code."""
        counted: Counter[str] = Counter()
        for call in self._sent:
            error = call.exception()
            counted[error.code().name if isinstance(error, grpc.RpcError) else "OK"] += 1
        return counted


def run_out_of_memory(family: Family, model: str, group: MemoryGroup, grow: Callable[[], bool]) -> bool:
    """Has the kernel kill a worker of a model for memory, while it runs a batch that makes it grow; if there is one."""
    workers = [pid for pid, of in family.workers().items() if of == model]
    for pid in workers:
        group.add(pid)
    return bool(workers) and grow()
