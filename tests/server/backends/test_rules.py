"""The rules that every backend ends its loading with, and warming up. No framework is needed for them."""

from collections.abc import Sequence

import numpy as np
import pytest

from quadriga.backends.base import Backend, ModelLoadError, ModelSource, first_line
from quadriga.backends.contract import settle
from quadriga.specs import ANY, ModelSpec, TensorSpec
from quadriga_proto.codec import Array


def tensor(name: str, *shape: int, datatype: str = "FP32") -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


class Recording(Backend):
    """Notes the shapes that it is given, and fails when there are fewer columns than `needs`."""

    def __init__(self, needs: int = 0) -> None:
        self.seen: list[list[tuple[int, ...]]] = []
        self._needs = needs

    def load(self, source: ModelSource) -> ModelSpec:
        raise NotImplementedError

    def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
        there = [array for array in inputs if array is not None]
        self.seen.append([array.shape for array in there])
        if any(array.shape[-1] < self._needs for array in there):
            raise ValueError("\x1b[1mtoo few columns\x1b[0m\nand a long explanation")
        return there


def spec(*inputs: TensorSpec, batches: bool = True) -> ModelSpec:
    return ModelSpec(inputs=inputs, outputs=inputs, batches=batches)


def test_a_model_batches_when_every_first_dimension_is_open() -> None:
    settled = settle(ModelSource(path="m"), [tensor("a", ANY, 3)], [tensor("b", ANY)])
    assert (settled.batches, settled.inputs[0].shape, settled.outputs[0].shape) == (True, (3,), ())


@pytest.mark.parametrize("output", [tensor("b", 1, 3), tensor("b")], ids=["fixed", "scalar"])
def test_a_model_does_not_batch_when_one_first_dimension_is_fixed(output: TensorSpec) -> None:
    settled = settle(ModelSource(path="m"), [tensor("a", ANY, 3)], [output])
    assert (settled.batches, settled.inputs[0].shape) == (False, (ANY, 3))


def test_a_configuration_may_forbid_batching() -> None:
    settled = settle(ModelSource(path="m", batches=False), [tensor("a", ANY, 3)], [tensor("b", ANY, 3)])
    assert (settled.batches, settled.inputs[0].shape) == (False, (ANY, 3))


def test_a_configuration_cannot_make_a_fixed_batch_grow() -> None:
    with pytest.raises(ModelLoadError, match=r"'a' of m has shape \[1, 3\] .*set max_batch_size to 0"):
        settle(ModelSource(path="m", batches=True), [tensor("a", 1, 3)], [tensor("b", ANY, 3)])


def test_open_dimensions_are_narrowed_and_fixed_ones_are_kept() -> None:
    source = ModelSource(path="m", inputs=(tensor("a", 32, ANY, 3),))
    settled = settle(source, [tensor("a", ANY, ANY, 16, 3)], [tensor("b", ANY, 1)])
    assert settled.inputs[0].shape == (32, 16, 3)


@pytest.mark.parametrize("declared", [tensor("a", 4), tensor("a", 3, 1), tensor("a", 3, datatype="INT8")])
def test_a_declared_output_that_the_file_contradicts_is_refused_with_both(declared: TensorSpec) -> None:
    source = ModelSource(path="m", outputs=(declared,))
    with pytest.raises(ModelLoadError, match=r"declares output 'a' as .*, but m has FP32\[3\]"):
        settle(source, [tensor("x", ANY, 3)], [tensor("a", ANY, 3)])


def test_a_model_without_outputs_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="1 inputs and 0 outputs"):
        settle(ModelSource(path="m"), [tensor("a", ANY)], [])


def test_every_batch_size_is_warmed_up_and_open_dimensions_are_one() -> None:
    backend = Recording()
    backend.warm_up(spec(tensor("a", ANY, 3)), [2, 1])
    assert backend.seen == [[(2, 1, 3)], [(1, 1, 3)]]


def test_a_model_that_does_not_batch_is_warmed_up_with_its_own_shape() -> None:
    backend = Recording()
    backend.warm_up(spec(tensor("a", 5, 3), batches=False), [1])
    assert backend.seen == [[(5, 3)]]


def test_a_model_of_texts_is_not_warmed_up() -> None:
    backend = Recording()
    backend.warm_up(spec(tensor("a", 2, datatype="BYTES")), [2, 1])
    assert backend.seen == []


def test_a_model_that_does_not_run_on_its_own_shapes_is_refused_in_one_line() -> None:
    with pytest.raises(ModelLoadError) as caught:
        Recording(needs=4).warm_up(spec(tensor("a", 3)), [2, 1])
    assert str(caught.value) == "the model does not run on a batch of 2 zeros: ValueError: too few columns"


def test_a_guessed_size_that_does_not_run_ends_the_warming_up_only() -> None:
    backend = Recording(needs=4)
    backend.warm_up(spec(tensor("a", ANY)), [2, 1])
    assert len(backend.seen) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n\n  first\nsecond", "ValueError: first"),
        (
            "Exception encountered when calling Conv2D.call().\n\n\x1b[1mwhat is wrong\x1b[0m",
            "ValueError: what is wrong",
        ),
        ("", "ValueError"),
    ],
)
def test_a_frameworks_error_is_told_in_its_first_line_that_says_something(text: str, line: str) -> None:
    assert first_line(ValueError(text)) == line


def test_zeros_have_the_datatype_of_the_contract() -> None:
    class Types(Recording):
        def infer(self, inputs: Sequence[Array | None]) -> Sequence[Array]:
            assert [array.dtype for array in inputs if array is not None] == [np.dtype(np.int64), np.dtype(np.float16)]
            return super().infer(inputs)

    backend = Types()
    backend.warm_up(spec(tensor("a", 1, datatype="INT64"), tensor("b", 1, datatype="FP16")), [1])
    assert len(backend.seen) == 1
