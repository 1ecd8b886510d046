"""Which outputs a request wants, and how each is to be delivered. Server process; once per request that is parsed."""

from collections.abc import Mapping
from math import prod
from typing import Final, NamedTuple

from quadriga.classification import MOST_ELEMENTS, RANKED, too_large
from quadriga.client_memory import ClientMemory, Place, place_of
from quadriga.deliveries import Classified, Delivery
from quadriga.errors import InvalidInput, shown
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga_proto.inference_pb2 import InferParameter, ModelInferRequest

CLASSIFICATION: Final = "classification"


class RequestedOutputs(NamedTuple):
    """What a request wants of its model's outputs.

    Attributes:
        indices: Of those that it wants, in the model's order.
        deliveries: Of those that are not simply put into the response, by index.
    """

    indices: tuple[int, ...]
    deliveries: Mapping[int, Delivery]

    @property
    def bound_to_memory(self) -> bool:
        """Whether one goes to client shared memory: then a request like it may mean another region."""
        return any(isinstance(delivery, Place) for delivery in self.deliveries.values())


class OutputValidator:
    """Checks the requested outputs of one version of a model."""

    def __init__(self, name: str, spec: ModelSpec) -> None:
        """Prepares for a model's name, for messages, and its contract."""
        self._name = name
        self._spec = spec
        self._places = {tensor.name: index for index, tensor in enumerate(spec.outputs)}
        self._all = RequestedOutputs(tuple(range(len(spec.outputs))), {})

    def read(self, request: ModelInferRequest, memory: ClientMemory | None) -> RequestedOutputs:
        """What the request wants; all outputs when it names none.

        Raises:
            InvalidInput: An output is unknown or named twice, cannot be classified, or its parameters are wrong.
            RegionNotFound: An output is to go to a region that is not registered.
            Unsupported: An output is to go to client shared memory, which is off (`memory` is None).
        """
        wanted = request.outputs
        if not wanted:
            return self._all
        indices: set[int] = set()
        deliveries: dict[int, Delivery] = {}
        for output in wanted:
            index = self._places.get(output.name)
            if index is None:
                known = ", ".join(map(repr, self._places))
                raise InvalidInput(f"model {self._name!r} has no output {shown(output.name)}; expected some of {known}")
            what = f"model {self._name!r}: output {output.name!r}"
            if index in indices:
                raise InvalidInput(f"{what} is requested twice; expected it once")
            indices.add(index)
            if output.parameters and (delivery := self._delivery(what, index, output.parameters, memory)) is not None:
                deliveries[index] = delivery
        return RequestedOutputs(tuple(sorted(indices)), deliveries)

    def _delivery(
        self, what: str, index: int, parameters: Mapping[str, InferParameter], memory: ClientMemory | None
    ) -> Delivery | None:
        place = place_of(what, parameters, memory)
        if CLASSIFICATION not in parameters:
            return place
        if place is not None:
            raise InvalidInput(f"{what} is to be classified and put into shared memory; expected one of the two")
        return self._classified(what, self._spec.outputs[index], parameters[CLASSIFICATION])

    def _classified(self, what: str, tensor: TensorSpec, parameter: InferParameter) -> Classified:
        kind = parameter.WhichOneof("parameter_choice")
        if kind != "int64_param":
            raise InvalidInput(f"{what}: parameter {CLASSIFICATION!r} is a {kind or 'nothing'}; expected int64_param")
        if parameter.int64_param < 1:
            raise InvalidInput(f"{what}: parameter {CLASSIFICATION!r} is {parameter.int64_param}; expected 1 or more")
        if tensor.datatype not in RANKED:
            raise InvalidInput(f"{what} is {tensor.datatype}, which cannot be classified; expected {', '.join(RANKED)}")
        if ANY not in tensor.shape and prod(tensor.shape) > MOST_ELEMENTS:
            raise InvalidInput(f"{what}: {too_large(prod(tensor.shape))}")
        return Classified(parameter.int64_param)
