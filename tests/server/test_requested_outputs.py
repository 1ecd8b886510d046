"""Which outputs a request wants and how, and every way to get that wrong."""

from typing import Any

import pytest

from quadriga.client_memory import ClientMemory, Place
from quadriga.deliveries import Classified
from quadriga.errors import InvalidInput, RegionNotFound, Unsupported
from quadriga.requested_outputs import OutputValidator
from quadriga.specs import ModelSpec, TensorSpec
from quadriga_proto.inference_pb2 import ModelInferRequest


def output(name: str, datatype: str = "FP32", *shape: int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


SPEC = ModelSpec(
    inputs=(),
    outputs=(output("scores", "FP32", 10), output("boxes", "FP32", -1, 4), output("half", "FP16", 2)),
    batches=True,
)
OUTPUTS = OutputValidator("m", SPEC)


def wanted(*names: str, **parameters: Any) -> ModelInferRequest:
    """A request of outputs; `parameters` are the last one's."""
    message = ModelInferRequest(model_name="m")
    for name in names:
        message.outputs.add(name=name)
    for key, value in parameters.items():
        kind = {int: "int64_param", str: "string_param", float: "double_param"}[type(value)]
        setattr(message.outputs[-1].parameters[key], kind, value)
    return message


def test_none_requested_is_all() -> None:
    assert OUTPUTS.read(wanted(), None) == ((0, 1, 2), {})


def test_a_choice_comes_in_the_models_order() -> None:
    assert OUTPUTS.read(wanted("boxes", "scores"), None).indices == (0, 1)
    many = ModelSpec(inputs=(), outputs=tuple(output(f"o{index}") for index in range(20)), batches=False)
    assert OutputValidator("m", many).read(wanted("o16", "o8", "o0", "o3"), None).indices == (0, 3, 8, 16)


def test_an_unknown_one_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        OUTPUTS.read(wanted("scores", "logits"), None)
    assert str(caught.value) == "model 'm' has no output 'logits'; expected some of 'scores', 'boxes', 'half'"


def test_a_duplicate_is_named() -> None:
    with pytest.raises(InvalidInput, match="output 'scores' is requested twice"):
        OUTPUTS.read(wanted("scores", "boxes", "scores"), None)


def test_other_parameters_are_let_through() -> None:
    assert OUTPUTS.read(wanted("scores", binary_data="yes"), None) == ((0,), {})


class TestClassification:
    def test_its_count_is_read(self) -> None:
        found = OUTPUTS.read(wanted("half", "scores", classification=3), None)
        assert not found.bound_to_memory
        assert found == ((0, 2), {0: Classified(3)})

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("3", "is a string_param; expected int64_param"),
            (3.0, "is a double_param; expected int64_param"),
            (0, "is 0; expected 1 or more"),
            (-1, "is -1; expected 1 or more"),
        ],
    )
    def test_a_count_that_is_none(self, value: Any, problem: str) -> None:
        with pytest.raises(InvalidInput, match=f"output 'scores': parameter 'classification' {problem}"):
            OUTPUTS.read(wanted("scores", classification=value), None)

    def test_a_parameter_without_a_value(self) -> None:
        message = wanted("scores")
        message.outputs[0].parameters["classification"].SetInParent()
        with pytest.raises(InvalidInput, match="is a nothing; expected int64_param"):
            OUTPUTS.read(message, None)

    @pytest.mark.parametrize("datatype", ["BYTES", "FP16", "BOOL", "BF16"])
    def test_a_datatype_that_cannot_be_ranked(self, datatype: str) -> None:
        outputs = OutputValidator("m", ModelSpec(inputs=(), outputs=(output("x", datatype, 4),), batches=True))
        with pytest.raises(InvalidInput, match=f"output 'x' is {datatype}, which cannot be classified"):
            outputs.read(wanted("x", classification=1), None)

    def test_too_many_elements(self) -> None:
        outputs = OutputValidator("m", ModelSpec(inputs=(), outputs=(output("x", "FP32", 1001, 1000),), batches=True))
        with pytest.raises(InvalidInput, match="output 'x': classification of 1001000 elements; expected at most"):
            outputs.read(wanted("x", classification=1), None)


class TestSharedMemory:
    def test_an_output_has_its_place(self, memory: ClientMemory) -> None:
        message = wanted("scores", shared_memory_region="r", shared_memory_byte_size=40, shared_memory_offset=8)
        found = OUTPUTS.read(message, memory)
        place = found.deliveries[0]
        assert isinstance(place, Place)
        assert (place.region.name, place.offset, place.size) == ("r", 8, 40)
        assert found.bound_to_memory

    def test_it_is_unsupported_while_it_is_off(self) -> None:
        message = wanted("scores", shared_memory_region="r", shared_memory_byte_size=40)
        with pytest.raises(Unsupported, match=r"output 'scores' has .*client shared memory is off") as caught:
            OUTPUTS.read(message, None)
        assert caught.value.code == "UNIMPLEMENTED"

    def test_an_unknown_region(self, memory: ClientMemory) -> None:
        message = wanted("scores", shared_memory_region="other", shared_memory_byte_size=40)
        with pytest.raises(RegionNotFound, match="output 'scores': no region 'other' is registered") as caught:
            OUTPUTS.read(message, memory)
        assert caught.value.code == "NOT_FOUND"

    def test_it_cannot_be_classified_as_well(self, memory: ClientMemory) -> None:
        message = wanted("scores", shared_memory_region="r", shared_memory_byte_size=40, classification=1)
        with pytest.raises(InvalidInput, match="expected one of the two"):
            OUTPUTS.read(message, memory)
