"""A real `quadriga serve` in a process of its own, for system tests.

Ports are the kernel's choice, readiness is learned from the server's own ready line, and the end is checked: `stop`
fails when a process of the server's is still there afterwards. What belongs to a server is known by a mark in its
environment, which workers inherit and which orphans keep.
"""

import contextlib
import itertools
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

#: For a server, or what imports a framework: that gets hardly a tenth of a core where others are busy, since it yields.
START_SECONDS = 240.0
END_SECONDS = 30.0
#: The environment of a server that is to make templates: only workers on CPUs have any.
ON_CPU = {"CUDA_VISIBLE_DEVICES": ""}
MARK = "RUNNING_SERVER_MARK"
SLAB = "memfd:quadriga-slab"
READY = re.compile(r"^ready grpc=(\S+) http=(\S+)$")

_numbers = itertools.count()


def wait_for(condition: Callable[[], Any], what: str, seconds: float = END_SECONDS) -> Any:
    """Polls until `condition` gives something true, and returns that; fails with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        threading.Event().wait(0.02)
    return result


class RunningServer:
    """A server that printed its ready line.

    Attributes:
        grpc: HOST:PORT of the gRPC port.
        http: Of the HTTP port.
        printed: What stood on stdout before the ready line.
        mark: In the environment of each of its processes, and of no other's.
    """

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None, python: str = sys.executable) -> None:
        """Starts `quadriga serve` with free ports and `arguments`, and waits until it is ready."""
        command = [python, "-m", "quadriga", "serve", "--grpc-port", "0", "--http-port", "0", *arguments]
        self.mark = f"{os.getpid()}-{next(_numbers)}"
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {}), MARK: self.mark},
        )
        self.printed: list[str] = []
        self._errors: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        try:
            self.grpc, self.http = self._wait_until_ready()
        except BaseException:
            self.process.kill()
            self._close()
            raise

    @property
    def log(self) -> str:
        """What stood on stderr so far."""
        return "".join(self._errors)

    def workers(self) -> list[psutil.Process]:
        """Its child processes that are alive."""
        return [child for child in psutil.Process(self.process.pid).children(recursive=True) if is_alive(child)]

    def processes(self) -> list[psutil.Process]:
        """Every process with its mark that is alive: itself, its workers, and what either left behind."""
        return marked(self.mark)

    def slab_holders(self) -> list[psutil.Process]:
        """Its processes that have one of its anonymous segments open."""
        return [process for process in self.processes() if any(SLAB in file for file in open_files(process.pid))]

    def worker_of(self, model: str) -> int:
        """The pid of the worker of a model with one instance: the one that the server logged last."""
        line = re.compile(rf"{re.escape(model)}/\d+ is ready: pid (\d+)")
        pids = wait_for(lambda: line.findall(self.log), f"the worker of {model} in the log")
        return int(pids[-1])

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET at the HTTP port."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry `labels`, now."""
        return metric_of(self.get("/metrics")[1], name, **labels)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal, waits for the end and checks that nothing is left; returns the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(END_SECONDS)
        self._close()
        self.wait_until_nothing_is_left()
        return status

    def wait_until_nothing_is_left(self, seconds: float = END_SECONDS) -> None:
        """Waits for the end of its processes, orphans among them; with the last of them goes the shared memory."""
        wait_for(lambda: not self.processes(), f"the processes of server {self.mark} to end", seconds)

    def _close(self) -> None:
        self.process.wait(END_SECONDS)
        for reader in self._readers:
            reader.join(END_SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read_output(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_errors(self) -> None:
        for line in self.process.stderr or ():
            self._errors.append(line)

    def _wait_until_ready(self) -> tuple[str, str]:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                line = self._lines.get(timeout=max(end - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"not ready after {START_SECONDS:.0f} s:\n{self.log}") from None
            if line is None:
                status = self.process.wait(END_SECONDS)
                self._readers[1].join(END_SECONDS)  # what it said last
                raise AssertionError(f"the server ended with {status}:\n{self.log}")
            if match := READY.match(line):
                return match[1], match[2]
            self.printed.append(line)


def metric_of(page: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that carry `labels`, on a page of metrics."""
    total = 0.0
    for line in page.splitlines():
        sample = re.match(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$", line)
        if sample and sample[1] == name:
            found = dict(re.findall(r'([a-z_]+)="([^"]*)"', sample[2] or ""))
            if all(found.get(key) == value for key, value in labels.items()):
                total += float(sample[3])
    return total


def marked(mark: str) -> list[psutil.Process]:
    """Every process with a mark that is alive."""
    return [process for process in psutil.process_iter() if _mark_of(process) == mark and is_alive(process)]


def open_files(pid: int) -> list[str]:
    """What a process's file descriptors refer to; none where there is no /proc, or no such process any more."""
    files = []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                files.append(os.readlink(entry))
    return files


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def write_fake(repository: Path, name: str, behaviour: Mapping[str, Any] | None = None, config: str = "") -> Path:
    """Writes a model of the shipped fake backend, and a model.toml where `config` is given; returns its folder."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [4]}
    folder = repository / name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    content = {"inputs": [tensor], "batches": True, **(behaviour or {})}
    (folder / "1" / "model.fake").write_text(json.dumps(content))
    if config:
        (folder / "model.toml").write_text(config)
    return folder


def run_cli(
    *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120.0
) -> "subprocess.CompletedProcess[str]":
    """Runs `quadriga` to its end."""
    command: Sequence[str] = [sys.executable, "-m", "quadriga", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=timeout)
