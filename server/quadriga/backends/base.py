"""The plug point: what a backend does for the one worker that owns it. Runs in workers only.

A worker makes one instance, calls `prepare`, `load` and `infer` from one thread and never concurrently, and ends with
the process: there is no unload, the operating system frees everything.
"""

import itertools
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from quadriga.errors import one_line
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga_proto.codec import Array, numpy_dtype

#: Terminal colours, with which some frameworks decorate their messages, and a heading of Keras that says nothing.
_DECORATION: Final = re.compile(r"\x1b\[[0-9;]*m|Exception encountered when calling [^\n]*")

#: Optional inputs of which every choice is warmed up.
_MOST_CHOSEN_FROM: Final = 3
#: The device that is no GPU.
CPU: Final = "cpu"
#: Undoes what made memory known to a driver.
Unpin = Callable[[], None]

log = logging.getLogger("quadriga.backends.base")


class ModelLoadError(Exception):
    """A model that cannot be loaded; the message is for the operator and says what to do."""


class ModelSource(msgspec.Struct, frozen=True, kw_only=True):
    """What to load, and how it is to run.

    Attributes:
        path: The model's file, or its folder for a SavedModel.
        device: "cpu" or "cuda:N"; in `prepare` alone also "auto", which the worker then decides by `cuda_devices`.
        threads: Threads that one inference may use.
        inputs: From the configuration, for formats whose file does not name them; empty: the file says.
        outputs: Likewise.
        batches: Whether the first dimension is rows; None: the file says (a dynamic first dimension everywhere).
        parameters: The configuration's `parameters`, of which a backend reads those that it documents.
    """

    path: str
    device: str = "cpu"
    threads: int = 1
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    batches: bool | None = None
    parameters: dict[str, str] = {}

    @property
    def file(self) -> Path:
        """`path` as a Path."""
        return Path(self.path)


class Backend(ABC):
    """Runs one model of one format.

    A subclass imports its framework inside its methods, after `prepare` has set what the framework reads at import.
    """

    def prepare(self, source: ModelSource) -> None:  # noqa: B027 - most backends have nothing to prepare
        """Sets environment variables that the framework reads when it is imported. Called first."""

    def import_framework(self) -> None:  # noqa: B027 - not every backend has a heavy one
        """Imports the framework and does nothing with it. Called after `prepare`, in a process that forks workers.

        Only backends that `workers.templates` lists are asked: no thread may be left running by the import.
        """

    def cuda_devices(self) -> int:
        """How many GPUs the framework can use here. Called after `prepare`, and only for device "auto"."""
        return 0

    def pin(self, address: int, size: int) -> Unpin | None:
        """Makes memory in which inputs will lie known to the GPU's driver, so that copies to the GPU need no detour.

        Called after `load`, on a GPU only. Returns what undoes it, before the memory is unmapped; None: nothing was
        done.
        """
        return None

    @abstractmethod
    def load(self, source: ModelSource) -> ModelSpec:
        """Loads the model, ready to run compiled, and returns its contract.

        Raises:
            ModelLoadError: The file is damaged, of another format, or needs something that is not there.
        """

    @abstractmethod
    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        """Runs one batch.

        Args:
            inputs: In the order of the contract's inputs, with the batch dimension first where the model batches; BYTES
                are arrays of `bytes` objects. They are views of shared memory, not to be written, and overwritten
                before the next call: nothing may be kept of them. None for an optional input that is left out; the same
                ones are in every row of a batch.

        Returns:
            Arrays in the order of the contract's outputs; the worker copies them before the next call, so that they
            may share memory with the inputs.
        """

    def warm_up(self, spec: ModelSpec, batch_sizes: Sequence[int]) -> None:
        """Runs each batch size that the model will be given once, so that no request pays for a first time.

        Dimensions of any size are taken as 1. Models with BYTES inputs are not warmed up: no content can be assumed.
        Of optional inputs every choice is run, where they are few, else all of them and none.

        Raises:
            ModelLoadError: The model does not run on zeros of its own contract's shapes.
        """
        if any(tensor.datatype == "BYTES" for tensor in spec.inputs):
            return
        for rows, present in itertools.product(batch_sizes, presences(spec)):
            size = rows if spec.batches else None
            try:
                self.infer(
                    [zeros(tensor, size) if here else None for tensor, here in zip(spec.inputs, present, strict=True)]
                )
            except Exception as error:
                if any(ANY in tensor.shape for tensor in spec.inputs):
                    # Size 1 is a guess; a network may well need larger images than that.
                    log.warning("not warmed up, since it does not run with open dimensions of 1: %s", first_line(error))
                    return
                raise ModelLoadError(
                    f"the model does not run on a batch of {rows} zeros: {first_line(error)}"
                ) from error


def first_line(error: BaseException) -> str:
    """A framework's error in one line: the first one that says something."""
    lines = [line.strip() for line in _DECORATION.sub("", str(error)).splitlines() if line.strip()]
    return one_line(f"{type(error).__name__}: {lines[0]}") if lines else type(error).__name__


def presences(spec: ModelSpec) -> list[tuple[bool, ...]]:
    """Which inputs may be there together: every choice of the optional ones, or all and none where they are many."""
    optional = sum(tensor.optional for tensor in spec.inputs)
    if optional > _MOST_CHOSEN_FROM:
        return [(True,) * len(spec.inputs), tuple(not tensor.optional for tensor in spec.inputs)]
    return list(itertools.product(*[(True, False) if tensor.optional else (True,) for tensor in spec.inputs]))


def zeros(tensor: TensorSpec, rows: int | None) -> Array:
    """An all-zero input for a tensor, with `rows` rows where it batches (None: it does not)."""
    shape = tuple(1 if size == ANY else size for size in tensor.shape)
    return np.zeros(shape if rows is None else (rows, *shape), dtype=numpy_dtype(tensor.datatype))
