"""Tensors between numpy and the wire; the only place that knows the encoding. Runs in the server, workers and clients.

The raw encoding of a tensor is its elements in row-major order, little-endian, without padding. BYTES elements are each
preceded by their length as a 4-byte little-endian integer; that part is not in the Open Inference Protocol, it is what
Triton, MLServer and KServe do. Raw encodings have a property that batching stands on: the encoding of rows stacked
along the first dimension is the concatenation of their encodings.
"""

import struct
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from quadriga_proto.inference_pb2 import InferTensorContents

Array = npt.NDArray[Any]

#: Bytes per element by datatype. BYTES has no fixed size and is not here.
ITEM_SIZES: Final[dict[str, int]] = {
    "BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8,
    "FP16": 2, "FP32": 4, "FP64": 8, "BF16": 2,
}  # fmt: skip
DATATYPES: Final[tuple[str, ...]] = (*ITEM_SIZES, "BYTES")

_NUMPY_CODES: Final[dict[str, str]] = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BYTES": "O",
}  # fmt: skip
_DATATYPE_OF_CODE: Final[dict[str, str]] = {code.lstrip("<"): name for name, code in _NUMPY_CODES.items()}
_CODE_OF_KIND: Final[dict[str, str]] = {"b": "?", "O": "O", "S": "O", "U": "O"}

#: The one list of `InferTensorContents` that may carry a datatype. FP16 and BF16 have none: they travel raw.
CONTENTS_FIELDS: Final[dict[str, str]] = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
_LENGTH = struct.Struct("<I")


class CodecError(ValueError):
    """Bytes, contents or an array that the wire cannot carry; the message says what came and what was expected."""


def numpy_dtype(datatype: str) -> np.dtype[Any]:
    """The numpy dtype of a wire datatype; BYTES is `object` with `bytes` elements.

    Raises:
        CodecError: The datatype is not of the protocol, or it is BF16 and ml_dtypes is not installed.
    """
    if datatype == "BF16":
        return _bfloat16()
    try:
        return np.dtype(_NUMPY_CODES[datatype])
    except KeyError:
        raise CodecError(f"unknown datatype {datatype!r}; expected one of {', '.join(DATATYPES)}") from None


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The wire datatype of a numpy dtype; `object`, `S` and `U` are BYTES.

    Raises:
        CodecError: The protocol has no such datatype (complex numbers, dates, structured dtypes).
    """
    if dtype.name == "bfloat16":
        return "BF16"
    code = _CODE_OF_KIND.get(dtype.kind, f"{dtype.kind}{dtype.itemsize}")
    try:
        return _DATATYPE_OF_CODE[code]
    except KeyError:
        known = ", ".join(DATATYPES)
        raise CodecError(f"numpy dtype {dtype} has no datatype in the protocol; use one of {known}") from None


def to_raw(array: Array) -> bytes:
    """The raw encoding of an array of any datatype of the protocol; text is encoded as UTF-8."""
    datatype = datatype_of(array.dtype)
    if datatype == "BYTES":
        return join_elements(_as_bytes(element) for element in array.ravel().tolist())
    return array.astype(numpy_dtype(datatype), copy=False).tobytes()


def from_raw(datatype: str, shape: Sequence[int], raw: "bytes | memoryview[int]") -> Array:
    """An array of `shape` over raw bytes: a read-only view where `raw` is read-only, a copy only for BYTES.

    Raises:
        CodecError: The size of `raw` is not what datatype and shape need, or no array can have the shape.
    """
    count = prod(shape)
    flat: Array
    if datatype == "BYTES":
        elements = split_elements(raw, count)
        flat = np.empty(count, dtype=object)
        flat[:] = elements
    else:
        dtype = numpy_dtype(datatype)
        if len(raw) != count * dtype.itemsize:
            raise CodecError(f"{datatype} of shape {list(shape)} needs {count * dtype.itemsize} bytes, got {len(raw)}")
        flat = np.frombuffer(raw, dtype=dtype)
    try:
        return flat.reshape(shape)
    except ValueError as error:
        raise CodecError(f"{datatype} cannot have shape {list(shape)}: {error}") from None


def contents_to_raw(datatype: str, shape: Sequence[int], contents: InferTensorContents) -> bytes:
    """The raw encoding of a tensor that came as typed contents.

    Raises:
        CodecError: Another list than the datatype's is filled, or two are, or the count of elements or one of the
            values does not fit datatype and shape.
    """
    expected = CONTENTS_FIELDS.get(datatype)
    if expected is None:
        raise CodecError(f"{datatype} has no typed contents; send it in raw_input_contents")
    filled = [field.name for field, _ in contents.ListFields()]
    if any(name != expected for name in filled):
        raise CodecError(f"{datatype} is carried by contents.{expected}, got contents.{', contents.'.join(filled)}")
    values = getattr(contents, expected)
    if len(values) != prod(shape):
        raise CodecError(f"{datatype} of shape {list(shape)} needs {prod(shape)} elements, got {len(values)}")
    if datatype == "BYTES":
        return join_elements(values)
    dtype = numpy_dtype(datatype)
    try:
        return np.array(values, dtype=dtype).tobytes()
    except OverflowError:
        limits = np.iinfo(dtype)
        raise CodecError(f"contents.{expected} has a value outside {datatype}'s {limits.min} to {limits.max}") from None


def join_elements(elements: Iterable[bytes]) -> bytes:
    """The raw encoding of BYTES elements."""
    return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))


def split_elements(raw: "bytes | memoryview[int]", count: int) -> list[bytes]:
    """The BYTES elements of a raw encoding.

    Raises:
        CodecError: `raw` does not hold exactly `count` whole elements.
    """
    ends = element_ends(raw, count)
    starts = [0, *ends[:-1]] if ends else []
    return [bytes(raw[start + _LENGTH.size : end]) for start, end in zip(starts, ends, strict=True)]


def element_ends(raw: "bytes | memoryview[int]", count: int) -> list[int]:
    """Where each of `count` BYTES elements ends in a raw encoding, in bytes from its start.

    Raises:
        CodecError: An element is cut off, or more or fewer than `count` are there.
    """
    ends: list[int] = []
    at, size = 0, len(raw)
    while at < size:
        if len(ends) == count:
            raise CodecError(f"more than the {count} BYTES elements expected: {size - at} bytes are left over")
        if size - at < _LENGTH.size:
            raise CodecError(f"BYTES element {len(ends)} is cut off: {size - at} of its 4 length bytes are there")
        at += _LENGTH.size + _LENGTH.unpack_from(raw, at)[0]
        if at > size:
            raise CodecError(f"BYTES element {len(ends)} is cut off: its length asks for {at - size} more bytes")
        ends.append(at)
    if len(ends) != count:
        raise CodecError(f"expected {count} BYTES elements, got {len(ends)}")
    return ends


def _as_bytes(element: object) -> bytes:
    if isinstance(element, bytes):
        return element
    if isinstance(element, str):
        try:
            return element.encode()
        except UnicodeEncodeError as error:
            raise CodecError(f"a text of a BYTES array is not valid Unicode: {error}") from None
    raise CodecError(f"a BYTES array holds bytes or str, got {type(element).__name__}")


def _bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError:
        raise CodecError("BF16 needs the package ml_dtypes: pip install ml_dtypes") from None
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype
