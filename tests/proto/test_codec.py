"""Tensors to the wire and back, and what the wire cannot carry."""

import subprocess
import sys
from collections.abc import Iterable
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quadriga_proto.codec import (
    CONTENTS_FIELDS,
    DATATYPES,
    ITEM_SIZES,
    Array,
    CodecError,
    contents_to_raw,
    datatype_of,
    element_ends,
    from_raw,
    join_elements,
    numpy_dtype,
    split_elements,
    to_raw,
)
from quadriga_proto.inference_pb2 import InferTensorContents

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
FIXED = st.sampled_from(list(ITEM_SIZES))
ELEMENTS = st.lists(st.binary(max_size=20), max_size=8)
TYPED = st.sampled_from([name for name in CONTENTS_FIELDS if name != "BYTES"])


@st.composite
def tensors(draw: st.DrawFn, datatypes: st.SearchStrategy[str]) -> tuple[str, Array]:
    """An array of any bits, NaNs of every kind among them, with its datatype."""
    datatype, shape = draw(datatypes), draw(SHAPES)
    size = prod(shape) * ITEM_SIZES[datatype]
    raw = draw(st.binary(min_size=size, max_size=size))
    if datatype == "BOOL":
        raw = bytes(byte & 1 for byte in raw)
    return datatype, np.frombuffer(raw, dtype=numpy_dtype(datatype)).reshape(shape)


def filled(field: str, values: Iterable[Any]) -> InferTensorContents:
    contents = InferTensorContents()
    getattr(contents, field).extend(values)
    return contents


class TestRaw:
    @given(tensors(FIXED))
    def test_round_trip_keeps_every_bit(self, drawn: tuple[str, Array]) -> None:
        datatype, array = drawn
        assert datatype_of(array.dtype) == datatype
        raw = to_raw(array)
        back = from_raw(datatype, array.shape, raw)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert back.tobytes() == array.tobytes() == raw

    @given(hnp.arrays(object, SHAPES, elements=st.binary(max_size=20)))
    def test_round_trip_of_bytes(self, array: Array) -> None:
        back = from_raw("BYTES", array.shape, to_raw(array))
        assert back.shape == array.shape
        assert back.ravel().tolist() == array.ravel().tolist()

    @given(st.lists(st.text(max_size=10), max_size=5))
    def test_text_is_utf8(self, texts: list[str]) -> None:
        encoded = [text.encode() for text in texts]
        assert from_raw("BYTES", [len(texts)], to_raw(np.array(texts, dtype=object))).tolist() == encoded

    def test_numpy_text_and_bytes_are_bytes(self) -> None:
        assert to_raw(np.array(["é", "ab"])) == b"\x02\x00\x00\x00\xc3\xa9\x02\x00\x00\x00ab"
        assert to_raw(np.array([b"x", b"yz"])) == b"\x01\x00\x00\x00x\x02\x00\x00\x00yz"

    def test_the_encoding_is_little_endian_and_row_major(self) -> None:
        assert to_raw(np.array([[1, 2], [3, 4]], dtype=">u2").T) == b"\x01\x00\x03\x00\x02\x00\x04\x00"
        assert to_raw(np.array([1.0], dtype=">f4")) == b"\x00\x00\x80\x3f"
        assert to_raw(np.arange(10, dtype=np.uint8)[::3]) == b"\x00\x03\x06\x09"
        assert to_raw(np.array([1.0], dtype=ml_dtypes.bfloat16)) == b"\x80\x3f"
        assert to_raw(np.array([1.0], dtype=np.float16)) == b"\x00\x3c"

    @given(st.lists(tensors(st.just("INT32")), max_size=3), st.lists(ELEMENTS, max_size=3))
    def test_stacked_rows_are_joined_encodings(self, drawn: list[Any], rows: list[list[bytes]]) -> None:
        flat = [array.reshape(-1) for _, array in drawn]
        stacked = np.concatenate([np.empty(0, np.int32), *flat])
        assert to_raw(stacked) == b"".join(map(to_raw, flat))
        assert join_elements([element for row in rows for element in row]) == b"".join(map(join_elements, rows))

    def test_a_view_where_it_can_be(self) -> None:
        raw = bytearray(8)
        view = from_raw("FP32", [2], memoryview(raw))
        raw[3] = 0x40
        assert view[0] == 2.0
        assert not from_raw("FP32", [2], bytes(8)).flags.writeable

    @pytest.mark.parametrize(
        ("datatype", "shape", "raw", "problem"),
        [
            ("FP32", [2, 2], bytes(15), "FP32 of shape [2, 2] needs 16 bytes, got 15"),
            ("FP32", [], b"", "FP32 of shape [] needs 4 bytes, got 0"),
            ("FP32", [-1], bytes(4), "FP32 of shape [-1] needs -4 bytes, got 4"),
            ("FP32", [-1, -1], bytes(4), "FP32 cannot have shape [-1, -1]"),
            ("UINT8", [-2, -2], bytes(4), "UINT8 cannot have shape [-2, -2]"),
            ("FP32", [2**62, 0], b"", "FP32 cannot have shape"),
            ("BYTES", [2**62, 0], b"", "BYTES cannot have shape"),
            ("BYTES", [2**45], b"", "expected 35184372088832 BYTES elements, got 0"),
            ("BYTES", [-1], b"", "expected -1 BYTES elements, got 0"),
            ("BYTES", [-1, -1], bytes(4), "BYTES cannot have shape [-1, -1]"),
            ("STRING", [1], b"x", "unknown datatype 'STRING'; expected one of BOOL"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, datatype: str, shape: list[int], raw: bytes, problem: str) -> None:
        with pytest.raises(CodecError) as caught:
            from_raw(datatype, shape, raw)
        assert problem in str(caught.value)

    @pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "timedelta64[s]", "longdouble", "i4,f4", "V4"])
    def test_numpy_types_that_the_protocol_has_not(self, dtype: str) -> None:
        with pytest.raises(CodecError, match="has no datatype in the protocol; use one of BOOL"):
            to_raw(np.empty(2, dtype=dtype))

    @pytest.mark.parametrize(("element", "problem"), [(3, "got int"), (None, "got NoneType"), ("\ud800", "Unicode")])
    def test_elements_that_are_neither_bytes_nor_text(self, element: object, problem: str) -> None:
        with pytest.raises(CodecError, match=problem):
            to_raw(np.array([b"fine", element], dtype=object))


