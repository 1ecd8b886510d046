"""Outputs that reach their client otherwise than as they are: classified, or in the client's shared memory.

Server process. Requests that ask for neither are encoded by `responses.ResponseEncoder`, and never come here.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from quadriga.classification import classify
from quadriga.client_memory import OFFSET_PARAMETER, REGION_PARAMETER, SIZE_PARAMETER, Place
from quadriga.errors import RegionUnusable
from quadriga.requests import Output, Timings
from quadriga.responses import tell
from quadriga.specs import ModelSpec
from quadriga_proto.inference_pb2 import ModelInferResponse


class Classified(NamedTuple):
    """As the texts of its top classes.

    Attributes:
        top: How many classes at most; 1 or more.
    """

    top: int


Delivery = Classified | Place


class DeliveringEncoder:
    """Encodes the responses to one request; an `Encoder`."""

    def __init__(
        self,
        name: str,
        version: str,
        spec: ModelSpec,
        labels: Sequence[Sequence[str]],
        deliveries: Mapping[int, Delivery],
    ) -> None:
        """Prepares for a model and a request.

        Args:
            name: Of the model.
            version: Of the model.
            spec: Its contract.
            labels: Class names of each output, in index order.
            deliveries: By index of the output.
        """
        self._name = name
        self._version = version
        self._spec = spec
        self._labels = labels
        self._deliveries = deliveries

    def encode(self, id: str, wanted: tuple[int, ...], outputs: Sequence[Output], timings: Timings | None) -> bytes:
        """See `Encoder.encode`; writes to the client's regions before it returns.

        Raises:
            RegionUnusable: An output does not fit its place, or its region cannot be written.
            InvalidInput: An output is too large to be classified.
        """
        self._expect_room(outputs)
        response = ModelInferResponse(model_name=self._name, model_version=self._version, id=id)
        for index in wanted:
            self._add(response, index, outputs[index])
        if timings is not None:
            tell(response, timings)
        return response.SerializeToString()

    def _expect_room(self, outputs: Sequence[Output]) -> None:
        """Nothing is written where not everything fits."""
        for index, delivery in self._deliveries.items():
            if isinstance(delivery, Place) and len(outputs[index].raw) > delivery.size:
                raise RegionUnusable(
                    f"model {self._name!r}: output {self._spec.outputs[index].name!r} has {len(outputs[index].raw)} "
                    f"bytes; {SIZE_PARAMETER} is {delivery.size}, expected at least as many"
                )

    def _add(self, response: ModelInferResponse, index: int, output: Output) -> None:
        spec, delivery = self._spec.outputs[index], self._deliveries.get(index)
        datatype, shape, raw = spec.datatype, output.shape, output.raw
        if isinstance(delivery, Classified):
            texts = classify(datatype, shape, raw, self._spec.batches, delivery.top, self._labels[index])
            response.outputs.add(name=spec.name, datatype="BYTES", shape=texts[0])
            response.raw_output_contents.append(texts[1])
            return
        tensor = response.outputs.add(name=spec.name, datatype=datatype, shape=shape)
        if delivery is None:
            response.raw_output_contents.append(bytes(raw))
            return
        delivery.write(raw)
        response.raw_output_contents.append(b"")
        tensor.parameters[REGION_PARAMETER].string_param = delivery.region.name
        tensor.parameters[SIZE_PARAMETER].int64_param = len(raw)
        tensor.parameters[OFFSET_PARAMETER].int64_param = delivery.offset
