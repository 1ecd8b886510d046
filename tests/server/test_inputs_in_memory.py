"""Inputs in client shared memory: which requests fit their model, and every way in which they may not."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from quadriga.client_memory import ClientMemory
from quadriga.errors import InvalidInput, RegionNotFound, Unsupported
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.validate import RequestValidator
from quadriga_proto.codec import join_elements
from quadriga_proto.inference_pb2 import ModelInferRequest

SPEC = ModelSpec(
    inputs=(
        TensorSpec(name="a", datatype="FP32", shape=(2,)),
        TensorSpec(name="b", datatype="BYTES", shape=(1,), optional=True),
    ),
    outputs=(),
    batches=True,
)
CHECKS = RequestValidator("m", SPEC, 8)
TEXT = join_elements([b"text"])


@pytest.fixture
def file(file: Path) -> Path:
    file.write_bytes(b"AAAABBBB" + TEXT + bytes(48))
    return file


def request(places: Mapping[str, tuple[int, int] | None], *raw: bytes) -> ModelInferRequest:
    """One row of each input, at (offset, size) in region "r", or not in shared memory."""
    message = ModelInferRequest(model_name="m", raw_input_contents=raw)
    for name, place in places.items():
        shape, datatype = ([1, 2], "FP32") if name == "a" else ([1, 1], "BYTES")
        tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
        if place is not None:
            tensor.parameters["shared_memory_region"].string_param = "r"
            tensor.parameters["shared_memory_offset"].int64_param = place[0]
            tensor.parameters["shared_memory_byte_size"].int64_param = place[1]
    return ModelInferRequest.FromString(message.SerializeToString())


def test_inputs_are_read_from_their_places(memory: ClientMemory) -> None:
    checked = CHECKS.inputs(request({"a": (0, 8), "b": (8, 8)}), memory)
    assert (checked.shapes, checked.data) == (((1, 2), (1, 1)), (b"AAAABBBB", TEXT))


@pytest.mark.parametrize("places", [{"a": (0, 8), "b": None}, {"b": None, "a": (0, 8)}])
def test_raw_entries_are_those_of_the_other_inputs(
    memory: ClientMemory, places: Mapping[str, tuple[int, int] | None]
) -> None:
    assert CHECKS.inputs(request(places, TEXT), memory).data == (b"AAAABBBB", TEXT)


def test_typed_contents_may_stand_beside_it(memory: ClientMemory) -> None:
    message = request({"a": (0, 8), "b": None})
    message.inputs[1].contents.bytes_contents.append(b"text")
    assert CHECKS.inputs(message, memory).data == (b"AAAABBBB", TEXT)


def test_an_optional_input_may_be_left_out_beside_it(memory: ClientMemory) -> None:
    assert CHECKS.inputs(request({"a": (0, 8)}), memory).data == (b"AAAABBBB", None)


def test_what_the_client_writes_next_is_not_seen(memory: ClientMemory, file: Path) -> None:
    checked = CHECKS.inputs(request({"a": (0, 8), "b": (8, 8)}), memory)
    file.write_bytes(b"\xff" * 64)
    assert checked.data == (b"AAAABBBB", TEXT)


def test_it_is_not_remembered_as_right(memory: ClientMemory, file: Path) -> None:
    message = request({"a": (0, 8), "b": (8, 8)})
    CHECKS.inputs(message, memory)
    file.write_bytes(b"\xff" * 64)
    with pytest.raises(InvalidInput, match=r"input 'b' of shape \[1, 1\] has wrong data: BYTES element 0 is cut off"):
        CHECKS.inputs(message, memory)
    memory.unregister("r")
    with pytest.raises(RegionNotFound, match="input 'a': no region 'r' is registered"):
        CHECKS.inputs(message, memory)


def test_a_size_that_does_not_fit_is_refused_unread(memory: ClientMemory, file: Path) -> None:
    os.truncate(file, 0)
    with pytest.raises(InvalidInput, match=r"input 'a' has 12 bytes; expected 8 for FP32 of shape \[1, 2\]"):
        CHECKS.inputs(request({"a": (0, 12)}), memory)


def test_a_file_that_was_shortened(memory: ClientMemory, file: Path) -> None:
    os.truncate(file, 4)
    with pytest.raises(InvalidInput, match="'/file' has 4 bytes now; expected 8"):
        CHECKS.inputs(request({"a": (0, 8)}), memory)


def test_contents_and_shared_memory(memory: ClientMemory) -> None:
    message = request({"a": (0, 8)})
    message.inputs[0].contents.fp32_contents.extend([1, 2])
    with pytest.raises(InvalidInput, match="input 'a' has contents and is in shared memory; expected one of the two"):
        CHECKS.inputs(message, memory)


def test_a_raw_entry_and_shared_memory(memory: ClientMemory) -> None:
    message = request({"a": (0, 8)}, bytes(8))
    for _ in range(2):
        with pytest.raises(InvalidInput, match="'a' is in shared memory and has an entry of raw_input_contents"):
            CHECKS.inputs(message, memory)


def test_surplus_raw_entries(memory: ClientMemory) -> None:
    with pytest.raises(InvalidInput, match="raw_input_contents has 3 entries for 2 inputs; expected one for each that"):
        CHECKS.inputs(request({"a": (0, 8), "b": None}, TEXT, TEXT, TEXT), memory)


def test_a_place_beyond_the_region(memory: ClientMemory) -> None:
    with pytest.raises(InvalidInput, match="input 'a' has shared_memory_byte_size 8 from byte 60"):
        CHECKS.inputs(request({"a": (60, 8)}), memory)


@pytest.mark.parametrize("raw", [(), (bytes(8),), (bytes(8), TEXT)])
def test_while_it_is_off_it_is_unsupported(raw: tuple[bytes, ...]) -> None:
    places = {"a": (0, 8), "b": None} if len(raw) > 1 else {"a": (0, 8)}
    with pytest.raises(Unsupported, match=r"model 'm': input 'a' has .*client shared memory is off") as caught:
        CHECKS.inputs(request(places, *raw))
    assert caught.value.code == "UNIMPLEMENTED"
