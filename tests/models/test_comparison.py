"""Comparing outputs with those of the source."""

from pathlib import Path

import numpy as np
import pytest

from quadriga_zoo.comparison import Reference, findings, largest_difference
from quadriga_zoo.errors import ExportError, ZooError
from quadriga_zoo.runner import run_job

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5], [0.4, 0.3, 0.3]], np.float32)
IMAGES = np.zeros((4, 32, 32, 3), np.float32)
NOBODY_KNOWS = np.empty(0, np.int64)


def test_largest_difference() -> None:
    ones = np.ones((2, 3), np.float32)
    assert largest_difference([ones, ones + 0.5], [ones, ones]) == 0.5
    assert np.isnan(largest_difference([ones * np.nan], [ones]))
    with pytest.raises(ExportError, match="shapes"):
        largest_difference([ones], [ones[:1]])


def test_findings_on_images_whose_classes_are_known() -> None:
    reference = Reference((IMAGES,), (SCORES,), np.array([1, 0, 0, 0]), "digits")
    other = SCORES.copy()
    other[3] = [0.3, 0.4, 0.3]
    assert findings([other], reference) == {
        "largest_difference": pytest.approx(0.1),
        "compared_on": "test images",
        "dataset": "digits",
        "rows": 4,
        "top1_agreement": 0.75,
        "accuracy": 0.5,
    }


def test_findings_on_random_numbers() -> None:
    reference = Reference((IMAGES,), (SCORES.reshape(4, 3, 1, 1), SCORES), NOBODY_KNOWS, "")
    assert findings(reference.outputs, reference) == {
        "largest_difference": 0.0,
        "compared_on": "random numbers",
        "rows": 4,
        "top1_agreement": 1.0,
    }


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    reference = Reference((IMAGES, IMAGES[:, 0]), (SCORES,), np.array([1, 2, 3, 4]), "fashion_mnist")
    reference.save(tmp_path / "reference.npz")
    again = Reference.load(tmp_path / "reference.npz")
    assert again.dataset == "fashion_mnist"
    for found, expected in zip(
        (*again.inputs, *again.outputs, again.labels), (IMAGES, IMAGES[:, 0], SCORES, reference.labels), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_file_that_differs_from_its_source_is_refused(demo_repository: Path, tmp_path: Path) -> None:
    Reference((IMAGES,), (np.zeros((4, 10), np.float32),), NOBODY_KNOWS, "digits").save(tmp_path / "r.npz")
    file = str(demo_repository / "digits_onnx" / "1" / "model.onnx")
    with pytest.raises(ZooError, match=r"model\.onnx differs from its source by [0-9.]+ on 4 inputs; at most 0\.0001"):
        run_job("verify", {"file": file, "backend": "onnx", "reference": str(tmp_path / "r.npz")})
