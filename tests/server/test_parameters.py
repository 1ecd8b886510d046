"""A request's own parameters: what is read, what is left alone, what is refused."""

from typing import Any

import pytest

from quadriga.errors import InvalidInput, Unsupported
from quadriga.parameters import Parameters, read_parameters
from quadriga_proto.inference_pb2 import ModelInferRequest


def request(**parameters: tuple[str, Any]) -> ModelInferRequest:
    made = ModelInferRequest()
    for key, (kind, value) in parameters.items():
        setattr(made.parameters[key], kind, value)
    return made


def test_what_is_served_is_read_and_what_is_unknown_left_alone() -> None:
    made = request(
        timeout=("int64_param", 5),
        priority=("uint64_param", 2**64 - 1),
        quadriga_timings=("bool_param", True),
        theirs=("string_param", "x"),
    )
    assert read_parameters(made) == Parameters(timeout_us=5, with_timings=True, priority=2**64 - 1)
    assert read_parameters(request(priority=("int64_param", 1))).priority == 1
    assert read_parameters(ModelInferRequest()) == Parameters()


@pytest.mark.parametrize(
    ("key", "kind", "value", "message"),
    [
        ("priority", "int64_param", -1, "'priority' is -1; expected 0 or more"),
        ("priority", "string_param", "1", "'priority' is a string_param; expected int64_param or uint64_param"),
        ("timeout", "double_param", 1.5, "'timeout' is a double_param"),
        ("triton_other", "bool_param", True, "start with 'triton_' are reserved"),
    ],
)
def test_wrong_types_and_values_are_refused(key: str, kind: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_parameters(request(**{key: (kind, value)}))
    assert message in str(caught.value)


def test_sequences_are_not_served() -> None:
    with pytest.raises(Unsupported, match="sequence_id"):
        read_parameters(request(sequence_id=("int64_param", 3)))
    assert read_parameters(request(sequence_id=("int64_param", 0))) == Parameters()
