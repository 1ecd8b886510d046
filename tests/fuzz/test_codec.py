"""The wire's codec alone: whatever bytes come, an array of what was asked for or a CodecError."""

from math import prod

import numpy as np
from fuzz_cases import CASES, examples
from hypothesis import given
from hypothesis import strategies as st
from message_fuzz import messages

from quadriga_proto.codec import (
    DATATYPES,
    ITEM_SIZES,
    CodecError,
    contents_to_raw,
    element_ends,
    from_raw,
    join_elements,
    numpy_dtype,
    split_elements,
    to_raw,
)
from quadriga_proto.inference_pb2 import InferTensorContents

#: Of each test.
EXAMPLES = CASES // 20
#: Of numpy's arrays.
MOST_DIMENSIONS = 64
MOST_ROWS = 8
datatypes = st.sampled_from([*DATATYPES, "", "FP31", "fp32", "OBJECT"])
sizes = st.sampled_from([0, 1, 2, 3, 4, 8, -1, -2, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63)])
shapes = st.lists(sizes, max_size=5) | st.lists(st.integers(0, 4), max_size=4) | st.just([1] * 70)


@examples(EXAMPLES)
@given(datatypes, shapes, st.binary(max_size=64))
def test_raw_bytes_are_an_array_or_refused(datatype: str, shape: list[int], raw: bytes) -> None:
    try:
        array = from_raw(datatype, shape, raw)
    except CodecError as error:
        assert len(str(error)) < 1_000
        return
    assert array.shape == tuple(shape)
    assert array.dtype == numpy_dtype(datatype)
    if datatype != "BOOL":  # of which every byte but 0 is true
        assert to_raw(array) == raw


@examples(EXAMPLES)
@given(st.sampled_from(sorted(ITEM_SIZES)), st.lists(st.integers(0, 3), max_size=4), st.randoms(use_true_random=False))
def test_raw_bytes_of_the_right_size_are_an_array(
    datatype: str, shape: list[int], chance: "np.random.Generator"
) -> None:
    raw = chance.randbytes(prod(shape) * ITEM_SIZES[datatype])  # type: ignore[attr-defined]
    assert from_raw(datatype, shape, memoryview(raw)).shape == tuple(shape)


@examples(EXAMPLES)
@given(st.lists(st.binary(max_size=8), max_size=6), st.binary(max_size=9), st.integers(-1, 8))
def test_elements_are_whole_or_refused(elements: list[bytes], rest: bytes, count: int) -> None:
    raw = join_elements(elements)
    assert split_elements(raw, len(elements)) == elements
    try:
        ends = element_ends(raw + rest, count)
    except CodecError:
        return
    assert len(ends) == count
    assert sorted(ends) == ends
    assert (ends or [0])[-1] == len(raw + rest)


@examples(EXAMPLES)
@given(datatypes, shapes, messages(InferTensorContents.DESCRIPTOR))
def test_typed_contents_are_encoded_or_refused(datatype: str, shape: list[int], contents: InferTensorContents) -> None:
    try:
        raw = contents_to_raw(datatype, shape, contents)
    except CodecError:
        return
    # An empty array's other sizes may be beyond all memory, which numpy refuses, and the server before it.
    if all(0 <= size <= MOST_ROWS for size in shape) and len(shape) <= MOST_DIMENSIONS:
        assert from_raw(datatype, shape, raw).shape == tuple(shape)
