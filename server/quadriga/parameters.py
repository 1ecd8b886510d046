"""A ModelInfer request's own parameters. Server process."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from quadriga.errors import InvalidInput, Unsupported, shown
from quadriga_proto.conventions import TIMINGS_PARAMETER
from quadriga_proto.inference_pb2 import InferParameter, ModelInferRequest

#: Parameters of Triton's sequence extension, with their types; 0, "" and false mean that there is no sequence.
_SEQUENCE_TYPES: Final[dict[str, tuple[str, ...]]] = {
    "sequence_id": ("int64_param", "uint64_param", "string_param"),
    "sequence_start": ("bool_param",),
    "sequence_end": ("bool_param",),
}
#: The one key under Triton's reserved prefix that clients may send.
_TRITON_STREAM_PARAMETER: Final = "triton_enable_empty_final_response"


class Parameters(NamedTuple):
    """What a request asks for besides its outputs.

    Attributes:
        timeout_us: How long it may wait in the queue, in microseconds; 0: as long as the call lasts.
        with_timings: Whether the response is to tell the server's own timings.
        priority: 1 is the highest; 0: the model's default level.
    """

    timeout_us: int = 0
    with_timings: bool = False
    priority: int = 0


def read_parameters(request: ModelInferRequest) -> Parameters:
    """Reads the parameters that are served.

    Unknown keys are left alone, as the protocol has it: another server's clients send their own.

    Raises:
        InvalidInput: A reserved key, or a value of the wrong type.
        Unsupported: A feature that is not served.
    """
    timeout_us, with_timings, priority = 0, False, 0
    for key, parameter in request.parameters.items():
        if key == "timeout":
            timeout_us = _number(key, parameter)
        elif key == TIMINGS_PARAMETER:
            with_timings = bool(_value(key, parameter, ("bool_param",)))
        elif key == "priority":
            priority = _number(key, parameter)
        elif key in _SEQUENCE_TYPES:
            if _value(key, parameter, _SEQUENCE_TYPES[key]):
                raise Unsupported(f"parameter {key!r}: stateful sequences are not served")
        elif key.startswith("triton_") and key != _TRITON_STREAM_PARAMETER:
            raise InvalidInput(f"parameter {shown(key)}: keys that start with 'triton_' are reserved")
    return Parameters(timeout_us, with_timings, priority)


def _number(key: str, parameter: InferParameter) -> int:
    value = _value(key, parameter, ("int64_param", "uint64_param"))
    if value < 0:
        raise InvalidInput(f"parameter {key!r} is {value}; expected 0 or more")
    return int(value)


def _value(key: str, parameter: InferParameter, types: Sequence[str]) -> Any:  # noqa: ANN401 - of one of the types
    kind = parameter.WhichOneof("parameter_choice")
    if kind not in types:
        raise InvalidInput(f"parameter {key!r} is a {kind or 'nothing'}; expected {' or '.join(types)}")
    return getattr(parameter, kind)
