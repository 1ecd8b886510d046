"""ModelInfer requests that fit a model, and every way in which they may not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from quadriga.errors import InvalidInput, RequestError
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.validate import RequestValidator
from quadriga_proto.codec import join_elements
from quadriga_proto.inference_pb2 import ModelInferRequest

OUTPUTS = (
    TensorSpec(name="scores", datatype="FP32", shape=(10,)),
    TensorSpec(name="features", datatype="FP32", shape=(64,)),
    TensorSpec(name="boxes", datatype="FP32", shape=(-1, 4)),
)


def tensor(name: str, datatype: str = "FP32", shape: Sequence[int] = (-1,)) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=tuple(shape))


def validator(*inputs: TensorSpec, max_batch_size: int = 8) -> RequestValidator:
    return RequestValidator("m", ModelSpec(inputs=inputs, outputs=OUTPUTS, batches=max_batch_size > 0), max_batch_size)


def request(*inputs: tuple[str, str, Sequence[int]], raw: Sequence[bytes] = ()) -> ModelInferRequest:
    """A request as it comes from the wire."""
    message = ModelInferRequest(model_name="m", raw_input_contents=raw)
    for name, datatype, shape in inputs:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
    return ModelInferRequest.FromString(message.SerializeToString())


def refusal(checks: RequestValidator, message: ModelInferRequest) -> str:
    """The message of the InvalidInput that the inputs raise, twice: a refusal is not remembered as right."""
    for _ in range(2):
        with pytest.raises(InvalidInput) as caught:
            checks.inputs(message)
    text = str(caught.value)
    assert text.startswith("model 'm'")
    assert "\n" not in text
    return text


PIXELS = validator(tensor("image", shape=(2, 2)))
PAIR = validator(tensor("a", shape=(2,)), tensor("b", "INT16", shape=(1,)))


class TestRightRequests:
    def test_a_raw_input(self) -> None:
        data = bytes(range(48))
        for _ in range(2):  # read in full, then remembered
            checked = PIXELS.inputs(request(("image", "FP32", (3, 2, 2)), raw=[data]))
            assert (checked.rows, checked.shapes, checked.data) == (3, ((3, 2, 2),), (data,))

    def test_the_largest_batch(self) -> None:
        assert PIXELS.inputs(request(("image", "FP32", (8, 2, 2)), raw=[bytes(128)])).rows == 8

    def test_inputs_are_put_into_the_models_order(self) -> None:
        message = request(("b", "INT16", (2, 1)), ("a", "FP32", (2, 2)), raw=[b"bbbb", bytes(16)])
        for _ in range(2):
            checked = PAIR.inputs(message)
            assert (checked.rows, checked.shapes, checked.data) == (2, ((2, 2), (2, 1)), (bytes(16), b"bbbb"))

    def test_typed_contents_become_raw(self) -> None:
        message = request(("b", "INT16", (2, 1)), ("a", "FP32", (2, 2)))
        message.inputs[0].contents.int_contents.extend([1, -1])
        message.inputs[1].contents.fp32_contents.extend([0.0, 1.0, 2.0, 3.0])
        checked = PAIR.inputs(message)
        assert checked.data[1] == b"\x01\x00\xff\xff"
        assert checked.data[0] == np.arange(4, dtype=np.float32).tobytes()

    def test_a_model_that_does_not_batch(self) -> None:
        checks = validator(tensor("x", shape=(2, 3)), max_batch_size=0)
        checked = checks.inputs(request(("x", "FP32", (2, 3)), raw=[bytes(24)]))
        assert (checked.rows, checked.shapes) == (1, ((2, 3),))

    def test_a_scalar_of_a_model_that_does_not_batch(self) -> None:
        checks = validator(tensor("x", shape=()), max_batch_size=0)
        assert checks.inputs(request(("x", "FP32", ()), raw=[bytes(4)])).shapes == ((),)

    def test_sizes_that_the_model_leaves_open(self) -> None:
        checks = validator(tensor("image", "UINT8", shape=(-1, -1, 3)))
        for shape in ((1, 4, 5, 3), (2, 1, 1, 3), (1, 0, 5, 3)):
            size = shape[0] * shape[1] * shape[2] * shape[3]
            assert checks.inputs(request(("image", "UINT8", shape), raw=[bytes(size)])).shapes == (shape,)

    def test_an_empty_input_as_empty_contents(self) -> None:
        message = request(("x", "FP32", (1, 0)))
        message.inputs[0].contents.SetInParent()
        assert validator(tensor("x")).inputs(message).data == (b"",)

    def test_bytes(self) -> None:
        checks = validator(tensor("text", "BYTES", shape=(2,)))
        raw = join_elements([b"a", b"", b"long", b"\x00"])
        assert checks.inputs(request(("text", "BYTES", (2, 2)), raw=[raw])).data == (raw,)
        message = request(("text", "BYTES", (2, 2)))
        message.inputs[0].contents.bytes_contents.extend([b"a", b"", b"long", b"\x00"])
        assert checks.inputs(message).data == (raw,)

    @pytest.mark.parametrize("datatype", ["FP16", "BF16"])
    def test_datatypes_that_only_travel_raw(self, datatype: str) -> None:
        checks = validator(tensor("x", datatype, shape=(3,)))
        assert checks.inputs(request(("x", datatype, (2, 3)), raw=[bytes(12)])).rows == 2

    def test_other_parameters_are_let_through(self) -> None:
        message = request(("image", "FP32", (1, 2, 2)), raw=[bytes(16)])
        message.inputs[0].parameters["content_type"].string_param = "np"
        assert PIXELS.inputs(message).rows == 1

    def test_a_model_without_inputs(self) -> None:
        assert validator(max_batch_size=0).inputs(request()).rows == 1


class TestWrongSets:
    def test_a_missing_input_is_named(self) -> None:
        text = refusal(PAIR, request(("a", "FP32", (1, 2)), raw=[bytes(8)]))
        assert text == "model 'm': missing 'b'; got 1 inputs, expected 'a', 'b'"

    def test_no_inputs(self) -> None:
        assert "missing 'a', 'b'; got 0 inputs" in refusal(PAIR, request())

    def test_an_unknown_input_is_named(self) -> None:
        text = refusal(PAIR, request(("a", "FP32", (1, 2)), ("c", "FP32", (1, 2)), raw=[bytes(8)] * 2))
        assert text == "model 'm': unknown input 'c'; expected 'a', 'b'"

    def test_a_surplus_input_is_named(self) -> None:
        inputs = [(name, "FP32", (1, 2)) for name in ("a", "b", "c")]
        assert "unknown input 'c'" in refusal(PAIR, request(*inputs, raw=[bytes(8)] * 3))

    def test_a_duplicate_is_named(self) -> None:
        text = refusal(PAIR, request(("a", "FP32", (1, 2)), ("a", "FP32", (1, 2)), raw=[bytes(8)] * 2))
        assert "input 'a' came 2 times; expected 'a', 'b', each once" in text

    def test_a_duplicate_besides_all_others_is_named(self) -> None:
        inputs = [("a", "FP32", (1, 2)), ("b", "INT16", (1, 1)), ("b", "INT16", (1, 1))]
        assert "input 'b' came 2 times" in refusal(PAIR, request(*inputs, raw=[bytes(8), b"bb", b"bb"]))

    def test_a_long_name_is_cut(self) -> None:
        assert len(refusal(PIXELS, request(("x" * 100_000, "FP32", (1, 2, 2)), raw=[bytes(16)]))) < 300


class TestWrongDescriptions:
    def test_a_wrong_datatype(self) -> None:
        text = refusal(PIXELS, request(("image", "FP64", (1, 2, 2)), raw=[bytes(32)]))
        assert text == "model 'm': input 'image' has datatype 'FP64'; expected FP32"

    @pytest.mark.parametrize("datatype", ["", "fp32", "STRING", "TYPE_FP32"])
    def test_a_datatype_that_is_none(self, datatype: str) -> None:
        text = refusal(PIXELS, request(("image", datatype, (1, 2, 2)), raw=[bytes(16)]))
        assert f"has datatype '{datatype}'; expected FP32" in text

    @pytest.mark.parametrize("shape", [(1, 2, 3), (1, 2), (1, 2, 2, 1), (4,), (1, 0, 2)])
    def test_a_wrong_shape(self, shape: Sequence[int]) -> None:
        text = refusal(PIXELS, request(("image", "FP32", shape), raw=[bytes(16)]))
        assert f"has shape {list(shape)}; expected [-1, 2, 2], whose first dimension is the rows" in text

    def test_a_wrong_shape_of_a_model_that_does_not_batch(self) -> None:
        checks = validator(tensor("x", shape=(2, -1)), max_batch_size=0)
        text = refusal(checks, request(("x", "FP32", (1, 2, 2)), raw=[bytes(16)]))
        assert text == "model 'm': input 'x' has shape [1, 2, 2]; expected [2, -1]"

    @pytest.mark.parametrize("shape", [(-1, 2, 2), (1, -1, -4), (-(2**63), 2, 2)])
    def test_a_negative_size(self, shape: Sequence[int]) -> None:
        text = refusal(PIXELS, request(("image", "FP32", shape), raw=[bytes(16)]))
        assert f"has shape {list(shape)}; expected [-1, 2, 2]" in text
        assert "with every size given" in text

    def test_negative_sizes_whose_product_is_right(self) -> None:
        checks = validator(tensor("x", shape=(-1, -1)))
        assert "with every size given" in refusal(checks, request(("x", "FP32", (1, -2, -2)), raw=[bytes(16)]))

    def test_no_dimensions(self) -> None:
        text = refusal(PIXELS, request(("image", "FP32", ()), raw=[bytes(4)]))
        assert "has no dimensions; expected [-1, 2, 2], whose first dimension is the rows" in text

    @pytest.mark.parametrize("rows", [0, 9, 2**40])
    def test_too_few_and_too_many_rows(self, rows: int) -> None:
        text = refusal(PIXELS, request(("image", "FP32", (rows, 2, 2)), raw=[b""]))
        assert f"input 'image' has {rows} rows; expected 1 to 8 in a request" in text

    def test_inputs_that_disagree_on_rows(self) -> None:
        text = refusal(PAIR, request(("a", "FP32", (2, 2)), ("b", "INT16", (3, 1)), raw=[bytes(16), bytes(6)]))
        assert text == "model 'm': input 'b' has 3 rows and another input 2; expected as many in each"

    @pytest.mark.parametrize("shape", [(1, 2**62, 2**62), (1, 2**62, 0), (1, 0, 2**31)])
    @pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
    def test_a_size_beyond_any_message(self, datatype: str, shape: Sequence[int]) -> None:
        checks = validator(tensor("x", datatype, shape=(-1, -1)))
        text = refusal(checks, request(("x", datatype, shape), raw=[b""]))
        assert f"has shape {list(shape)}, too large for {datatype}; expected at most 2147483647 bytes" in text

    def test_a_shape_of_very_many_dimensions_is_cut(self) -> None:
        assert len(refusal(PIXELS, request(("image", "FP32", [1] * 50_000), raw=[bytes(4)]))) < 300


class TestWrongData:
    @pytest.mark.parametrize("size", [0, 31, 33, 48])
    def test_a_wrong_byte_count(self, size: int) -> None:
        PIXELS.inputs(request(("image", "FP32", (2, 2, 2)), raw=[bytes(32)]))  # the description is known as right
        text = refusal(PIXELS, request(("image", "FP32", (2, 2, 2)), raw=[bytes(size)]))
        assert text == f"model 'm': input 'image' has {size} bytes; expected 32 for FP32 of shape [2, 2, 2]"

    def test_a_wrong_byte_count_where_sizes_are_open(self) -> None:
        checks = validator(tensor("x", "INT64"))
        assert "has 8 bytes; expected 16 for INT64" in refusal(checks, request(("x", "INT64", (1, 2)), raw=[bytes(8)]))

    @pytest.mark.parametrize(
        ("raw", "problem"),
        [
            (join_elements([b"a"]), "expected 2 BYTES elements, got 1"),
            (join_elements([b"a", b"b", b"c"]), "more than the 2 BYTES elements expected"),
            (join_elements([b"a"]) + b"\x01\x00", "2 of its 4 length bytes are there"),
            (join_elements([b"a", b"bcd"])[:-1], "BYTES element 1 is cut off: its length asks for 1 more bytes"),
            (b"\xff\xff\xff\xff", "BYTES element 0 is cut off"),
            (b"", "expected 2 BYTES elements, got 0"),
        ],
    )
    def test_wrong_bytes_elements(self, raw: bytes, problem: str) -> None:
        checks = validator(tensor("text", "BYTES", shape=(2,)))
        text = refusal(checks, request(("text", "BYTES", (1, 2)), raw=[raw]))
        assert text.startswith("model 'm': input 'text' of shape [1, 2] has wrong data: ")
        assert problem in text

    def test_no_data(self) -> None:
        text = refusal(PIXELS, request(("image", "FP32", (1, 2, 2))))
        assert "input 'image' has no data; expected an entry of raw_input_contents, or contents" in text

    def test_no_data_for_one_of_two(self) -> None:
        message = request(("a", "FP32", (1, 2)), ("b", "INT16", (1, 1)))
        message.inputs[0].contents.fp32_contents.extend([1.0, 2.0])
        assert "input 'b' has no data" in refusal(PAIR, message)

    @pytest.mark.parametrize("entries", [1, 3])
    def test_fewer_and_more_raw_entries_than_inputs(self, entries: int) -> None:
        message = request(("a", "FP32", (1, 2)), ("b", "INT16", (1, 1)), raw=[bytes(8)] * entries)
        assert f"raw_input_contents has {entries} entries for 2 inputs; expected one for each" in refusal(PAIR, message)

    def test_contents_and_raw(self) -> None:
        message = request(("image", "FP32", (1, 2, 2)), raw=[bytes(16)])
        PIXELS.inputs(message)
        message.inputs[0].contents.fp32_contents.extend([1.0] * 4)
        text = refusal(PIXELS, message)
        assert text == (
            "model 'm': input 'image' has contents in a request with raw_input_contents; expected one of the two"
        )

    def test_contents_and_raw_for_different_inputs(self) -> None:
        message = request(("a", "FP32", (1, 2)), ("b", "INT16", (1, 1)), raw=[bytes(8), bytes(2)])
        message.inputs[1].contents.int_contents.append(1)
        assert "input 'b' has contents in a request with raw_input_contents" in refusal(PAIR, message)

    @pytest.mark.parametrize(
        ("datatype", "contents", "problem"),
        [
            ("FP32", {"int_contents": [1, 2]}, "FP32 is carried by contents.fp32_contents, got contents.int_contents"),
            ("FP32", {"fp32_contents": [1, 2], "int_contents": [1]}, "got contents.int_contents, contents.fp32_cont"),
            ("FP32", {"fp32_contents": [1]}, "needs 2 elements, got 1"),
            ("FP32", {"fp32_contents": [1, 2, 3]}, "needs 2 elements, got 3"),
            ("FP32", {}, "needs 2 elements, got 0"),
            ("INT8", {"int_contents": [1, 128]}, "a value outside INT8's -128 to 127"),
            ("UINT16", {"uint_contents": [1, 65_536]}, "a value outside UINT16's 0 to 65535"),
            ("FP16", {"fp32_contents": [1, 2]}, "FP16 has no typed contents; send it in raw_input_contents"),
            ("BF16", {"fp32_contents": [1, 2]}, "BF16 has no typed contents; send it in raw_input_contents"),
            ("BYTES", {"bytes_contents": [b"a"]}, "needs 2 elements, got 1"),
        ],
    )
    def test_contents_that_do_not_fit(self, datatype: str, contents: dict[str, Any], problem: str) -> None:
        message = request(("x", datatype, (1, 2)))
        message.inputs[0].contents.SetInParent()
        for name, values in contents.items():
            getattr(message.inputs[0].contents, name).extend(values)
        text = refusal(validator(tensor("x", datatype, shape=(2,))), message)
        assert text.startswith("model 'm': input 'x' has contents that do not fit: ")
        assert problem in text


class TestMemory:
    """What the validator remembers of right requests."""

    def test_it_is_bounded(self) -> None:
        checks = validator(tensor("x", "UINT8", shape=(-1,)))
        padded = request(("x", "UINT8", (1, 7)), raw=[bytes(7)])
        padded.inputs[0].parameters["padding"].string_param = "p" * 100_000
        checks.inputs(padded)
        for size in range(3000):
            checks.inputs(request(("x", "UINT8", (1, size)), raw=[bytes(size)]))
        assert 0 < len(checks._known) < 3000
        assert max(map(len, checks._known)) < 1000

    def test_a_remembered_duplicate_is_still_one(self) -> None:
        PAIR.inputs(request(("a", "FP32", (1, 2)), ("b", "INT16", (1, 1)), raw=[bytes(8), bytes(2)]))
        text = refusal(PAIR, request(("a", "FP32", (1, 2)), ("a", "FP32", (1, 2)), raw=[bytes(8)] * 2))
        assert "input 'a' came 2 times" in text


class TestOptionalInputs:
    CHECKS = validator(tensor("a", shape=(2,)), TensorSpec(name="b", datatype="INT16", shape=(), optional=True))

    def test_one_may_be_left_out(self) -> None:
        for _ in range(2):
            checked = self.CHECKS.inputs(request(("a", "FP32", (3, 2)), raw=[bytes(24)]))
            assert (checked.rows, checked.shapes, checked.data) == (3, ((3, 2), None), (bytes(24), None))

    def test_one_may_be_left_out_with_typed_contents(self) -> None:
        message = request(("a", "FP32", (1, 2)))
        message.inputs[0].contents.fp32_contents.extend([0.0, 0.0])
        assert self.CHECKS.inputs(message).data == (bytes(8), None)

    def test_one_may_be_there(self) -> None:
        checked = self.CHECKS.inputs(request(("b", "INT16", (1,)), ("a", "FP32", (1, 2)), raw=[b"bb", bytes(8)]))
        assert (checked.shapes, checked.data) == (((1, 2), (1,)), (bytes(8), b"bb"))

    def test_all_may_be_left_out_where_all_are_optional(self) -> None:
        checks = validator(TensorSpec(name="a", datatype="FP32", shape=(2,), optional=True))
        checked = checks.inputs(request())
        assert (checked.rows, checked.shapes, checked.data) == (1, (None,), (None,))

    def test_a_required_one_may_not(self) -> None:
        text = refusal(self.CHECKS, request(("b", "INT16", (1,)), raw=[b"bb"]))
        assert text == "model 'm': missing 'a'; got 1 inputs, expected between 1 and 2 of 'a', 'b' (optional)"

    def test_a_duplicate_does_not_stand_for_one(self) -> None:
        text = refusal(self.CHECKS, request(("a", "FP32", (1, 2)), ("a", "FP32", (1, 2)), raw=[bytes(8)] * 2))
        assert "input 'a' came 2 times; expected between 1 and 2 of" in text

    def test_an_unknown_one_does_not_stand_for_one(self) -> None:
        text = refusal(self.CHECKS, request(("a", "FP32", (1, 2)), ("c", "FP32", (1, 2)), raw=[bytes(8)] * 2))
        assert "unknown input 'c'; expected between 1 and 2 of 'a', 'b' (optional)" in text


def test_refusals_carry_their_code() -> None:
    error: type[RequestError] = InvalidInput
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "invalid_input")


@pytest.mark.parametrize(("batches", "size"), [(True, 0), (False, 4)])
def test_a_limit_that_contradicts_the_contract_is_a_mistake_of_ours(batches: bool, size: int) -> None:
    with pytest.raises(ValueError, match="max_batch_size"):
        RequestValidator("m", ModelSpec(inputs=(), outputs=(), batches=batches), size)
