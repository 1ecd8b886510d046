"""From what a model file says of its tensors, and what the configuration says, to the model's contract. In workers.

Every backend with a real format ends its `load` here, so that the rules are the same for all.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from quadriga.backends.base import ModelLoadError, ModelSource
from quadriga.specs import ANY, ModelSpec, TensorSpec

#: What a file's first bytes say it is.
_SIGNATURES: Final = (
    (b"PK\x03\x04", "a zip archive (a .keras or TorchScript file?)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (an old Keras .h5?)"),
    (b"\x80\x02", "a pickle (a PyTorch state dict?)"),
    (b"\x08", "a protocol buffer (an ONNX file?)"),
)
_ZIP: Final = "zip archive"


def settle(
    source: ModelSource, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], labels: Sequence[str] = ()
) -> ModelSpec:
    """The contract.

    The model batches when the configuration says so, or when it says nothing and every tensor's first dimension is open.

    Args:
        source: With what the configuration declares.
        inputs: Whole shapes as the file has them, -1 where open.
        outputs: Likewise.
        labels: Class names in the file.

    Raises:
        ModelLoadError: The configuration contradicts the file.
    """
    if not inputs or not outputs:
        raise ModelLoadError(
            f"{source.path} has {len(inputs)} inputs and {len(outputs)} outputs; expected some of both"
        )
    batchable = all(tensor.shape[:1] == (ANY,) for tensor in (*inputs, *outputs))
    batches = batchable if source.batches is None else source.batches
    if batches and not batchable:
        fixed = next(tensor for tensor in (*inputs, *outputs) if tensor.shape[:1] != (ANY,))
        raise ModelLoadError(
            f"max_batch_size is above 0, but {fixed.name!r} of {source.path} has shape {list(fixed.shape)} with no open "
            "first dimension; set max_batch_size to 0 or export the model with a dynamic batch"
        )
    return ModelSpec(
        inputs=_agree(source, "input", _rows(inputs, batches), source.inputs),
        outputs=_agree(source, "output", _rows(outputs, batches), source.outputs),
        batches=batches,
        labels=tuple(labels),
    )


def _rows(tensors: Sequence[TensorSpec], batches: bool) -> list[TensorSpec]:
    if not batches:
        return list(tensors)
    return [TensorSpec(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape[1:]) for tensor in tensors]


def _agree(
    source: ModelSource, kind: str, found: Sequence[TensorSpec], declared: Sequence[TensorSpec]
) -> tuple[TensorSpec, ...]:
    """The file's tensors, with open dimensions narrowed to what the configuration declares."""
    if not declared:
        return tuple(found)
    by_name = {tensor.name: tensor for tensor in declared}
    if set(by_name) != {tensor.name for tensor in found}:
        raise ModelLoadError(
            f"the configuration declares {kind}s {', '.join(sorted(by_name))}, but {source.path} has "
            f"{', '.join(sorted(tensor.name for tensor in found))}"
        )
    for tensor in found:
        wanted = by_name[tensor.name]
        fits = len(tensor.shape) == len(wanted.shape) and all(
            ANY in (have, want) or have == want for have, want in zip(tensor.shape, wanted.shape, strict=True)
        )
        if tensor.datatype != wanted.datatype or not fits:
            raise ModelLoadError(
                f"the configuration declares {kind} {tensor.name!r} as {wanted.datatype}{list(wanted.shape)}, but "
                f"{source.path} has {tensor.datatype}{list(tensor.shape)}"
            )
    return tuple(by_name[tensor.name] for tensor in found)


def expect_file(source: ModelSource, format_name: str, *, zipped: bool) -> None:
    """Makes sure that a model file is what its name says, as far as its first bytes tell.

    Raises:
        ModelLoadError: It is not there, empty, a folder, or something else.
    """
    path = source.file
    if path.is_dir():
        raise ModelLoadError(f"{path} is a folder{_saved_model(path)}; expected {format_name}")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise ModelLoadError(f"{path} is empty; expected {format_name}")
    found = next((name for magic, name in _SIGNATURES if start.startswith(magic)), "of no known format")
    if (_ZIP in found) != zipped:
        raise ModelLoadError(f"{path} is {found}; expected {format_name}")
    if zipped and not zipfile.is_zipfile(path):
        raise ModelLoadError(f"{path} is damaged: the zip archive's directory, at its end, is missing; copy it again")


def _saved_model(path: Path) -> str:
    return " with a SavedModel in it" if (path / "saved_model.pb").is_file() else ""


def first_line(error: BaseException) -> str:
    """A framework's error in one line: the first one that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