class TestElements:
    @given(ELEMENTS)
    def test_round_trip(self, elements: list[bytes]) -> None:
        raw = join_elements(elements)
        assert split_elements(raw, len(elements)) == elements
        assert split_elements(memoryview(raw), len(elements)) == elements
        ends = element_ends(raw, len(elements))
        assert len(ends) == len(elements)
        assert ends[-1:] == ([len(raw)] if elements else [])

    @given(ELEMENTS.filter(bool), st.data())
    def test_every_cut_is_noticed(self, elements: list[bytes], data: st.DataObject) -> None:
        raw = join_elements(elements)
        at = data.draw(st.integers(0, len(raw) - 1))
        with pytest.raises(CodecError, match=r"cut off|expected"):
            element_ends(raw[:at], len(elements))

    @given(st.binary(max_size=40), st.integers(0, 5))
    def test_any_bytes_are_elements_or_refused(self, raw: bytes, count: int) -> None:
        try:
            elements = split_elements(raw, count)
        except CodecError:
            return
        assert join_elements(elements) == raw
        assert len(elements) == count

    @pytest.mark.parametrize(
        ("raw", "problem"),
        [
            (b"\x01\x00\x00", "BYTES element 0 is cut off: 3 of its 4 length bytes are there"),
            (b"\x05\x00\x00\x00abc", "BYTES element 0 is cut off: its length asks for 2 more bytes"),
            (join_elements([b"a", b"b"]), "more than the 1 BYTES elements expected: 5 bytes are left over"),
            (b"", "expected 1 BYTES elements, got 0"),
        ],
    )
    def test_problems_are_told_apart(self, raw: bytes, problem: str) -> None:
        with pytest.raises(CodecError) as caught:
            element_ends(raw, 1)
        assert str(caught.value) == problem


