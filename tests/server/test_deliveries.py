"""Responses whose outputs are classified or go to a client's shared memory."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from quadriga.client_memory import ClientMemory
from quadriga.deliveries import Classified, DeliveringEncoder, Delivery
from quadriga.errors import RegionUnusable
from quadriga.requests import Output, Timings
from quadriga.specs import ModelSpec, TensorSpec
from quadriga_proto.codec import split_elements
from quadriga_proto.inference_pb2 import ModelInferResponse

SPEC = ModelSpec(
    inputs=(),
    outputs=(
        TensorSpec(name="scores", datatype="FP32", shape=(3,)),
        TensorSpec(name="boxes", datatype="INT64", shape=(1,)),
    ),
    batches=True,
)
SCORES = np.array([[1, 3, 2], [6, 5, 4]], np.float32)
BOXES = np.array([[7], [8]], np.int64)
OUTPUTS = [Output(array.shape, memoryview(array.tobytes())) for array in (SCORES, BOXES)]


def encode(deliveries: Mapping[int, Delivery], *wanted: int, timings: Timings | None = None) -> ModelInferResponse:
    encoder = DeliveringEncoder("m", "3", SPEC, (("a", "b"), ()), deliveries)
    return ModelInferResponse.FromString(encoder.encode("id-1", wanted or (0, 1), OUTPUTS, timings))


def test_a_classified_output_beside_one_as_it_is() -> None:
    response = encode({0: Classified(2)})
    assert (response.model_name, response.model_version, response.id) == ("m", "3", "id-1")
    scores, boxes = response.outputs
    assert (scores.name, scores.datatype, list(scores.shape)) == ("scores", "BYTES", [2, 2])
    texts = split_elements(response.raw_output_contents[0], 4)
    assert texts == [b"3.000000:1:b", b"2.000000:2", b"6.000000:0:a", b"5.000000:1:b"]
    assert (boxes.name, boxes.datatype, list(boxes.shape)) == ("boxes", "INT64", [2, 1])
    assert response.raw_output_contents[1] == BOXES.tobytes()


def test_an_output_in_shared_memory_leaves_an_empty_entry(file: Path, memory: ClientMemory) -> None:
    response = encode({0: memory.place("x", "r", 8, 30)})
    assert list(response.raw_output_contents) == [b"", BOXES.tobytes()]
    scores = response.outputs[0]
    assert (scores.datatype, list(scores.shape)) == ("FP32", [2, 3])
    assert scores.parameters["shared_memory_region"].string_param == "r"
    assert scores.parameters["shared_memory_byte_size"].int64_param == 24
    assert scores.parameters["shared_memory_offset"].int64_param == 8
    assert file.read_bytes() == b"-" * 8 + SCORES.tobytes() + b"-" * 32


def test_an_output_that_does_not_fit_fails_before_anything_is_written(file: Path, memory: ClientMemory) -> None:
    with pytest.raises(RegionUnusable) as caught:
        encode({0: memory.place("x", "r", 0, 24), 1: memory.place("x", "r", 24, 15)})
    assert str(caught.value) == (
        "model 'm': output 'boxes' has 16 bytes; shared_memory_byte_size is 15, expected at least as many"
    )
    assert caught.value.code == "INTERNAL"
    assert file.read_bytes() == b"-" * 64


def test_only_what_is_wanted_is_there() -> None:
    assert [output.name for output in encode({1: Classified(1)}, 1).outputs] == ["boxes"]


def test_timings_are_told() -> None:
    response = encode({1: Classified(1)}, timings=Timings(1, 2, 3, 6))
    assert response.parameters["quadriga_total_ns"].int64_param == 6
    assert not encode({1: Classified(1)}).parameters
