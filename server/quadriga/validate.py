"""Whether the inputs of a ModelInfer request fit the model's contract. Runs in the server process, once per request.

Hot path: an input that is right costs one look-up and a few comparisons. Everything that explains a wrong one is in
functions of its own, after the first comparison has failed.
"""

from collections.abc import Sequence
from math import prod
from typing import Final, NamedTuple, NoReturn

import msgspec

from quadriga.client_memory import ClientMemory, Place, place_of
from quadriga.errors import InvalidInput, shown
from quadriga.specs import ANY, ModelSpec
from quadriga_proto.codec import ITEM_SIZES, CodecError, contents_to_raw, element_ends
from quadriga_proto.conventions import MAX_MESSAGE_BYTES
from quadriga_proto.inference_pb2 import ModelInferRequest

#: Encoded InferInputTensors that a validator remembers, and the longest of them in bytes: a bound on its memory.
_MOST_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 256

_InputTensor = ModelInferRequest.InferInputTensor


class CheckedInputs(msgspec.Struct, frozen=True):
    """The inputs of a request that fits its model, in the model's order of inputs.

    Attributes:
        rows: Along the batch dimension; 1 where the model does not batch.
        shapes: Whole, with the batch dimension; None for an input that is left out.
        data: Raw encodings; None likewise.
    """

    rows: int
    shapes: tuple[tuple[int, ...] | None, ...]
    data: tuple[bytes | None, ...]


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
    """Checks the inputs of requests to one version of a model."""

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
        self._required = [tensor.name for tensor in spec.inputs if not tensor.optional]
        # Clients send the same few names, datatypes and shapes again and again: an encoded InferInputTensor that was
        # right once is right again, and one look-up is a third of the price of reading its fields through protobuf.
        self._known: dict[bytes, _Described] = {}

    def inputs(self, request: ModelInferRequest, memory: ClientMemory | None = None) -> CheckedInputs:
        """The request's inputs, known to fit the model.

        Args:
            request: As it came.
            memory: Regions in which inputs may lie; None: client shared memory is off.

        Raises:
            InvalidInput: They do not; the message says what came and what was expected.
            RegionNotFound: One is in a region of client shared memory that is not registered.
            Unsupported: One is in client shared memory, which is off.
        """
        tensors, raw = request.inputs, request.raw_input_contents
        count = len(self._places)
        if len(tensors) != count:
            self._expect_required(request)
        all_raw = len(raw) == len(tensors)
        sources = raw if all_raw else self._sources(request, memory)
        rows = 0
        shapes: list[tuple[int, ...] | None] = [None] * count
        data: list[bytes | None] = [None] * count
        for position, tensor in enumerate(tensors):
            described = self._known.get(tensor.SerializeToString()) if all_raw else None
            if described is None:
                described = self._describe(tensor, memory, all_raw)
            place, shape, its_rows, size = described
            if data[place] is not None:
                self._refuse_set(request)
            if its_rows != rows:
                if rows:
                    self._refuse(place, f"has {its_rows} rows and another input {rows}; expected as many in each")
                rows = its_rows
            source = sources[position]
            content = source if isinstance(source, bytes) else self._content(place, tensor, described, source)
            if len(content) != size:
                self._check_size(place, shape, size, content)
            shapes[place] = shape
            data[place] = content
        return CheckedInputs(rows or 1, tuple(shapes), tuple(data))

    def _sources(self, request: ModelInferRequest, memory: ClientMemory | None) -> "Sequence[bytes | Place | None]":
        """Where the data of each input is: raw, in shared memory, or (None) in typed contents."""
        places = [
            place_of(f"model {self._name!r}: input {shown(tensor.name)}", tensor.parameters, memory)
            if tensor.parameters
            else None
            for tensor in request.inputs
        ]
        raw = request.raw_input_contents
        if not raw:
            return places
        if len(raw) != places.count(None):
            self._refuse_set(request)
        entries = iter(raw)
        return [next(entries) if place is None else place for place in places]

    def _describe(self, tensor: _InputTensor, memory: ClientMemory | None, all_raw: bool) -> _Described:
        """Checks everything about an input but its data; remembers what was right in a request of raw data alone."""
        place = self._places.get(tensor.name)
        if place is None:
            self._refuse_name(tensor.name)
        spec = self._spec.inputs[place]
        if tensor.datatype != spec.datatype:
            self._refuse(place, f"has datatype {shown(tensor.datatype)}; expected {spec.datatype}")
        shape = tuple(tensor.shape)
        self._check_shape(place, shape)
        described = _described(place, spec.datatype, shape, self._spec.batches)
        if not all_raw:
            return described
        if tensor.parameters and place_of(self._input(place), tensor.parameters, memory) is not None:
            self._refuse(place, "is in shared memory and has an entry of raw_input_contents; expected one of the two")
        if tensor.HasField("contents"):
            self._refuse(place, "has contents in a request with raw_input_contents; expected one of the two")
        encoded = tensor.SerializeToString()
        if len(self._known) < _MOST_KNOWN and len(encoded) <= _LONGEST_KNOWN:
            self._known[encoded] = described
        return described

    def _content(self, place: int, tensor: _InputTensor, described: _Described, source: Place | None) -> bytes:
        """The raw encoding of an input that is in shared memory, or came as typed contents."""
        if source is not None:
            if tensor.HasField("contents"):
                self._refuse(place, "has contents and is in shared memory; expected one of the two")
            if described.size not in (None, source.size):
                self._refuse_size(place, described.shape, described.size, source.size)
            return source.read()
        if not tensor.HasField("contents"):
            self._refuse(place, "has no data; expected an entry of raw_input_contents, or contents")
        try:
            return contents_to_raw(tensor.datatype, described.shape, tensor.contents)
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
        if size is not None:
            self._refuse_size(place, shape, size, len(content))
        try:
            element_ends(content, prod(shape))
        except CodecError as error:
            self._refuse(place, f"of shape {list(shape)} has wrong data: {error}")

    def _expect_required(self, request: ModelInferRequest) -> None:
        """Lets a request pass that leaves out optional inputs alone."""
        came = [tensor.name for tensor in request.inputs]
        if len(set(came)) != len(came) or not set(self._required) <= set(came) <= set(self._places):
            self._refuse_set(request)

    def _refuse_set(self, request: ModelInferRequest) -> NoReturn:
        """Says why these are not the model's inputs, each once, each with its data."""
        came = [tensor.name for tensor in request.inputs]
        where = f"model {self._name!r}:"
        for name in came:
            if name not in self._places:
                self._refuse_name(name)
            if came.count(name) > 1:
                raise InvalidInput(
                    f"{where} input {name!r} came {came.count(name)} times; expected {self._expected()}, each once"
                )
        missing = ", ".join(repr(name) for name in self._required if name not in came)
        if missing:
            raise InvalidInput(f"{where} missing {missing}; got {len(came)} inputs, expected {self._expected()}")
        entries = len(request.raw_input_contents)
        raise InvalidInput(
            f"{where} raw_input_contents has {entries} entries for {len(came)} inputs; expected one for each that is "
            "not in shared memory, or none and contents in every input"
        )

    def _refuse_name(self, name: str) -> NoReturn:
        raise InvalidInput(f"model {self._name!r}: unknown input {shown(name)}; expected {self._expected()}")

    def _expected(self) -> str:
        """The model's inputs; where some are optional, how many are expected."""
        if len(self._required) == len(self._places):
            return ", ".join(map(repr, self._places))
        names = [f"{name!r}" if name in self._required else f"{name!r} (optional)" for name in self._places]
        return f"between {len(self._required)} and {len(names)} of {', '.join(names)}"

    def _refuse_size(self, place: int, shape: tuple[int, ...], size: int | None, came: int) -> NoReturn:
        datatype = self._spec.inputs[place].datatype
        self._refuse(place, f"has {came} bytes; expected {size} for {datatype} of shape {list(shape)}")

    def _refuse(self, place: int, problem: str) -> NoReturn:
        raise InvalidInput(f"{self._input(place)} {problem}")

    def _input(self, place: int) -> str:
        return f"model {self._name!r}: input {self._spec.inputs[place].name!r}"


def _described(place: int, datatype: str, shape: tuple[int, ...], batches: bool) -> _Described:
    size = prod(shape) * ITEM_SIZES[datatype] if datatype in ITEM_SIZES else None
    return _Described(place, shape, shape[0] if batches else 1, size)


def _least_item(datatype: str) -> int:
    """Bytes that one element needs at least: those of its length for BYTES."""
    return ITEM_SIZES.get(datatype, 4)
