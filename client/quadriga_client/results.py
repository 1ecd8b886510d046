"""What the client's methods return, as values, and how they are read from the protocol's messages. User's process."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from quadriga_client.errors import ResponseError
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import Array, CodecError, contents_to_raw, from_raw

_TIMING_PARAMETERS: Final = ("quadriga_queue_ns", "quadriga_batch_ns", "quadriga_compute_ns", "quadriga_total_ns")

_MOST_DIGITS: Final = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where a request's time went inside the server, in nanoseconds.

    Attributes:
        queue_ns: Waiting for a batch and an instance.
        batch_ns: Being gathered into the batch.
        compute_ns: The model's run on the whole batch.
        total_ns: From the request's arrival until its response was there; more than the sum of the above.
    """

    queue_ns: int
    batch_ns: int
    compute_ns: int
    total_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InferResult:
    """The answer to one inference.

    Attributes:
        outputs: By name, in the server's order. The arrays are read-only views of the response; BYTES is `object`
            with `bytes` elements.
        model_name: As the server has it.
        model_version: That answered.
        id: The request's.
        timings: None where the server does not report them.
    """

    outputs: Mapping[str, Array]
    model_name: str
    model_version: str
    id: str
    timings: Timings | None

    def __getitem__(self, name: str) -> Array:
        """The output of that name; KeyError names those that are there."""
        try:
            return self.outputs[name]
        except KeyError:
            raise KeyError(f"no output {name!r}; the answer has {', '.join(self.outputs)}") from None

    @classmethod
    def from_message(cls, response: pb.ModelInferResponse) -> "InferResult":
        """Reads raw and typed contents.

        Raises:
            ResponseError: An output's content does not fit its datatype and shape.
        """
        return cls(
            outputs=read_outputs(response),
            model_name=response.model_name,
            model_version=response.model_version,
            id=response.id,
            timings=read_timings(response),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """One class of an image's answer.

    Attributes:
        label: Its name; the index as text where the model has no labels.
        index: Its place among the scores.
        probability: From 0 to 1.
    """

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorMetadata:
    """An input or output.

    Attributes:
        name: Its name in requests.
        datatype: Of the protocol: FP32, INT64, BYTES, ...
        shape: With the batch dimension where the model has one; -1 is any size.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.datatype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetadata:
    """A server's name, version and the protocol extensions that it serves."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """A model's contract.

    Attributes:
        name: Its name.
        versions: That are ready.
        platform: Of its format, as the protocol names it.
        inputs: In the model's order.
        outputs: Likewise.
        properties: What the server says besides; Quadriga: labels, format, backend, device, load_ms, max_batch_size,
            and accuracy and dataset where they were measured when the model was made.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    properties: Mapping[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by index; empty where the server gives none."""
        try:
            labels = json.loads(self.properties.get("labels", "[]"))
        except (ValueError, RecursionError) as error:
            raise ResponseError(f"model {self.name!r}: the property 'labels' is not JSON: {error}") from error
        if not isinstance(labels, list):
            raise ResponseError(f"model {self.name!r}: the property 'labels' is a JSON list, got {labels!r}")
        return tuple(map(str, labels))

    @property
    def max_batch_size(self) -> int | None:
        """The most rows of one request; None where the server does not say or the model has no batch dimension."""
        text = self.properties.get("max_batch_size", "")
        return int(text) or None if is_number(text) else None

    @classmethod
    def from_message(cls, response: pb.ModelMetadataResponse) -> "ModelMetadata":
        """Reads the message."""
        return cls(
            name=response.name,
            versions=tuple(response.versions),
            platform=response.platform,
            inputs=tuple(map(_tensor, response.inputs)),
            outputs=tuple(map(_tensor, response.outputs)),
            properties=dict(response.properties),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """One version of a model in a server's repositories.

    Attributes:
        model: Its name.
        version: Its number; empty where the model has none that could be tried.
        state: READY, LOADING, UNLOADING, UNAVAILABLE; empty where it was never loaded.
        reason: Why it is not ready.
        metadata: Its contract; None where it is not ready.
    """

    model: str
    version: str
    state: str
    reason: str
    metadata: ModelMetadata | None


def is_number(text: str) -> bool:
    """Whether a text is a number as servers count versions and rows: of at most 64 bits."""
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def read_outputs(response: pb.ModelInferResponse) -> dict[str, Array]:
    """A response's outputs, by name.

    Raises:
        ResponseError: As `InferResult.from_message` says.
    """
    raws = response.raw_output_contents
    if raws and len(raws) != len(response.outputs):
        raise ResponseError(f"the answer has {len(response.outputs)} outputs and {len(raws)} raw contents")
    outputs: dict[str, Array] = {}
    for index, output in enumerate(response.outputs):
        try:
            raw = raws[index] if raws else contents_to_raw(output.datatype, output.shape, output.contents)
            outputs[output.name] = from_raw(output.datatype, output.shape, raw)
        except CodecError as error:
            raise ResponseError(f"output {output.name!r} cannot be read: {error}") from error
    return outputs


def read_timings(response: pb.ModelInferResponse) -> Timings | None:
    """The server's own timings; None where one of them is missing."""
    parameters = response.parameters
    if any(name not in parameters for name in _TIMING_PARAMETERS):
        return None
    queue, batch, compute, total = (parameters[name].int64_param for name in _TIMING_PARAMETERS)
    return Timings(queue_ns=queue, batch_ns=batch, compute_ns=compute, total_ns=total)


def _tensor(message: pb.ModelMetadataResponse.TensorMetadata) -> TensorMetadata:
    return TensorMetadata(name=message.name, datatype=message.datatype, shape=tuple(message.shape))
