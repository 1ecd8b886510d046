"""The classification extension: an output's scores as the texts of its top classes. Pure; server process.

The texts are Triton's: "value:index" or "value:index:label", floats with six decimals. Only requests that ask for it
pay for it.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from quadriga.errors import InvalidInput
from quadriga_proto.codec import join_elements, numpy_dtype

#: Datatypes that can be ranked; Triton ranks no others.
RANKED: Final = ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64")
#: Elements of a row, at most.
MOST_ELEMENTS: Final = 1_000_000
#: Classes of all rows together, at most. Each takes two microseconds, in which the server does nothing else.
MOST_CLASSES: Final = 50_000

_Row = npt.NDArray[Any]


def classify(
    datatype: str, shape: Sequence[int], raw: "memoryview[int]", batches: bool, count: int, labels: Sequence[str]
) -> tuple[tuple[int, ...], bytes]:
    """Shape and raw encoding of the BYTES tensor that stands for an output.

    Args:
        datatype: Of the output, one of `RANKED`.
        shape: Whole.
        raw: Its raw encoding.
        batches: Whether the first dimension is rows, each of which is ranked by itself.
        count: How many classes are wanted.
        labels: Class names in index order; indices beyond have none.

    Raises:
        InvalidInput: A row has more than `MOST_ELEMENTS`, or there are more than `MOST_CLASSES`.
    """
    values = np.frombuffer(raw, numpy_dtype(datatype))
    rows = values.reshape(shape[0] if batches else 1, -1) if values.size else values.reshape(_empty(shape, batches))
    elements = rows.shape[1]
    if elements > MOST_ELEMENTS:
        raise InvalidInput(too_large(elements))
    count = min(count, elements)
    if len(rows) * count > MOST_CLASSES:
        raise InvalidInput(
            f"classification: {count} classes of each of {len(rows)} rows; expected at most {MOST_CLASSES} together"
        )
    texts = [_text(row[index], index, labels) for row in rows for index in _top(row, count).tolist()]
    return ((len(rows), count) if batches else (count,)), join_elements(texts)


def too_large(elements: int) -> str:
    """What is said of rows that are too long to be ranked."""
    return f"classification of {elements} elements; expected at most {MOST_ELEMENTS} in a row"


def _empty(shape: Sequence[int], batches: bool) -> tuple[int, int]:
    return (shape[0] if batches else 1), 0


def _top(row: _Row, count: int) -> npt.NDArray[np.int64]:
    """Indices of the `count` largest, the largest first; of equals the lower index first, and nan is below all."""
    if not count:
        return np.empty(0, np.int64)
    if row.dtype.kind == "f":
        row = np.where(np.isnan(row), -np.inf, row)
    # Only what may be among them is sorted: a row can have a million elements.
    candidates = np.flatnonzero(row >= np.partition(row, -count)[-count])
    # Reversed, sorted upwards without changing the order of equals, and reversed back.
    order = np.argsort(row[candidates][::-1], kind="stable")[::-1]
    top: npt.NDArray[np.int64] = candidates[len(candidates) - 1 - order][:count]
    return top


def _text(value: Any, index: int, labels: Sequence[str]) -> bytes:  # noqa: ANN401 - a numpy scalar
    number = f"{value:.6f}" if value.dtype.kind == "f" else str(int(value))
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{number}:{index}{label}".encode()