class TestContents:
    @given(tensors(TYPED))
    def test_typed_values_become_the_raw_encoding(self, drawn: tuple[str, Array]) -> None:
        datatype, array = drawn
        if array.dtype.kind == "f":  # protobuf may change the bits of a NaN, never its being one
            array = np.nan_to_num(array)
        contents = filled(CONTENTS_FIELDS[datatype], array.ravel().tolist())
        assert contents_to_raw(datatype, array.shape, contents) == array.tobytes()

    def test_nan_and_infinity(self) -> None:
        contents = InferTensorContents(fp32_contents=[float("nan"), float("inf")])
        values = from_raw("FP32", [2], contents_to_raw("FP32", [2], contents))
        assert np.isnan(values[0])
        assert np.isposinf(values[1])

    @given(ELEMENTS)
    def test_bytes(self, elements: list[bytes]) -> None:
        contents = InferTensorContents(bytes_contents=elements)
        assert contents_to_raw("BYTES", [len(elements)], contents) == join_elements(elements)

    @pytest.mark.parametrize("datatype", sorted(set(DATATYPES) - set(CONTENTS_FIELDS)))
    def test_datatypes_without_a_list(self, datatype: str) -> None:
        with pytest.raises(CodecError, match=f"{datatype} has no typed contents; send it in raw_input_contents"):
            contents_to_raw(datatype, [1], InferTensorContents(fp32_contents=[1.0]))

    @pytest.mark.parametrize("datatype", ["INT8", "INT16", "UINT8", "UINT16"])
    def test_values_outside_a_narrow_type_are_refused_not_cut(self, datatype: str) -> None:
        limits = np.iinfo(numpy_dtype(datatype))
        field = CONTENTS_FIELDS[datatype]
        for value in (limits.min, limits.max):
            raw = contents_to_raw(datatype, [1], filled(field, [int(value)]))
            assert from_raw(datatype, [1], raw).tolist() == [value]
        beyond = filled(field, [int(limits.max) + 1])
        with pytest.raises(CodecError, match=f"a value outside {datatype}'s {limits.min} to {limits.max}"):
            contents_to_raw(datatype, [1], beyond)

    @pytest.mark.parametrize("datatype", CONTENTS_FIELDS)
    def test_every_other_list_is_refused(self, datatype: str) -> None:
        expected = CONTENTS_FIELDS[datatype]
        for field in sorted(set(CONTENTS_FIELDS.values()) - {expected}):
            values = [b"x"] if field == "bytes_contents" else [1]
            with pytest.raises(CodecError) as caught:
                contents_to_raw(datatype, [1], filled(field, values))
            assert str(caught.value) == f"{datatype} is carried by contents.{expected}, got contents.{field}"

    def test_two_lists_are_refused(self) -> None:
        contents = InferTensorContents(fp32_contents=[1.0], int_contents=[1])
        with pytest.raises(CodecError, match=r"got contents\.int_contents, contents\.fp32_contents"):
            contents_to_raw("FP32", [1], contents)

    @pytest.mark.parametrize("count", [0, 3, 5])
    def test_a_wrong_count_is_refused(self, count: int) -> None:
        contents = InferTensorContents(fp32_contents=[0.0] * count)
        with pytest.raises(CodecError, match=rf"FP32 of shape \[2, 2\] needs 4 elements, got {count}"):
            contents_to_raw("FP32", [2, 2], contents)


def test_bfloat16_without_ml_dtypes_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(CodecError, match="BF16 needs the package ml_dtypes"):
        numpy_dtype("BF16")


BESIDE_TRITONCLIENT = """
import sys
from importlib import import_module

for name in sys.argv[1:]:
    import_module(name)
from quadriga_proto.inference_pb2 import ModelInferRequest as Ours
from tritonclient.grpc.service_pb2 import ModelInferRequest as Theirs

assert Ours is not Theirs
for sender, receiver in ((Theirs, Ours), (Ours, Theirs)):
    sent = sender(model_name="m", model_version="1", id="7", raw_input_contents=[bytes(16), b"xy"])
    sent.parameters["timeout"].int64_param = 5
    image = sent.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    image.parameters["binary_data_size"].int64_param = 16
    sent.inputs.add(name="more", datatype="UINT8", shape=[2]).contents.uint_contents.extend([1, 2])
    sent.outputs.add(name="scores").parameters["classification"].int64_param = 3
    encoded = sent.SerializeToString(deterministic=True)
    received = receiver.FromString(encoded)
    assert received.SerializeToString(deterministic=True) == encoded
    assert str(received) == str(sent)
    assert list(received.inputs[0].shape) == [1, 4] and received.raw_input_contents[1] == b"xy"
"""


@pytest.mark.parametrize(
    "order",
    [("tritonclient.grpc", "quadriga_proto.inference_pb2"), ("quadriga_proto.inference_pb2", "tritonclient.grpc")],
)
def test_messages_live_beside_tritonclients_and_are_the_same_bytes(order: tuple[str, str]) -> None:
    command = [sys.executable, "-c", BESIDE_TRITONCLIENT, *order]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
