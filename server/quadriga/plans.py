"""What is to be done with a request, remembered for the next one that differs only in its tensor's bytes.

Server process, hot path. A client sends the same model name, input name, datatype and shape again and again, and
protobuf writes the tensor's bytes last (field 7 of ModelInferRequest). So an encoded request is a *head* that repeats
and the bytes of one tensor. A head that was parsed and found right once is right again: comparing it costs a tenth of a
microsecond, where parsing and checking cost twenty, and the tensor is looked at where it lies instead of being copied
out of the message.

Learned are only requests without an id, with one input in raw contents of a datatype with a fixed size, and only after
a second look: the head with other bytes behind it is parsed, and has to give those bytes as the tensor and all else
unchanged.
"""

from collections.abc import Hashable
from typing import Final, NamedTuple

from quadriga.model_version import ModelVersion
from quadriga.parameters import Parameters
from quadriga.responses import Encoder
from quadriga_proto.inference_pb2 import ModelInferRequest

#: Bounds on what is remembered: lengths of requests, heads per length, bytes of a head.
_MOST_LENGTHS: Final = 256
_MOST_HEADS: Final = 16
_LONGEST_HEAD: Final = 1024
_OTHER_BYTE: Final = b"\xa5"


class Plan(NamedTuple):
    """What a request that was parsed and checked asks for; all but the bytes of its tensors.

    Attributes:
        model: That is to run it.
        model_name: As the request has it.
        model_version: As the request has it, often empty.
        id: To be returned.
        shapes: Of the inputs, whole, in the model's order; None for one that is left out.
        key: The shapes without their rows: requests of one key may share a batch.
        rows: Along the batch dimension; 1 where the model does not batch.
        outputs: Indices of those that are wanted.
        parameters: Its own.
        encoder: Of its response.
    """

    model: ModelVersion
    model_name: str
    model_version: str
    id: str
    shapes: tuple[tuple[int, ...] | None, ...]
    key: Hashable
    rows: int
    outputs: tuple[int, ...]
    parameters: Parameters
    encoder: Encoder


class PlanMemory:
    """The plans of heads that were seen, by the length of the whole request."""

    def __init__(self) -> None:
        self._plans: dict[int, list[tuple[bytes, Plan]]] = {}

    def find(self, data: bytes) -> "tuple[Plan, memoryview[int]] | None":
        """The plan of an encoded request and its tensor's bytes, where its head is known.

        The plan's model may not be the one to use any more; that is the caller's to check.
        """
        for head, plan in self._plans.get(len(data), ()):
            if data.startswith(head):
                return plan, memoryview(data)[len(head) :]
        return None

    def learn(self, data: bytes, request: ModelInferRequest, plan: Plan) -> None:
        """Remembers a request that was found right, if it is of the kind that repeats."""
        if request.id:
            return  # as a rule there is another one in every request: it would be learned for nothing
        if len(request.raw_input_contents) != 1 or len(plan.shapes) != 1 or request.inputs[0].datatype == "BYTES":
            return
        content = request.raw_input_contents[0]
        head = data[: len(data) - len(content)]
        if len(head) > _LONGEST_HEAD or not content or not _decides_all_but(content, head, request):
            return
        if len(data) not in self._plans and len(self._plans) >= _MOST_LENGTHS:
            del self._plans[next(iter(self._plans))]
        known = self._plans.setdefault(len(data), [])
        known[:] = [(head, plan), *[entry for entry in known if entry[0] != head]][:_MOST_HEADS]

    def forget(self, model: ModelVersion) -> None:
        """Drops the plans of a model that has gone, and with them all that they hold of it."""
        for length, known in list(self._plans.items()):
            known[:] = [(head, plan) for head, plan in known if plan.model is not model]
            if not known:
                del self._plans[length]


def _decides_all_but(content: bytes, head: bytes, request: ModelInferRequest) -> bool:
    """Whether a request with this head and a tensor of as many bytes is the same but for these bytes."""
    other = _OTHER_BYTE * len(content)
    try:
        parsed = ModelInferRequest.FromString(head + other)
    except Exception:  # protobuf's DecodeError, or whatever else it makes of bytes that it was not made for
        return False
    if list(parsed.raw_input_contents) != [other]:
        return False
    del parsed.raw_input_contents[:]
    parsed.raw_input_contents.append(content)
    return parsed == request
