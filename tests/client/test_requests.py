"""What `infer` is given becomes the request that the model expects, or a clear error."""

from typing import Any

import numpy as np
import pytest

from quadriga_client.errors import InputError, ResponseError
from quadriga_client.requests import infer_parameter, infer_request
from quadriga_client.results import InferResult, ModelMetadata, TensorMetadata
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import from_raw


def model(**datatypes: str) -> ModelMetadata:
    inputs = tuple(TensorMetadata(name=name, datatype=datatype, shape=(-1, 2)) for name, datatype in datatypes.items())
    return ModelMetadata(name="m", versions=("1",), platform="", inputs=inputs, outputs=(), properties={})


def sent(datatype: str, value: Any) -> Any:
    """The array that travels when a model takes `datatype`."""
    request = infer_request("m", model(x=datatype), value)
    (tensor,), (raw,) = request.inputs, request.raw_input_contents
    assert tensor.name == "x"
    assert tensor.datatype == datatype
    return from_raw(datatype, tensor.shape, raw)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("FP32", np.array([[1.5, 2.5]])),
        ("FP32", np.array([[1, 2]])),
        ("FP32", np.array([[True, False]])),
        ("FP32", [[1.5, 2.5]]),
        ("FP16", np.array([[1.5, 2.5]])),
        ("FP64", np.array([[1, 2]], dtype=np.uint8)),
        ("INT8", np.array([[127, -128]])),
        ("INT64", np.array([[1, 2]], dtype=np.uint8)),
        ("FP32", np.arange(8, dtype=np.float64).reshape(2, 4)[:, ::2]),
        ("FP32", np.array([[1.5, 2.5]], dtype=">f4")),
    ],
)
def test_casts_of_the_same_kind(datatype: str, value: Any) -> None:
    np.testing.assert_array_equal(sent(datatype, value), np.asarray(value))


def test_text_becomes_bytes() -> None:
    assert sent("BYTES", np.array([["é", "b"]])).tolist() == [["é".encode(), b"b"]]


@pytest.mark.parametrize(
    ("datatype", "value", "message"),
    [
        ("INT32", np.array([[1.5, 2.5]]), r"input 'x' is float64, and the model expects INT32; convert .*int32"),
        ("BOOL", np.array([[1, 2]]), "is int64, and the model expects BOOL"),
        ("FP32", np.array([["a", "b"]]), "the model expects FP32"),
        ("FP32", np.array([[1, None]]), "is object, and the model expects FP32"),
        ("INT8", np.array([[1, 128]]), "from 1 to 128, and the model expects INT8, which holds -128 to 127"),
        ("FP32", np.array([[1j, 2]]), "complex128"),
        ("FP32", [[1.0], [1.0, 2.0]], "cannot be made an array"),
        ("BYTES", np.array([[1, b"b"]], dtype=object), "holds bytes or str, got int"),
    ],
)
def test_other_casts_are_refused(datatype: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sent(datatype, value)


def test_arrays_by_name_are_converted_too() -> None:
    request = infer_request("m", model(a="FP32", b="INT32"), {"b": np.array([1]), "a": np.array([1.0])})
    assert [(tensor.name, tensor.datatype) for tensor in request.inputs] == [("b", "INT32"), ("a", "FP32")]


def test_unknown_names_are_for_the_server_to_judge() -> None:
    request = infer_request("m", model(), {"x": np.array([1.0])})
    assert [(tensor.name, tensor.datatype) for tensor in request.inputs] == [("x", "FP64")]


def test_an_array_alone_needs_a_model_with_one_input() -> None:
    with pytest.raises(InputError, match="not one input but a, b"):
        infer_request("m", model(a="FP32", b="FP32"), np.zeros(2))
    with pytest.raises(InputError, match="none that its metadata describes"):
        infer_request("m", model(), np.zeros(2))
    with pytest.raises(InputError, match="got no inputs"):
        infer_request("m", model(a="FP32"), {})


def test_outputs_are_names() -> None:
    request = infer_request("m", model(x="FP32"), np.zeros(2), outputs=("a", "b"))
    assert [output.name for output in request.outputs] == ["a", "b"]
    with pytest.raises(InputError, match="sequence of names"):
        infer_request("m", model(x="FP32"), np.zeros(2), outputs="scores")


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (True, "bool_param"),
        (7, "int64_param"),
        (-(2**63), "int64_param"),
        (2**63, "uint64_param"),
        (0.5, "double_param"),
        ("text", "string_param"),
    ],
)
def test_parameters(value: Any, field: str) -> None:
    parameter = infer_parameter("key", value)
    assert parameter.WhichOneof("parameter_choice") == field
    assert getattr(parameter, field) == value


@pytest.mark.parametrize("value", [None, 2**64, -(2**63) - 1, b"bytes", [1]])
def test_parameters_that_cannot_be_sent(value: Any) -> None:
    with pytest.raises(InputError, match="parameter 'key'"):
        infer_parameter("key", value)


def test_timings_are_asked_for_unless_the_caller_says_no() -> None:
    request = infer_request("m", model(x="FP32"), np.zeros(2))
    assert request.parameters["quadriga_timings"].bool_param
    request = infer_request("m", model(x="FP32"), np.zeros(2), parameters={"quadriga_timings": False, "priority": 1})
    assert not request.parameters["quadriga_timings"].bool_param
    assert request.parameters["priority"].int64_param == 1
    request = infer_request("m", model(x="FP32"), np.zeros(2), parameters={"priority": 1}, timings=False)
    assert list(request.parameters) == ["priority"]


def response(*raws: bytes) -> pb.ModelInferResponse:
    message = pb.ModelInferResponse(model_name="m", model_version="3", id="7", raw_output_contents=raws)
    message.outputs.add(name="y", datatype="FP32", shape=[2])
    return message


def test_answers_with_typed_contents() -> None:
    message = response()
    message.outputs[0].contents.fp32_contents.extend([1.5, 2.5])
    result = InferResult.from_message(message)
    np.testing.assert_array_equal(result["y"], np.array([1.5, 2.5], dtype=np.float32))
    assert (result.model_version, result.id, result.timings) == ("3", "7", None)


def test_outputs_that_are_not_there() -> None:
    with pytest.raises(KeyError, match="no output 'z'; the answer has y"):
        InferResult.from_message(response(bytes(8)))["z"]


@pytest.mark.parametrize("raws", [(bytes(7),), (bytes(8), bytes(8)), ()])
def test_answers_that_contradict_themselves(raws: tuple[bytes, ...]) -> None:
    with pytest.raises(ResponseError):
        InferResult.from_message(response(*raws))
