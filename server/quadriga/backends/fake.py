"""A backend without a framework, for tests of the server and for load tests of the path around a model. In workers.

It reads `model.fake`, a JSON object:

    inputs       tensors: {"name", "datatype", "shape"}, the shape without rows where the model batches
    outputs      likewise; as many as the inputs, whose values they repeat. Default: the inputs themselves.
                 Zeros stand for an input that is "optional": true and left out
    batches      default true
    labels       class names
    sleep_ms     per batch
    load_ms      before the model is loaded
    load_error   loading fails with this text
    die_on_load, exit_on_load, hang_on_load
                 true: the process is killed while it loads, leaves by itself with status 3, or never ends loading
    raise_on, die_on, segfault_on, exit_on, hang_on, grow_on
                 a number: a batch whose first input has such an element raises, kills the process by SIGKILL, reads
                 where no memory is (SIGSEGV), leaves the process with status 3, never ends, or takes memory until it is
                 killed for it or gets no more (MemoryError), at the latest after
    grow_bytes   default 1 GiB; it is given back when the batch ends
"""

import ctypes
import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from quadriga.backends.base import Backend, ModelLoadError, ModelSource, zeros
from quadriga.specs import ModelSpec, TensorSpec
from quadriga_proto.codec import DATATYPES, Array

Milliseconds = Annotated[float, msgspec.Meta(ge=0)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]

_EXIT_STATUS: Final = 3
_GROWTH_BYTES: Final = 16 << 20


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a `model.fake`, as the module's docstring describes it."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...] = ()
    batches: bool = True
    labels: tuple[str, ...] = ()
    sleep_ms: Milliseconds = 0.0
    load_ms: Milliseconds = 0.0
    load_error: str = ""
    die_on_load: bool = False
    exit_on_load: bool = False
    hang_on_load: bool = False
    raise_on: float | None = None
    die_on: float | None = None
    segfault_on: float | None = None
    exit_on: float | None = None
    hang_on: float | None = None
    grow_on: float | None = None
    grow_bytes: Bytes = 1 << 30


class FakeBackend(Backend):
    """Answers with its inputs."""

    def load(self, source: ModelSource) -> ModelSpec:
        """See `Backend.load`."""
        self._behaviour = read_behaviour(source)
        time.sleep(self._behaviour.load_ms / 1000)
        if self._behaviour.die_on_load:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._behaviour.exit_on_load:
            os._exit(_EXIT_STATUS)
        if self._behaviour.hang_on_load:
            _hang()
        if self._behaviour.load_error:
            raise ModelLoadError(self._behaviour.load_error)
        outputs = self._behaviour.outputs or self._behaviour.inputs
        return ModelSpec(
            inputs=self._behaviour.inputs,
            outputs=outputs,
            batches=self._behaviour.batches,
            labels=self._behaviour.labels,
        )

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        """See `Backend.infer`."""
        self._suffer(inputs[0])
        if self._behaviour.sleep_ms:
            time.sleep(self._behaviour.sleep_ms / 1000)
        rows = next((len(array) for array in inputs if array is not None), 1) if self._behaviour.batches else None
        outputs = self._behaviour.outputs or self._behaviour.inputs
        return [
            _nothing(tensor, rows) if array is None else array for tensor, array in zip(outputs, inputs, strict=True)
        ]

    def _suffer(self, first: Array | None) -> None:
        """Does what the batch's first input asks for."""
        behaviour = self._behaviour
        if _has(first, behaviour.die_on):
            os.kill(os.getpid(), signal.SIGKILL)
        if _has(first, behaviour.segfault_on):
            ctypes.string_at(0)
        if _has(first, behaviour.exit_on):
            os._exit(_EXIT_STATUS)
        if _has(first, behaviour.hang_on):
            _hang()
        if _has(first, behaviour.grow_on):
            _grow(behaviour.grow_bytes)
        if _has(first, behaviour.raise_on):
            raise ValueError(f"an element is {behaviour.raise_on}, on which this model is made to fail")

    def warm_up(self, spec: ModelSpec, batch_sizes: Sequence[int]) -> None:
        """Nothing is there to warm up."""


def read_behaviour(source: ModelSource) -> Behaviour:
    """The file's content, checked.

    Raises:
        ModelLoadError: It is no JSON of the described form.
    """
    try:
        content: Any = json.loads(source.file.read_bytes())
        behaviour = msgspec.convert(content, Behaviour)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise ModelLoadError(f"{source.path} is not a description of a fake model: {error}") from error
    if not behaviour.inputs or (behaviour.outputs and len(behaviour.outputs) != len(behaviour.inputs)):
        raise ModelLoadError(f"{source.path} needs inputs, and outputs as many as those or none")
    for tensor in (*behaviour.inputs, *behaviour.outputs):
        if tensor.datatype not in DATATYPES:
            raise ModelLoadError(
                f"{source.path} has {tensor.name!r} of datatype {tensor.datatype!r}; expected one of "
                f"{', '.join(DATATYPES)}"
            )
    return behaviour


def _hang() -> None:
    threading.Event().wait()


def _grow(limit: int) -> None:
    """Takes memory and touches it.

    Raises:
        MemoryError: Always, unless the process is killed for it.
    """
    taken = [b"\1" * _GROWTH_BYTES for _ in range(0, limit, _GROWTH_BYTES)]
    raise MemoryError(f"{len(taken) * _GROWTH_BYTES} bytes were taken, as many as this model is made to take")


def _nothing(tensor: TensorSpec, rows: int | None) -> Array:
    """What stands for an input that is left out."""
    array = zeros(tensor, rows)
    if tensor.datatype == "BYTES":
        array.fill(b"")
    return array


def _has(array: Array | None, value: float | None) -> bool:
    return value is not None and array is not None and bool(np.any(array == value))
