"""Whether a ModelInfer request fits the model's contract. Runs in the server process, once per request.

Hot path: an input that is right costs one look-up and a few comparisons. Everything that explains a wrong one is in
functions of its own, after the first comparison has failed.
"""

from math import prod
from typing import Final, NamedTuple, NoReturn

import msgspec

from quadriga.errors import InvalidInput, Unsupported, shown
from quadriga.specs import ANY, ModelSpec
from quadriga_proto.codec import ITEM_SIZES, CodecError, contents_to_raw, element_ends
from quadriga_proto.conventions import MAX_MESSAGE_BYTES
from quadriga_proto.inference_pb2 import ModelInferRequest

#: Encoded InferInputTensors that a validator remembers, and the longest of them in bytes: a bound on its memory.
_MOST_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 256
_SHARED_MEMORY: Final = "shared_memory_"

_InputTensor = ModelInferRequest.InferInputTensor
_RequestedOutput = ModelInferRequest.InferRequestedOutputTensor


class CheckedInputs(msgspec.Struct, frozen=True):
    """The inputs of a request that fits its model, in the model's order of inputs.

    Attributes:
        rows: Along the batch dimension; 1 where the model does not batch.
        shapes: Whole, with the batch dimension.
        data: Raw encodings.
    """

    rows: int
    shapes: tuple[tuple[int, ...], ...]
    data: "tuple[bytes | memoryview[int], ...]"


class _Described(NamedTuple):
    """What an input says of itself, known to fit the model.

    Attributes:
        place: In the model's order of inputs.
        shape: Whole, with the batch dimension.
        rows: Along the batch dimension; 1 where the model does not batch.
        size: Bytes of its raw encoding; None for BYTES, whose elements say.
    """

    place: int
    shape: tuple[int, ...]
    rows: int
    size: int | None


