"""Requests that differ from one seen before in their tensor's bytes alone are known, and no others."""

from typing import Any, cast

import pytest

from quadriga.model_version import ModelVersion
from quadriga.parameters import Parameters
from quadriga.plans import Plan, PlanMemory
from quadriga.responses import Encoder
from quadriga_proto.inference_pb2 import ModelInferRequest

MODEL = cast("ModelVersion", object())
ENCODER = cast("Encoder", object())
CONTENT = b"\x00\x00\x80\x3f" * 4


def request(content: bytes = CONTENT, **fields: Any) -> ModelInferRequest:
    message = ModelInferRequest(model_name=fields.pop("model_name", "m"), **fields)
    message.inputs.add(name="x", datatype="FP32", shape=[1, len(content) // 4])
    message.raw_input_contents.append(content)
    return message


def plan_of(message: ModelInferRequest) -> Plan:
    return Plan(MODEL, message.model_name, "", message.id, ((1, 4),), ((4,),), 1, (0,), Parameters(), ENCODER)


@pytest.fixture
def memory() -> PlanMemory:
    return PlanMemory()


def learn(memory: PlanMemory, message: ModelInferRequest) -> Plan:
    plan = plan_of(message)
    memory.learn(message.SerializeToString(), message, plan)
    return plan


def test_the_same_head_with_other_bytes_is_known(memory: PlanMemory) -> None:
    plan = learn(memory, request())
    other = bytes(range(16))
    found = memory.find(request(other).SerializeToString())
    assert found is not None
    assert found[0] is plan
    assert found[1] == other


@pytest.mark.parametrize(
    "other",
    [
        request(model_name="n"),
        request(model_version="1"),
        request(id="7"),
        request(bytes(20)),
        request(bytes(12)),
    ],
)
def test_any_other_head_is_not(memory: PlanMemory, other: ModelInferRequest) -> None:
    learn(memory, request())
    assert memory.find(other.SerializeToString()) is None


def test_heads_of_one_length_are_told_apart(memory: PlanMemory) -> None:
    plans = {name: learn(memory, request(model_name=name)) for name in "abc"}
    for name, plan in plans.items():
        found = memory.find(request(model_name=name).SerializeToString())
        assert found is not None
        assert found[0] is plan


def test_a_head_that_is_learned_anew_has_its_new_plan(memory: PlanMemory) -> None:
    learn(memory, request())
    plan = learn(memory, request())
    found = memory.find(request().SerializeToString())
    assert found is not None
    assert found[0] is plan


def test_text_whose_elements_must_be_looked_at_is_never_learned(memory: PlanMemory) -> None:
    message = request(b"\x01\x00\x00\x00a\x01\x00\x00")
    message.inputs[0].datatype = "BYTES"
    learn(memory, message)
    assert memory.find(message.SerializeToString()) is None


def test_a_request_with_an_id_is_never_learned(memory: PlanMemory) -> None:
    message = request(id="7")
    learn(memory, message)
    assert memory.find(message.SerializeToString()) is None
    assert not memory._plans


def test_several_inputs_are_never_learned(memory: PlanMemory) -> None:
    message = request()
    message.inputs.add(name="y", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(CONTENT)
    learn(memory, message)
    assert memory.find(message.SerializeToString()) is None


def test_an_input_that_is_left_out_is_never_learned(memory: PlanMemory) -> None:
    message = request()
    plan = plan_of(message)._replace(shapes=((1, 4), None), key=((4,), None))
    memory.learn(message.SerializeToString(), message, plan)
    assert memory.find(message.SerializeToString()) is None


def test_a_tensor_that_is_not_last_is_never_learned(memory: PlanMemory) -> None:
    # Field 15 does not exist; its content ends the message with the very bytes of the tensor.
    message = request()
    encoded = message.SerializeToString() + b"\x7a" + bytes([len(CONTENT)]) + CONTENT
    memory.learn(encoded, ModelInferRequest.FromString(encoded), plan_of(message))
    assert memory.find(encoded) is None


def test_what_is_remembered_is_bounded(memory: PlanMemory) -> None:
    for size in range(1, 600):
        learn(memory, request(bytes(4 * size)))
    for index in range(200):
        learn(memory, request(model_name=f"model-{index:03}"))
    assert len(memory._plans) <= 256
    assert max(map(len, memory._plans.values())) <= 16
    long = request(model_name="n" * 5000)
    learn(memory, long)
    assert memory.find(long.SerializeToString()) is None


def test_the_plans_of_a_model_that_has_gone_are_dropped_and_no_others(memory: PlanMemory) -> None:
    mine, other = request(), request(model_name="n")
    learn(memory, mine)
    another = plan_of(other)._replace(model=cast("ModelVersion", object()))
    memory.learn(other.SerializeToString(), other, another)
    memory.forget(MODEL)
    assert memory.find(mine.SerializeToString()) is None
    assert memory.find(other.SerializeToString()) is not None
    memory.forget(another.model)
    assert not memory._plans
