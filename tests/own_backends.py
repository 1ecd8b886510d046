"""Backends of a user's own, for servers that the system tests start with `env=OWN_BACKENDS`. Imported in workers.

Served as "own_backends:Recording" and so on, through the `backend` of a model's configuration.
"""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quadriga.backends import import_backend
from quadriga.backends.base import Backend, ModelSource
from quadriga.backends.fake import FakeBackend
from quadriga.specs import ModelSpec
from quadriga_proto.codec import Array

#: The environment of a server whose workers find this module.
OWN_BACKENDS = {"PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parent), os.getenv("PYTHONPATH"))))}


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


class Counted(Recording):
    """Writes down what it was asked for, and nothing of its own warm-up."""

    def warm_up(self, spec: ModelSpec, batch_sizes: Sequence[int]) -> None:
        """See `Backend.warm_up`."""
