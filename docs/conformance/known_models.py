"""The kit's models in numpy, for servers that run Python models. Runs in a peer's process; needs numpy alone.

Names, tensors and behaviour are those of `quadriga zoo conformance`, but for the classifier's weights.
"""

from typing import Any

import numpy as np

#: Without BF16, which numpy does not have.
DTYPES: dict[str, Any] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "FP32": np.float32,
    "FP64": np.float64, "BYTES": np.object_,
}  # fmt: skip
CLASSES = 7

#: Name and datatype of a tensor, and its shape with the rows.
Tensor = tuple[str, str, list[int]]
#: Model -> inputs and outputs.
MODELS: dict[str, tuple[list[Tensor], list[Tensor]]] = {
    f"conformance_echo_{datatype.lower()}": ([("x", datatype, [-1, -1])], [("y", datatype, [-1, -1])])
    for datatype in DTYPES
}
MODELS["conformance_pair"] = (
    [("a", "FP32", [-1, -1]), ("b", "FP32", [-1, -1])],
    [("a_again", "FP32", [-1, -1]), ("b_again", "FP32", [-1, -1])],
)
MODELS["conformance_add"] = (
    [("a", "FP32", [-1, 4]), ("b", "FP32", [-1, 4])],
    [("sum", "FP32", [-1, 4]), ("difference", "FP32", [-1, 4])],
)
MODELS["conformance_image"] = ([("image", "FP32", [-1, 32, 32, 3])], [("scores", "FP32", [-1, CLASSES])])


def compute(model: str, arrays: list[Any]) -> list[Any]:
    """The outputs of a model, in its order, for its inputs in theirs."""
    if model == "conformance_add":
        return [arrays[0] + arrays[1], arrays[0] - arrays[1]]
    if model == "conformance_image":
        means = arrays[0].reshape(len(arrays[0]), -1).mean(axis=1, keepdims=True)
        return [np.sin(means * np.arange(1, CLASSES + 1)).astype(np.float32)]
    return arrays
