"""The warm-ups of a configuration in a worker: what they make of a contract, and how those fail that do not fit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quadriga.backends.base import Backend, ModelLoadError, ModelSource
from quadriga.specs import ModelSpec, TensorSpec
from quadriga.warm_up import WarmUp, WarmUpInput
from quadriga.workers.warm_up import make_inputs, run_warm_ups
from quadriga_proto.codec import ITEM_SIZES, Array, numpy_dtype, to_raw

IMAGE = TensorSpec(name="image", datatype="FP32", shape=(-1, 2))
TEXT = TensorSpec(name="text", datatype="BYTES", shape=(1,))
SPEC = ModelSpec(inputs=(IMAGE, TEXT), outputs=(IMAGE,), batches=True)


class Recording(Backend):
    """Keeps the inputs of every batch, and fails on the last of them."""

    def __init__(self, good: int = 1000) -> None:
        self.batches: list[list[Any]] = []
        self._good = good

    def load(self, source: ModelSource) -> ModelSpec:
        return SPEC

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        self.batches.append(list(inputs))
        if len(self.batches) > self._good:
            raise RuntimeError("kernel size can't be greater\nthan the image")
        return [array for array in inputs if array is not None]


def given(datatype: str, *shape: int, content: Any = "zeros", file: str = "") -> WarmUpInput:
    return WarmUpInput(datatype=datatype, shape=shape, content=content, file=file)


def warm_up(rows: int = 2, count: int = 1, **inputs: WarmUpInput) -> WarmUp:
    fitting = {"image": given("FP32", 3, 2), "text": given("BYTES", 1)}
    return WarmUp(name="sample", batch_size=rows, inputs={**fitting, **inputs}, count=count)


def refusal(folder: Path, sample: WarmUp, spec: ModelSpec = SPEC, largest: int = 4) -> str:
    backend = Recording()
    with pytest.raises(ModelLoadError) as caught:
        run_warm_ups(backend, spec, [sample], folder, largest)
    assert backend.batches == []
    assert str(caught.value).startswith("model_warmup 'sample': ")
    return str(caught.value)


def test_each_is_run_as_often_as_it_says_in_the_contracts_order_of_inputs(tmp_path: Path) -> None:
    backend = Recording()
    run_warm_ups(backend, SPEC, [warm_up(count=2), warm_up(rows=4)], tmp_path, 4)
    assert [[(array.shape, array.dtype.kind) for array in batch] for batch in backend.batches] == [
        [((rows, 3, 2), "f"), ((rows, 1), "O")] for rows in (2, 2, 4)
    ]
    assert backend.batches[0][1].tolist() == [[b""], [b""]]


def test_a_model_that_does_not_batch_gets_no_batch_dimension(tmp_path: Path) -> None:
    spec = ModelSpec(inputs=SPEC.inputs, outputs=(IMAGE,), batches=False)
    arrays = make_inputs(warm_up(rows=1), spec, tmp_path)
    assert [np.shape(array) for array in arrays if array is not None] == [(3, 2), (1,)]
    assert "batch_size is 2; expected 1" in refusal(tmp_path, warm_up(rows=2), spec)


def test_files_hold_the_raw_encoding_of_all_rows(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    texts = np.array([[b"one"], [b""]], object)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "pixels").write_bytes(pixels.tobytes())
    (tmp_path / "texts").write_bytes(to_raw(texts))
    image = given("FP32", 3, 2, content="file", file="images/pixels")
    arrays = make_inputs(warm_up(image=image, text=given("BYTES", 1, content="file", file="texts")), SPEC, tmp_path)
    np.testing.assert_array_equal(arrays[0], pixels)
    np.testing.assert_array_equal(arrays[1], texts)


def test_an_optional_input_may_be_left_out(tmp_path: Path) -> None:
    tensors = tuple(
        TensorSpec(name=name, datatype="FP32", shape=(3, 2), optional=name == "mask") for name in ("image", "mask")
    )
    spec = ModelSpec(inputs=tensors, outputs=(), batches=True)
    sample = WarmUp(name="w", batch_size=2, inputs={"image": given("FP32", 3, 2)})
    image, mask = make_inputs(sample, spec, tmp_path)
    assert image is not None
    assert mask is None


@pytest.mark.parametrize("datatype", [*ITEM_SIZES, "BYTES"])
def test_random_data_is_within_its_range_differs_and_is_the_same_at_every_start(tmp_path: Path, datatype: str) -> None:
    spec = ModelSpec(inputs=(TensorSpec(name="x", datatype=datatype, shape=(200,)),), outputs=(), batches=True)
    sample = WarmUp(name="w", batch_size=2, inputs={"x": given(datatype, 200, content="random")})
    (array,) = make_inputs(sample, spec, tmp_path)
    assert array is not None
    assert (array.shape, array.dtype) == ((2, 200), numpy_dtype(datatype))
    assert len(set(array.ravel().tolist())) > 1
    np.testing.assert_array_equal(make_inputs(sample, spec, tmp_path)[0], array)
    if datatype == "BYTES":
        assert all(isinstance(text, bytes) and 0 < len(text) <= 16 for text in array.ravel())
    elif array.dtype.kind in "iu":
        assert int(array.max()) > np.iinfo(array.dtype).max // 2
    elif datatype != "BOOL":
        floats = array.astype(np.float64)
        assert floats.min() >= 0
        assert floats.max() < 1


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (warm_up(rows=5), "batch_size is 5; expected 1 to max_batch_size, 4"),
        (warm_up(mask=given("BOOL", 1)), "the model has no input 'mask'; it has 'image', 'text'"),
        (WarmUp(name="sample", batch_size=1, inputs={"text": given("BYTES", 1)}), "input 'image' is missing"),
        (warm_up(image=given("FP64", 3, 2)), "input 'image' has datatype FP64; expected FP32"),
        (warm_up(image=given("FP32", 3, 4)), "input 'image' has dims [3, 4]; expected [-1, 2]"),
        (warm_up(image=given("FP32", 1, 3, 2)), "input 'image' has dims [1, 3, 2]; expected [-1, 2]"),
        (warm_up(image=given("FP32", 2**60, 2)), ""),
        (warm_up(image=given("FP32", 3, 2, content="file", file="nothing")), "nothing cannot be read: No such file"),
        (warm_up(image=given("FP32", 3, 2, content="file", file="short")), "needs 48 bytes, got 5"),
        (warm_up(text=given("BYTES", 1, content="file", file="short")), "cut off"),
        (warm_up(image=given("FP32", 3, 2, content="file", file="out")), "out is a link out of"),
        (warm_up(image=given("FP32", 3, 2, content="file", file="folder")), "folder is a folder; expected a file"),
    ],
)
def test_what_does_not_fit_the_contract_or_has_no_data_is_refused(tmp_path: Path, sample: WarmUp, message: str) -> None:
    folder = tmp_path / "warmup"
    (folder / "folder").mkdir(parents=True)
    (folder / "short").write_bytes(b"\x09\0\0\0a")
    (tmp_path / "secret").write_bytes(bytes(48))
    (folder / "out").symlink_to(tmp_path / "secret")
    assert message in refusal(folder, sample)


def test_a_model_that_does_not_run_on_one_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        run_warm_ups(Recording(good=1), SPEC, [warm_up(count=3)], tmp_path, 4)
    expected = "the model does not run on model_warmup 'sample': RuntimeError: kernel size can't be greater"
    assert str(caught.value) == expected
