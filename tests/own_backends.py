"""Backends of a user's own, for servers that the system tests start with `env=OWN_BACKENDS`. Imported in workers.

Served as "own_backends:Recording" and so on, through the `backend` of a model's configuration.
"""

import contextlib
import ctypes
import fcntl
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from quadriga.backends import import_backend
from quadriga.backends.base import Backend, ModelSource
from quadriga.backends.fake import FakeBackend
from quadriga.specs import ModelSpec
from quadriga_proto.codec import Array

#: The environment of a server whose workers find this module.
OWN_BACKENDS = {"PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parent), os.getenv("PYTHONPATH"))))}

log = logging.getLogger("own_backends")


class Recording(FakeBackend):
    """Answers with its inputs; writes the rows of every batch to a file beside the model's, one number a line."""

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        self._record = source.file.with_name("rows")
        return super().load(source)

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        """See `Backend.infer`."""
        with self._record.open("a") as file:
            file.write(f"{next(len(array) for array in inputs if array is not None)}\n")
        return super().infer(inputs)

    def warm_up(self, spec: ModelSpec, batch_sizes: Sequence[int]) -> None:
        """As every backend with a framework does; the fake's own does nothing."""
        Backend.warm_up(self, spec, batch_sizes)


class Held(FakeBackend):
    """Answers with its inputs, once there is a file "go" beside the model's."""

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        self._go = source.file.with_name("go")
        return super().load(source)

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        """See `Backend.infer`."""
        while not self._go.exists():
            threading.Event().wait(0.01)
        return super().infer(inputs)


class Gated(Held):
    """Holds only batches with a 1 in them, and makes a file "passed" beside the model's when another one has run."""

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        """See `Backend.infer`."""
        if np.any(inputs[0] == 1):
            return super().infer(inputs)
        self._go.with_name("passed").touch()
        return FakeBackend.infer(self, inputs)


class HeldLoad(FakeBackend):
    """Loads once there is a file "go" beside the model's."""

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        while not source.file.with_name("go").exists():
            threading.Event().wait(0.01)
        return super().load(source)


class Orphaning(FakeBackend):
    """Leaves a process behind that ends when it is killed, and holds all that the worker holds."""

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        if os.fork() == 0:
            os.setsid()
            signal.pause()
        return super().load(source)


class Observed(Backend):
    """Runs another backend, `parameters.observed`, and writes what its worker imported to `parameters.modules`."""

    def prepare(self, source: ModelSource) -> None:
        """See `Backend.prepare`."""
        self._backend: Backend = import_backend(source.parameters["observed"])()
        self._modules = Path(source.parameters["modules"])
        self._backend.prepare(source)

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        return self._backend.load(source)

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        """See `Backend.infer`."""
        return self._backend.infer(inputs)

    def warm_up(self, spec: ModelSpec, batch_sizes: Sequence[int]) -> None:
        """See `Backend.warm_up`."""
        self._backend.warm_up(spec, batch_sizes)
        self._modules.write_text("\n".join(sys.modules))


class Prying(FakeBackend):
    """Tries what a hostile model would, as the parameters say, and logs how each attempt went: "tried NAME: ..."."""

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        parameters = source.parameters
        attempts: dict[str, Callable[[], object]] = {
            "own model": source.file.read_bytes,
            "own temporary file": lambda: tempfile.TemporaryFile().close(),
            "secret": lambda: Path(parameters["secret"]).read_bytes(),
            "other model": lambda: list(Path(parameters["other"]).iterdir()),
            "writing beside the model": lambda: source.file.with_name("written").write_bytes(b""),
            "emptying a file": lambda: os.truncate(parameters["victim"], 0),
            "program": lambda: subprocess.run(["/bin/true"], check=True),
            "network": lambda: socket.create_connection(("127.0.0.1", int(parameters["port"])), 10).close(),
            "datagram": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close(),
            "local socket": lambda: socket.socket(socket.AF_UNIX).close(),
            "socket pair": lambda: list(map(socket.socket.close, socket.socketpair())),
            "datagram pair": lambda: list(map(socket.socket.close, socket.socketpair(type=socket.SOCK_DGRAM))),
            "shared memory by number": lambda: _shared_memory(),
            "program in memory": lambda: _program_in_memory(),
            "signal": lambda: os.kill(_server(), 0),
            "signals of a descriptor": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, _server()),
            "signal to itself": lambda: os.kill(os.getpid(), 0),
            "limits of the server": lambda: resource.prlimit(_server(), resource.RLIMIT_NOFILE),
            "own limits": lambda: resource.prlimit(0, resource.RLIMIT_NOFILE),
            "memory of the server": lambda: Path(f"/proc/{_server()}/mem").open("rb").close(),
            "environment of the server": lambda: Path(f"/proc/{_server()}/environ").read_bytes(),
        }
        for name, attempt in attempts.items():
            try:
                attempt()
            except OSError as error:
                log.warning("tried %s: %s", name, type(error).__name__)
            else:
                log.warning("tried %s: done", name)
        log.warning("environment: %s", " ".join(os.environ))
        log.warning("descriptors: %s", " ".join(_descriptors()))
        return super().load(source)


def _shared_memory() -> None:
    """System V's: a segment that other programs of the user could attach."""
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(0, 4096, 0o600)  # IPC_PRIVATE
    if segment < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    libc.shmctl(segment, 0, None)  # IPC_RMID


def _program_in_memory() -> None:
    """A copy of a program in a file that has no name."""
    with os.fdopen(os.memfd_create("program"), "wb", buffering=0) as copy:
        copy.write(Path("/bin/true").read_bytes())
        subprocess.run([f"/proc/self/fd/{copy.fileno()}"], pass_fds=[copy.fileno()], check=True)


def _server() -> int:
    """The server's process id: the parent's of a spawned worker."""
    return os.getppid()


def _descriptors() -> list[str]:
    found = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing
            found.append(os.readlink(f"/proc/self/fd/{entry}").partition("[")[0].replace(" ", "_"))
    return sorted(found)


class Counted(Recording):
    """Writes down what it was asked for, and nothing of its own warm-up."""

    def warm_up(self, spec: ModelSpec, batch_sizes: Sequence[int]) -> None:
        """See `Backend.warm_up`."""
