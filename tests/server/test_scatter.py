"""Each request gets its own rows of a batch's outputs, whatever their encoding; broken outputs fail the batch."""

from typing import Any, cast

import numpy as np
import pytest

from quadriga.errors import InferenceFailed
from quadriga.requests import Batch, Caller, Request
from quadriga.scatter import row_ends, split_outputs
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.workers.messages import Region
from quadriga_proto.codec import from_raw, to_raw

Array = np.ndarray[Any, Any]


def batch_of(*rows: int) -> Batch:
    nobody = cast("Caller", None)
    return Batch([Request(nobody, (), (), (), count, 0, 0) for count in rows], 0)


def spec_of(*datatypes: str, batches: bool = True) -> ModelSpec:
    tensors = tuple(TensorSpec(name=f"y{index}", datatype=kind, shape=(-1,)) for index, kind in enumerate(datatypes))
    return ModelSpec(inputs=tensors, outputs=tensors, batches=batches)


def laid_out(*arrays: Array) -> tuple[list[Region], "memoryview[int]"]:
    """Outputs in a segment, one after the other with a gap between them."""
    regions, segment = [], bytearray()
    for array in arrays:
        segment += b"\xff" * 8
        raw = bytes(to_raw(array))
        regions.append(Region(array.shape, len(segment), len(raw)))
        segment += raw
    return regions, memoryview(bytes(segment))


def split(batch: Batch, spec: ModelSpec, *arrays: Array) -> list[list[Array]]:
    regions, view = laid_out(*arrays)
    return [
        [
            from_raw(tensor.datatype, output.shape, output.raw)
            for tensor, output in zip(spec.outputs, outputs, strict=True)
        ]
        for outputs in split_outputs(regions, view, batch, spec)
    ]


def texts(*rows: list[bytes]) -> Array:
    array = np.empty((len(rows), len(rows[0])), dtype=object)
    array[:] = rows
    return array


def test_each_request_gets_its_rows_of_every_output() -> None:
    numbers = np.arange(12, dtype=np.float32).reshape(6, 2)
    words = texts([b"a", b""], [b"bc", b"d"], [b"", b""], [b"efg", b"h" * 300], [b"i", b"j"], [b"k", b"l"])
    parts = split(batch_of(1, 3, 2), spec_of("FP32", "BYTES"), numbers, words)
    for (number, word), (start, end) in zip(parts, [(0, 1), (1, 4), (4, 6)], strict=True):
        np.testing.assert_array_equal(number, numbers[start:end])
        np.testing.assert_array_equal(word, words[start:end])


@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_rows_without_elements_are_empty_parts(datatype: str) -> None:
    array = np.empty((3, 0), dtype=object if datatype == "BYTES" else np.float32)
    parts = split(batch_of(1, 2), spec_of(datatype), array)
    assert [outputs[0].shape for outputs in parts] == [(1, 0), (2, 0)]


def test_a_model_that_does_not_batch_gives_its_outputs_whole() -> None:
    whole = np.arange(6, dtype=np.int64).reshape(2, 3)
    ((got,),) = split(batch_of(1), spec_of("INT64", batches=False), whole)
    np.testing.assert_array_equal(got, whole)


def test_parts_are_views_and_not_copies() -> None:
    regions, view = laid_out(np.zeros((2, 2), np.float32))
    for (output,) in split_outputs(regions, view, batch_of(1, 1), spec_of("FP32")):
        assert output.raw.obj is view.obj


def test_a_missing_output_fails_the_batch() -> None:
    with pytest.raises(InferenceFailed, match="1 outputs where its contract names 2"):
        split(batch_of(1), spec_of("FP32", "FP32"), np.zeros((1, 2), np.float32))


@pytest.mark.parametrize("shape", [(), (2,), (4, 2)])
def test_an_output_that_has_not_the_batchs_rows_fails_it(shape: tuple[int, ...]) -> None:
    with pytest.raises(InferenceFailed, match=r"'y0' with shape .* for a batch of 3 rows"):
        split(batch_of(1, 2), spec_of("FP32"), np.zeros(shape, np.float32))


def test_broken_text_fails_the_batch() -> None:
    tensor = TensorSpec(name="y", datatype="BYTES", shape=(1,))
    with pytest.raises(InferenceFailed, match="broken BYTES output 'y'"):
        row_ends(memoryview(b"\x09\x00\x00\x00abc"), (1, 1), tensor, 1)
