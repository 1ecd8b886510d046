"""Scores of any kind become probabilities and the top classes."""

from typing import Any

import numpy as np
import pytest

from quadriga_client.classification import classify_result, probabilities, top_classes
from quadriga_client.errors import ResponseError
from quadriga_client.results import InferResult, ModelMetadata

ROWS = np.array([[0.7, 0.1, 0.2], [0.05, 0.9, 0.05]])
METADATA = ModelMetadata(
    name="m", versions=(), platform="", inputs=(), outputs=(), properties={"labels": '["a", "b", "c"]'}
)


def result(**outputs: Any) -> InferResult:
    return InferResult(outputs=outputs, model_name="m", model_version="1", id="", timings=None)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "scores",
    [ROWS, np.log(ROWS), np.log(ROWS) + 7.0, np.log(ROWS) - 7.0],
    ids=["probabilities", "log_softmax", "logits above", "logits below"],
)
def test_every_kind_of_score(scores: Any, dtype: Any) -> None:
    np.testing.assert_allclose(probabilities(scores.astype(dtype)), ROWS, atol=5e-3)


def test_one_row_decides_for_all() -> None:
    mixed = np.array([[0.7, 0.1, 0.2], [3.0, 1.0, 2.0]])
    assert probabilities(mixed)[0] == pytest.approx(np.exp(mixed[0]) / np.exp(mixed[0]).sum())


def test_certain_answers() -> None:
    certain = np.array([[0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(probabilities(certain), certain)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(probabilities(np.log(certain)), certain)


def test_large_logits_do_not_overflow() -> None:
    np.testing.assert_allclose(probabilities(np.array([[1e4, 0.0]])), [[1.0, 0.0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers(bad: float) -> None:
    with pytest.raises(ResponseError, match="finite"):
        probabilities(np.array([[0.5, 0.5], [bad, 0.5]]))


def test_no_row_is_all_impossible() -> None:
    with pytest.raises(ResponseError, match="finite"):
        probabilities(np.full((1, 3), -np.inf))


def test_the_most_probable_come_first() -> None:
    (row,) = top_classes(np.array([[0.2, 0.5, 0.1, 0.2]]), ["a", "b"], 3)
    assert [(entry.label, entry.index, entry.probability) for entry in row] == [
        ("b", 1, 0.5), ("a", 0, 0.2), ("3", 3, 0.2),
    ]  # fmt: skip


def test_top_k_above_the_number_of_classes() -> None:
    assert [len(row) for row in top_classes(ROWS, (), 99)] == [3, 3]


def test_the_output_named_scores_is_taken() -> None:
    found = classify_result(result(features=np.zeros((2, 8)), scores=ROWS), METADATA, 2, 1)
    assert [row[0].label for row in found] == ["a", "b"]
    found = classify_result(result(other=ROWS), METADATA, 2, 1)
    assert [row[0].label for row in found] == ["a", "b"]


def test_outputs_with_more_dimensions_are_rows() -> None:
    assert len(classify_result(result(scores=ROWS.reshape(2, 3, 1, 1)), METADATA, 2, 2)) == 2
    assert len(classify_result(result(scores=ROWS[0]), METADATA, 1, 2)) == 1


@pytest.mark.parametrize(
    "outputs",
    [{"scores": np.zeros((3, 3))}, {"scores": np.zeros((2, 1))}, {"scores": np.array([b"cat", b"dog"], object)}],
)
def test_answers_that_are_no_rows_of_scores(outputs: dict[str, Any]) -> None:
    with pytest.raises(ResponseError, match="no classifier"):
        classify_result(result(**outputs), METADATA, 2, 1)


def test_an_answer_without_outputs() -> None:
    with pytest.raises(ResponseError, match="without outputs"):
        classify_result(result(), METADATA, 2, 1)


@pytest.mark.parametrize("labels", ["not json", '{"a": 1}', '"abc"'])
def test_labels_that_are_no_list(labels: str) -> None:
    metadata = ModelMetadata(name="m", versions=(), platform="", inputs=(), outputs=(), properties={"labels": labels})
    with pytest.raises(ResponseError, match="labels"):
        classify_result(result(scores=ROWS), metadata, 2, 1)