class RequestValidator:
    """Checks the requests of one version of a model."""

    def __init__(self, name: str, spec: ModelSpec, max_batch_size: int) -> None:
        """Prepares what every request is compared with.

        Args:
            name: Of the model, for messages.
            spec: What the model takes and gives.
            max_batch_size: Most rows of a request; above 0 exactly when `spec.batches`, as `BatchPolicy` has it.
        """
        if spec.batches != (max_batch_size > 0):
            raise ValueError(f"max_batch_size {max_batch_size} for a model with batches={spec.batches}")
        self._name = name
        self._spec = spec
        self._max_rows = max_batch_size
        self._places = {tensor.name: place for place, tensor in enumerate(spec.inputs)}
        self._outputs = {tensor.name: index for index, tensor in enumerate(spec.outputs)}
        self._all_outputs = tuple(range(len(spec.outputs)))
        # Clients send the same few names, datatypes and shapes again and again: an encoded InferInputTensor that was
        # right once is right again, and one look-up is a third of the price of reading its fields through protobuf.
        self._known: dict[bytes, _Described] = {}

    def inputs(self, request: ModelInferRequest) -> CheckedInputs:
        """The request's inputs, known to fit the model.

        Raises:
            InvalidInput: They do not; the message says what came and what was expected.
            Unsupported: They are in client shared memory.
        """
        tensors, raw = request.inputs, request.raw_input_contents
        count = len(self._places)
        if len(tensors) != count or (raw and len(raw) != count):
            self._refuse_set(request)
        rows = 0
        shapes: list[tuple[int, ...]] = [()] * count
        data: list[bytes | None] = [None] * count
        for position, tensor in enumerate(tensors):
            described = self._known.get(tensor.SerializeToString()) if raw else None
            if described is None:
                described = self._describe(request, tensor)
            place, shape, its_rows, size = described
            if data[place] is not None:
                self._refuse_set(request)
            if its_rows != rows:
                if rows:
                    self._refuse(place, f"has {its_rows} rows and another input {rows}; expected as many in each")
                rows = its_rows
            content = raw[position] if raw else self._typed(place, tensor, shape)
            if len(content) != size:
                self._check_size(place, shape, size, content)
            shapes[place] = shape
            data[place] = content
        return CheckedInputs(rows or 1, tuple(shapes), tuple(data))  # type: ignore[arg-type]  # every place is filled

    def outputs(self, request: ModelInferRequest) -> tuple[int, ...]:
        """Indices of the outputs that the request wants, in the model's order; all of them when it names none.

        Raises:
            InvalidInput: An output is unknown or named twice.
            Unsupported: An output is to be classified, or to be written to client shared memory.
        """
        wanted = request.outputs
        if not wanted:
            return self._all_outputs
        indices: set[int] = set()
        for output in wanted:
            index = self._outputs.get(output.name)
            if index is None:
                known = ", ".join(map(repr, self._outputs))
                raise InvalidInput(f"model {self._name!r} has no output {shown(output.name)}; expected some of {known}")
            if index in indices:
                raise InvalidInput(f"model {self._name!r}: output {output.name!r} is requested twice; expected it once")
            if output.parameters:
                self._check_parameters("output", output)
            indices.add(index)
        return tuple(sorted(indices))

    def _describe(self, request: ModelInferRequest, tensor: _InputTensor) -> _Described:
        """Checks everything about an input but its data; remembers what was right."""
        place = self._places.get(tensor.name)
        if place is None:
            self._refuse_set(request)
        spec = self._spec.inputs[place]
        self._check_parameters("input", tensor)
        if tensor.datatype != spec.datatype:
            self._refuse(place, f"has datatype {shown(tensor.datatype)}; expected {spec.datatype}")
        shape = tuple(tensor.shape)
        self._check_shape(place, shape)
        if not request.raw_input_contents:
            return _described(place, spec.datatype, shape, self._spec.batches)
        if tensor.HasField("contents"):
            self._refuse(place, "has contents in a request with raw_input_contents; expected one of the two")
        described = _described(place, spec.datatype, shape, self._spec.batches)
        encoded = tensor.SerializeToString()
        if len(self._known) < _MOST_KNOWN and len(encoded) <= _LONGEST_KNOWN:
            self._known[encoded] = described
        return described

    def _typed(self, place: int, tensor: _InputTensor, shape: tuple[int, ...]) -> bytes:
        """The raw encoding of an input that came as typed contents."""
        if not tensor.HasField("contents"):
            self._refuse(place, "has no data; expected an entry of raw_input_contents, or contents")
        try:
            return contents_to_raw(tensor.datatype, shape, tensor.contents)
        except CodecError as error:
            self._refuse(place, f"has contents that do not fit: {error}")

    def _check_shape(self, place: int, shape: tuple[int, ...]) -> None:
        spec = self._spec.inputs[place]
        whole = [ANY, *spec.shape] if self._spec.batches else list(spec.shape)
        expected = f"expected {whole}" + (", whose first dimension is the rows" if self._spec.batches else "")
        came = shown(list(shape))
        if self._spec.batches and not shape:
            self._refuse(place, f"has no dimensions; {expected}")
        if any(size < 0 for size in shape):
            self._refuse(place, f"has shape {came}; {expected}, with every size given")
        if len(shape) != len(whole) or any(
            wanted not in (ANY, size) for wanted, size in zip(whole, shape, strict=True)
        ):
            self._refuse(place, f"has shape {came}; {expected}")
        if self._spec.batches and not 1 <= shape[0] <= self._max_rows:
            self._refuse(place, f"has {shape[0]} rows; expected 1 to {self._max_rows} in a request")
        # Zeros are left out: numpy refuses a shape whose other sizes are beyond all memory.
        if prod(size or 1 for size in shape) * _least_item(spec.datatype) > MAX_MESSAGE_BYTES:
            limit = f"expected at most {MAX_MESSAGE_BYTES} bytes, the most that a message carries"
            self._refuse(place, f"has shape {came}, too large for {spec.datatype}; {limit}")

    def _check_size(self, place: int, shape: tuple[int, ...], size: int | None, content: bytes) -> None:
        datatype = self._spec.inputs[place].datatype
        if size is not None:
            self._refuse(place, f"has {len(content)} bytes; expected {size} for {datatype} of shape {list(shape)}")
        try:
            element_ends(content, prod(shape))
        except CodecError as error:
            self._refuse(place, f"of shape {list(shape)} has wrong data: {error}")

    def _check_parameters(self, kind: str, tensor: "_InputTensor | _RequestedOutput") -> None:
        for key in tensor.parameters:
            if key.startswith(_SHARED_MEMORY):
                raise Unsupported(
                    f"model {self._name!r}: {kind} {shown(tensor.name)} has the parameter {shown(key)}, but client "
                    "shared memory is off; send and receive tensors in the messages"
                )
            if key == "classification" and kind == "output":
                raise Unsupported(
                    f"model {self._name!r}: classification of output {tensor.name!r} is not served yet; "
                    "use the client's classify"
                )

    def _refuse_set(self, request: ModelInferRequest) -> NoReturn:
        """Says why these are not the model's inputs, each once, each with its data."""
        came = [tensor.name for tensor in request.inputs]
        where = f"model {self._name!r}:"
        expected = ", ".join(map(repr, self._places))
        for name in came:
            if name not in self._places:
                raise InvalidInput(f"{where} unknown input {shown(name)}; expected {expected}")
            if came.count(name) > 1:
                raise InvalidInput(
                    f"{where} input {name!r} came {came.count(name)} times; expected {expected}, each once"
                )
        missing = ", ".join(repr(name) for name in self._places if name not in came)
        if missing:
            raise InvalidInput(f"{where} missing {missing}; got {len(came)} inputs, expected {expected}")
        for tensor in request.inputs:
            self._check_parameters("input", tensor)
        entries = len(request.raw_input_contents)
        raise InvalidInput(
            f"{where} raw_input_contents has {entries} entries for {len(came)} inputs; expected one for each, or none "
            "and contents in every input"
        )

    def _refuse(self, place: int, problem: str) -> NoReturn:
        raise InvalidInput(f"model {self._name!r}: input {self._spec.inputs[place].name!r} {problem}")


def _described(place: int, datatype: str, shape: tuple[int, ...], batches: bool) -> _Described:
    size = prod(shape) * ITEM_SIZES[datatype] if datatype in ITEM_SIZES else None
    return _Described(place, shape, shape[0] if batches else 1, size)


def _least_item(datatype: str) -> int:
    """Bytes that one element needs at least: those of its length for BYTES."""
    return ITEM_SIZES.get(datatype, 4)
