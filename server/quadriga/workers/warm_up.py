"""Runs the warm-ups that a model's configuration gives: what no contract tells, such as BYTES. Runs in workers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from quadriga.backends.base import Backend, ModelLoadError, first_line
from quadriga.errors import ConfigError
from quadriga.folder_files import read_inside
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga.warm_up import WarmUp, WarmUpInput
from quadriga_proto.codec import Array, from_raw, numpy_dtype

#: Steps between 0 and 1 that every float datatype holds exactly: none is rounded up to 1.
_STEPS: Final = 128
_LONGEST_TEXT: Final = 16
#: Of one input's file; no request can have as many.
_MOST_FILE_BYTES: Final = 1 << 31
_LETTERS: Final = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)


def run_warm_ups(
    backend: Backend, spec: ModelSpec, warm_ups: Sequence[WarmUp], folder: Path, max_batch_size: int
) -> None:
    """Runs each as often as it says.

    Args:
        backend: With the model loaded.
        spec: The model's contract.
        warm_ups: In this order.
        folder: Of their files.
        max_batch_size: Rows of the largest batch, where the model batches.

    Raises:
        ModelLoadError: One does not fit the contract, has no data, or the model does not run on it; names it.
    """
    for warm_up in warm_ups:
        try:
            warm_up.check_rows(max_batch_size if spec.batches else 0)
            inputs = make_inputs(warm_up, spec, folder)
        except (ConfigError, ValueError, OSError, MemoryError) as error:
            raise ModelLoadError(f"model_warmup {warm_up.name!r}: {error}") from error
        for _ in range(warm_up.count):
            try:
                backend.infer(inputs)
            except Exception as error:
                text = f"the model does not run on model_warmup {warm_up.name!r}: {first_line(error)}"
                raise ModelLoadError(text) from error


def make_inputs(warm_up: WarmUp, spec: ModelSpec, folder: Path) -> list[Array | None]:
    """The arrays of a warm-up, in the order of the contract, with the batch dimension where the model batches.

    None stands for an optional input that it leaves out.

    Raises:
        ConfigError: It does not fit the contract, or a file is missing or of another size.
        MemoryError: They are too large for this machine.
    """
    names = [tensor.name for tensor in spec.inputs]
    if unknown := [name for name in warm_up.inputs if name not in names]:
        raise ConfigError(f"the model has no input {unknown[0]!r}; it has {', '.join(map(repr, names))}")
    needed = [tensor.name for tensor in spec.inputs if not tensor.optional]
    if missing := [name for name in needed if name not in warm_up.inputs]:
        raise ConfigError(f"input {missing[0]!r} is missing; expected {', '.join(map(repr, needed))}")
    rows = (warm_up.batch_size,) if spec.batches else ()
    random = np.random.default_rng(0)  # the same in every worker and at every start
    arrays: list[Array | None] = []
    for tensor in spec.inputs:
        wanted = warm_up.inputs.get(tensor.name)
        if wanted is None:
            arrays.append(None)
            continue
        _check_fits(tensor, wanted)
        arrays.append(_make_array(wanted, (*rows, *wanted.shape), folder, random))
    return arrays


def _check_fits(tensor: TensorSpec, wanted: WarmUpInput) -> None:
    if wanted.datatype != tensor.datatype:
        raise ConfigError(f"input {tensor.name!r} has datatype {wanted.datatype}; expected {tensor.datatype}")
    fits = len(wanted.shape) == len(tensor.shape) and all(
        size in (given, ANY) for size, given in zip(tensor.shape, wanted.shape, strict=True)
    )
    if not fits:
        raise ConfigError(f"input {tensor.name!r} has dims {list(wanted.shape)}; expected {list(tensor.shape)}")


def _make_array(wanted: WarmUpInput, shape: tuple[int, ...], folder: Path, random: np.random.Generator) -> Array:
    match wanted.content:
        case "file":
            return from_raw(wanted.datatype, shape, _read(folder, wanted.file))
        case "random":
            return _random_array(wanted.datatype, shape, random)
        case "zeros" if wanted.datatype == "BYTES":
            return np.full(shape, b"", object)
    return np.zeros(shape, numpy_dtype(wanted.datatype))


def _read(folder: Path, name: str) -> bytes:
    try:
        return read_inside(folder, name, _MOST_FILE_BYTES)
    except ConfigError as error:
        raise ConfigError(f"input_data_file {folder / name} {error}") from None


def _random_array(datatype: str, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if datatype == "BYTES":
        texts = np.empty(shape, object)
        for place in np.ndindex(*shape):
            texts[place] = random.choice(_LETTERS, random.integers(1, _LONGEST_TEXT, endpoint=True)).tobytes()
        return texts
    dtype: np.dtype[Any] = numpy_dtype(datatype)
    if datatype == "BOOL":
        return random.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return (random.integers(0, _STEPS, shape) / _STEPS).astype(dtype)
