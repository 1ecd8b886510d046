"""Comparing an exported file with its source. Runs in zoo jobs, one framework each.

A file is read back by the very backend that serves it, so what is compared is what users will get.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from quadriga_zoo.errors import ExportError

#: Largest absolute difference between a file's outputs and its source's.
TOLERANCE: Final = 1e-4
#: Rows per comparison run: an odd size besides the usual ones.
_ROWS: Final = 23

Array = npt.NDArray[Any]


class Reference(NamedTuple):
    """What the source network computes.

    Attributes:
        inputs: Per input, [n, ...].
        outputs: Per output, [n, ...].
        labels: The right class of each row, [n]; empty where nobody knows.
        dataset: Whose images the inputs are; empty for random numbers.
    """

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    labels: Array
    dataset: str

    def save(self, path: Path) -> None:
        """Writes an .npz file."""
        arrays = {f"input_{index}": array for index, array in enumerate(self.inputs)}
        arrays |= {f"output_{index}": array for index, array in enumerate(self.outputs)}
        np.savez(path, allow_pickle=False, labels=self.labels, dataset=np.array(self.dataset), **arrays)

    @classmethod
    def load(cls, path: Path) -> "Reference":
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            inputs = tuple(file[f"input_{i}"] for i in range(sum(key.startswith("input_") for key in file.files)))
            outputs = tuple(file[f"output_{i}"] for i in range(sum(key.startswith("output_") for key in file.files)))
            return cls(inputs, outputs, file["labels"], str(file["dataset"]))


def compare(file: Path, backend_name: str, reference: Reference) -> dict[str, Any]:
    """Runs a file on its reference's inputs.

    Returns:
        `findings`, which export.json holds.

    Raises:
        ExportError: It cannot be loaded, its outputs have other shapes, or they differ by more than `TOLERANCE`.
    """
    outputs = run(file, backend_name, reference.inputs)
    found = findings(outputs, reference)
    difference, rows = found["largest_difference"], found["rows"]
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{file.name} differs from its source by {difference:.3g} on {rows} inputs; at most {TOLERANCE:g} "
            "is allowed"
        )
    return found


def run(file: Path, backend_name: str, inputs: Sequence[Array]) -> list[Array]:
    """A file's outputs, computed by the backend that serves it.

    Raises:
        ExportError: It cannot be loaded.
    """
    from quadriga.backends import import_backend
    from quadriga.backends.base import ModelLoadError, ModelSource

    backend = import_backend(backend_name)()
    source = ModelSource(path=str(file), threads=2)
    try:
        backend.prepare(source)
        backend.load(source)
    except ModelLoadError as error:
        raise ExportError(f"the exported file cannot be loaded: {error}") from error
    parts = [
        [np.array(output) for output in backend.infer([array[start : start + _ROWS] for array in inputs])]
        for start in range(0, len(inputs[0]), _ROWS)
    ]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def findings(outputs: Sequence[Array], reference: Reference) -> dict[str, Any]:
    """What a comparison found.

    Returns:
        largest_difference, over all outputs; compared_on, "test images" or "random numbers"; dataset, of images; rows;
        top1_agreement, the share of rows with the first output's largest value in the same place; accuracy, where
        labels are known.
    """
    found: dict[str, Any] = {"largest_difference": largest_difference(outputs, reference.outputs)}
    found["compared_on"] = "test images" if reference.dataset else "random numbers"
    if reference.dataset:
        found["dataset"] = reference.dataset
    found["rows"] = len(reference.inputs[0])
    classes = top1(outputs[0])
    found["top1_agreement"] = float((classes == top1(reference.outputs[0])).mean())
    if len(reference.labels):
        found["accuracy"] = float((classes == reference.labels).mean())
    return found


def top1(output: Array) -> Array:
    """Where each row's largest value is, [n]."""
    return np.asarray(output.reshape(len(output), -1).argmax(axis=1))


def largest_difference(outputs: Sequence[Array], expected: Sequence[Array]) -> float:
    """Over all elements of all outputs; NaN where one is not a number.

    Raises:
        ExportError: They are of other number or shapes.
    """
    shapes, wanted = [array.shape for array in outputs], [array.shape for array in expected]
    if shapes != wanted:
        raise ExportError(f"the exported file's outputs have shapes {shapes}; the source's have {wanted}")
    return max(float(np.abs(a.astype(np.float64) - b).max(initial=0.0)) for a, b in zip(outputs, expected, strict=True))
