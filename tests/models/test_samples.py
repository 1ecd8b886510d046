"""What a model is compared on, with stand-ins for Keras' models."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quadriga_zoo.datasets import load
from quadriga_zoo.errors import DatasetError
from quadriga_zoo.samples import IMAGES, IMAGES_OF_LARGE, LARGE_PARAMETERS, RANDOM_ROWS, fit, samples_for

Shape = tuple[int | None, ...]


def network(*inputs: Shape, dtype: str = "float32", classes: int = 10, parameters: int = 1000) -> Any:
    tensors = [SimpleNamespace(shape=shape, dtype=dtype) for shape in inputs]
    output = SimpleNamespace(shape=(None, classes))
    return SimpleNamespace(inputs=tensors, outputs=[output], count_params=lambda: parameters)


def test_a_network_of_the_data_set_gets_every_test_image_as_it_is() -> None:
    digits = load("digits")
    samples = samples_for(network((None, 32, 32, 3)), "digits", None)
    np.testing.assert_array_equal(samples.inputs[0], digits.test_images)
    np.testing.assert_array_equal(samples.labels, digits.test_labels)
    assert (samples.classes, samples.dataset) == (digits.labels, "digits")


@pytest.mark.parametrize(
    ("size", "dtype"), [((224, 224, 3), "float32"), ((48, 20, 1), "float64"), ((8, 8, 3), "float16")]
)
def test_images_take_the_models_size_channels_and_type(size: tuple[int, ...], dtype: str) -> None:
    samples = samples_for(network((None, *size), dtype=dtype, classes=1000), "digits", None)
    (images,) = samples.inputs
    assert images.shape == (IMAGES, *size)
    assert images.dtype == dtype
    assert images.std() > 0.2
    assert (len(samples.labels), samples.classes, samples.dataset) == (0, (), "digits")


def test_resized_images_still_show_the_same_digit() -> None:
    images = load("digits").test_images[:3]
    large = fit(images, 64, 64, 3)
    means = large.reshape(3, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(means - images).max() < 0.25
    np.testing.assert_allclose(fit(images, 32, 32, 1)[..., 0], images[..., 0], atol=1e-6)


def test_open_sizes_take_the_images_as_they_are() -> None:
    samples = samples_for(network((None, None, None, 3), classes=5), "digits", None)
    assert samples.inputs[0].shape == (IMAGES, 32, 32, 3)


def test_other_sizes_with_as_many_classes_have_an_accuracy_too() -> None:
    samples = samples_for(network((None, 64, 64, 3)), "digits", None)
    assert (len(samples.labels), len(samples.classes)) == (IMAGES, 10)


def test_large_networks_get_fewer_images() -> None:
    samples = samples_for(network((None, 32, 32, 3), parameters=LARGE_PARAMETERS + 1), "digits", None)
    assert len(samples.inputs[0]) == len(samples.labels) == IMAGES_OF_LARGE


@pytest.mark.parametrize(
    ("inputs", "dtype"),
    [
        ([(None, 6), (None, 2, 3)], "float32"),
        ([(None, 32, 32, 3), (None, 32, 32, 3)], "float32"),
        ([(None, 3, 32, 32)], "float32"),
        ([(None, 32, None, 4)], "float32"),
        ([(None, 32, 32, 3)], "uint8"),
        ([(None, 20)], "int32"),
    ],
)
def test_what_takes_no_image_gets_the_same_random_numbers_every_time(inputs: Sequence[Shape], dtype: str) -> None:
    model = network(*inputs, dtype=dtype)
    samples = samples_for(model, "not even looked for", None)
    assert samples.dataset == ""
    assert len(samples.labels) == 0
    for array, again, shape in zip(samples.inputs, samples_for(model, "digits", None).inputs, inputs, strict=True):
        assert array.shape == (RANDOM_ROWS, *(size or 8 for size in shape[1:]))
        assert array.dtype == dtype
        assert array.min() < array.max()
        np.testing.assert_array_equal(array, again)


def test_a_data_set_that_is_not_there_is_an_error_where_images_are_needed(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cifar-10-python\.tar\.gz"):
        samples_for(network((None, 32, 32, 3)), "cifar10", tmp_path)
