"""The same inputs for all: where they come from, and how each contestant's own requests hold them."""

from pathlib import Path

import numpy as np
import pytest

from quadriga_client.compare.contestants import Contestant
from quadriga_client.compare.errors import CompareError
from quadriga_client.compare.shared_inputs import (
    LEAST_ROWS,
    Inputs,
    file_inputs,
    input_names,
    random_inputs,
    serialized,
)
from quadriga_client.errors import InputError
from quadriga_client.results import ModelMetadata, TensorMetadata
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import from_raw

OTHER = Contestant(name="other", model="other_model", version="3", url="127.0.0.1:8001")


def model(*inputs: str) -> ModelMetadata:
    """A model by its inputs, as "x FP32 -1,4"."""
    tensors = []
    for text in inputs:
        name, datatype, shape = text.split()
        tensors.append(TensorMetadata(name=name, datatype=datatype, shape=tuple(map(int, shape.split(",")))))
    return ModelMetadata(name="m", versions=("1",), platform="", inputs=tuple(tensors), outputs=(), properties={})


IMAGE = model("x FP32 -1,2,2,1")


@pytest.mark.parametrize(("rows", "requests"), [(1, LEAST_ROWS), (5, 4), (16, 1), (100, 1)])
def test_random_requests_have_enough_rows_to_agree_upon(rows: int, requests: int) -> None:
    inputs = random_inputs(IMAGE, rows=rows, shapes={}, seed=0)
    assert [request["x"].shape for request in inputs.requests] == [(rows, 2, 2, 1)] * requests


def test_random_requests_differ_and_are_the_same_for_the_same_seed() -> None:
    first, again = (random_inputs(IMAGE, rows=1, shapes={}, seed=0) for _ in range(2))
    assert first.described == again.described
    assert first.described.digest != random_inputs(IMAGE, rows=1, shapes={}, seed=99).described.digest
    assert len({request["x"].tobytes() for request in first.requests}) == LEAST_ROWS
    assert first.described.content == "random numbers, seed 0"
    assert first.described.tensors == ("FP32[1,2,2,1]",)


def test_several_rows_need_an_open_dimension() -> None:
    with pytest.raises(CompareError, match="leaves no first dimension open; leave out --rows 2"):
        random_inputs(model("x FP32 2,2"), rows=2, shapes={}, seed=0)


def test_a_file_is_divided_into_requests(tmp_path: Path) -> None:
    file = tmp_path / "images.npy"
    array = np.arange(24, dtype=np.float32).reshape(6, 2, 2, 1)
    np.save(file, array)
    inputs = file_inputs(IMAGE, file, rows=2)
    assert (inputs.rows, inputs.content) == (2, "images.npy")
    np.testing.assert_array_equal(np.concatenate([request["x"] for request in inputs.requests]), array)


def test_a_files_numbers_become_the_models_where_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "images.npy"
    np.save(file, np.ones((1, 2, 2, 1), np.float64))
    assert file_inputs(IMAGE, file, rows=1).requests[0]["x"].dtype == np.float32


def test_a_files_numbers_that_would_lose_something_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.npy"
    np.save(file, np.full((1, 4), 0.5, np.float32))
    with pytest.raises(InputError, match="input 'x' is float32, and the model expects INT64"):
        file_inputs(model("x INT64 -1,4"), file, rows=1)
    np.save(file, np.ones((1, 4), np.complex64))
    with pytest.raises(CompareError, match="complex64"):
        file_inputs(model("x INT64 -1,4"), file, rows=1)


def test_a_file_of_other_names_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    np.savez(file, y=np.ones((1, 2, 2, 1), np.float32))
    with pytest.raises(CompareError, match="holds y; model 'm' has x"):
        file_inputs(IMAGE, file, rows=1)


@pytest.mark.parametrize(("shape", "rows"), [((5, 2, 2, 1), 2), ((0, 2, 2, 1), 1)])
def test_a_file_that_cannot_be_divided_is_refused(tmp_path: Path, shape: tuple[int, ...], rows: int) -> None:
    file = tmp_path / "images.npy"
    np.save(file, np.ones(shape, np.float32))
    with pytest.raises(CompareError, match=rf"cannot be divided into requests of {rows} rows each"):
        file_inputs(IMAGE, file, rows=rows)


def test_a_file_for_a_model_without_rows_is_one_request(tmp_path: Path) -> None:
    file = tmp_path / "image.npy"
    np.save(file, np.ones((2, 2), np.float32))
    assert len(file_inputs(model("x FP32 2,2"), file, rows=1).requests) == 1


def test_requests_are_the_contestants_own() -> None:
    inputs = random_inputs(IMAGE, rows=2, shapes={}, seed=0)
    requests = serialized(OTHER, model("keras_tensor FP32 -1,2,2,1"), "first", inputs)
    assert len(requests) == len(inputs.requests)
    for data, arrays in zip(requests, inputs.requests, strict=True):
        request = pb.ModelInferRequest.FromString(data)
        assert (request.model_name, request.model_version) == ("other_model", "3")
        assert [(tensor.name, tensor.datatype) for tensor in request.inputs] == [("keras_tensor", "FP32")]
        sent = from_raw("FP32", request.inputs[0].shape, request.raw_input_contents[0])
        np.testing.assert_array_equal(sent, arrays["x"])


TWO = Inputs(requests=({"a": np.zeros((1, 2), np.float32), "b": np.zeros((1, 3), np.int64)},), rows=1, content="")


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        (model("a FP32 -1,2", "b INT64 -1,3"), ["a", "b"]),
        (model("b INT64 -1,3", "a FP32 -1,2"), ["a", "b"]),
        (model("x FP32 -1,2", "y INT64 -1,3"), ["x", "y"]),
        (model("x FP32 -1,-1", "y INT64 1,3"), ["x", "y"]),
        (model(), ["a", "b"]),
    ],
)
def test_inputs_are_adapted_by_name_or_position(metadata: ModelMetadata, names: list[str]) -> None:
    assert list(input_names(OTHER, metadata, "first", TWO.requests[0])) == names


@pytest.mark.parametrize(
    "metadata",
    [
        model("x FP32 -1,2"),
        model("x FP32 -1,2", "y INT64 -1,3", "z FP32 1"),
        model("x FP64 -1,2", "y INT64 -1,3"),
        model("x FP32 -1,2", "y INT64 -1,4"),
        model("x FP32 -1,2", "y INT64 3"),
        model("x INT64 -1,3", "y FP32 -1,2"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(metadata: ModelMetadata) -> None:
    with pytest.raises(
        CompareError, match=r"other cannot be sent what first is sent: it takes x .* the inputs are a FP32"
    ):
        input_names(OTHER, metadata, "first", TWO.requests[0])
