"""Tensors of the kit: what to send to an input, how to put it into a request, and what came back.

Tensors are kept as their raw encodings, which compare exactly for every datatype and need no package for any.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from quadriga_client.conformance.outcomes import Failed
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import (
    CONTENTS_FIELDS,
    DATATYPES,
    ITEM_SIZES,
    Array,
    CodecError,
    contents_to_raw,
    from_raw,
    numpy_dtype,
    split_elements,
    to_raw,
)

ANY: Final = -1
#: Elements along a dimension that a model leaves open.
OPEN_SIZE: Final = 3
_TEXTS: Final = ("", "a", "grün", "0", "漢字", "x" * 300, "line\nbreak", "tab\t")
#: Values that show a wrong size, sign or byte order, by datatype; integers take their limits.
_FLOATS: Final = (0.5, -1.25, 0.0, 3.0, -0.0078125, 96.0)
#: Of BF16: the upper half of the same numbers as FP32.
_BFLOAT_SHIFT: Final = 16


@dataclass(frozen=True, slots=True)
class Spec:
    """A tensor as ModelMetadata describes it; the shape with the batch dimension, -1 where open."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def sized(self, *, rows: int = 1, size: int = OPEN_SIZE) -> tuple[int, ...]:
        """A shape that fits: an open first dimension becomes `rows`, other open ones `size`."""
        first = tuple(rows if dimension == ANY else dimension for dimension in self.shape[:1])
        return first + tuple(size if dimension == ANY else dimension for dimension in self.shape[1:])


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor on the wire, in its raw encoding."""

    datatype: str
    shape: tuple[int, ...]
    raw: bytes

    def array(self) -> Array:
        """The elements.

        Raises:
            CodecError: They are BF16, and ml_dtypes is not installed.
        """
        return from_raw(self.datatype, self.shape, self.raw)

    def __str__(self) -> str:
        """Datatype, shape and the first elements, for messages of the kit."""
        if self.datatype == "BYTES":
            shown = str([element[:12] for element in split_elements(self.raw, prod(self.shape))[:4]])
        else:
            shown = self.raw[:24].hex() if self.datatype == "BF16" else str(self.array().ravel()[:6].tolist())
        return f"{self.datatype}{list(self.shape)} {shown}"


def spec_of(metadata: pb.ModelMetadataResponse.TensorMetadata) -> Spec:
    """An input or output of a model's metadata."""
    return Spec(metadata.name, metadata.datatype, tuple(metadata.shape))


def example(datatype: str, shape: Sequence[int], *, seed: int = 0) -> Tensor:
    """A tensor whose values are told apart by position and by `seed`, with the datatype's limits among them."""
    count = prod(shape)
    places = (np.arange(count) + seed) % 97
    if datatype == "BYTES":
        texts = np.array([_TEXTS[place % len(_TEXTS)] + str(place) * (seed > 0) for place in places], dtype=object)
        return Tensor(datatype, tuple(shape), to_raw(texts))
    if datatype == "BF16":
        halves = np.resize(np.array(_FLOATS, "<f4"), count).view("<u4") >> _BFLOAT_SHIFT
        return Tensor(datatype, tuple(shape), (halves.astype("<u2") + (seed % 8)).astype("<u2").tobytes())
    dtype = numpy_dtype(datatype)
    if dtype.kind == "b":
        values = (places % 3) == 0
    elif dtype.kind == "f":
        values = np.resize(np.array(_FLOATS, dtype), count) + seed
    else:
        limits = np.iinfo(dtype)
        low, high = int(limits.min), int(limits.max)
        values = np.array([high - place if place % 2 else low + place for place in places.tolist()], dtype=dtype)
    return Tensor(datatype, tuple(shape), to_raw(np.asarray(values, dtype=dtype)))


def infer_request(
    model: str,
    tensors: Mapping[str, Tensor],
    *,
    typed: bool = False,
    version: str = "",
    id: str = "",
    outputs: Iterable[str] = (),
) -> pb.ModelInferRequest:
    """A request with the tensors in their order, in raw contents or `typed` ones.

    Raises:
        ValueError: A datatype that only travels raw is to be typed.
    """
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=id)
    for name, tensor in tensors.items():
        sent = request.inputs.add(name=name, datatype=tensor.datatype, shape=tensor.shape)
        if typed:
            _fill(sent.contents, tensor)
        else:
            request.raw_input_contents.append(tensor.raw)
    for output in outputs:
        request.outputs.add(name=output)
    return request


def outputs_of(response: pb.ModelInferResponse) -> dict[str, Tensor]:
    """The outputs by name, whichever of its two representations the server chose.

    Raises:
        Failed: The representation breaks the protocol's rules.
    """
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise Failed(f"{len(raw)} raw_output_contents for {len(response.outputs)} outputs; expected one for each")
    found: dict[str, Tensor] = {}
    for position, output in enumerate(response.outputs):
        if output.datatype not in DATATYPES:
            raise Failed(f"output {output.name!r} has datatype {output.datatype!r}; expected one of the protocol's")
        shape = tuple(output.shape)
        if any(size < 0 for size in shape):
            raise Failed(f"output {output.name!r} has shape {list(shape)}; expected sizes from 0")
        try:
            data = bytes(raw[position]) if raw else contents_to_raw(output.datatype, shape, output.contents)
            _check_size(output.datatype, shape, data)
        except CodecError as error:
            raise Failed(f"output {output.name!r}: {error}") from None
        found[output.name] = Tensor(output.datatype, shape, data)
    return found


def expect_same(what: str, came: Tensor | None, sent: Tensor) -> None:
    """Holds a tensor to be what was sent.

    Raises:
        Failed: It is another, or none.
    """
    if came != sent:
        raise Failed(f"{what} is {came or 'not there'}; expected {sent}")


def _check_size(datatype: str, shape: Sequence[int], data: bytes) -> None:
    if datatype == "BYTES":
        split_elements(data, prod(shape))
    elif len(data) != prod(shape) * ITEM_SIZES[datatype]:
        needed = prod(shape) * ITEM_SIZES[datatype]
        raise CodecError(f"{len(data)} bytes; {datatype} of shape {list(shape)} needs {needed}")


def _fill(contents: pb.InferTensorContents, tensor: Tensor) -> None:
    field = CONTENTS_FIELDS.get(tensor.datatype)
    if field is None:
        raise ValueError(f"{tensor.datatype} has no typed contents")
    contents.SetInParent()
    getattr(contents, field).extend(tensor.array().ravel().tolist())
