"""ONNX Runtime's own values, for tensors that it does not exchange with numpy: bfloat16. Runs in workers."""

import ctypes
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from quadriga_proto.codec import Array, numpy_dtype

#: TensorProto.BFLOAT16 of the ONNX format.
_BFLOAT16: Final = 16


def run(runtime: Any, session: Any, outputs: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:  # noqa: ANN401
    """`session.run` for models that take or give bfloat16, on the CPU's memory.

    Args:
        runtime: The module onnxruntime.
        session: An InferenceSession.
        outputs: Names of those that are wanted.
        feed: Inputs by name.
    """
    values = {name: _value(runtime, array) for name, array in feed.items()}
    return [_array(value) for value in session.run_with_ort_values(list(outputs), values)]


def _value(runtime: Any, array: Array) -> Any:  # noqa: ANN401 - the module, an OrtValue
    if array.dtype.kind != "V":
        return runtime.OrtValue.ortvalue_from_numpy(array)
    return runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _BFLOAT16)


def _array(value: Any) -> Array:  # noqa: ANN401 - an OrtValue
    array: Array
    if value.element_type() != _BFLOAT16:
        array = value.numpy()
        return array
    shape = tuple(value.shape())
    # Copied, since the memory is the value's.
    raw = ctypes.string_at(value.data_ptr(), 2 * prod(shape)) if prod(shape) else b""
    return np.frombuffer(raw, numpy_dtype("BF16")).reshape(shape)
