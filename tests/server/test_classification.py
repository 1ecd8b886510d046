"""Scores as the texts of their top classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from quadriga.classification import MOST_CLASSES, MOST_ELEMENTS, RANKED, classify
from quadriga.errors import InvalidInput
from quadriga_proto.codec import numpy_dtype, split_elements, to_raw


def classes(
    array: np.ndarray[Any, Any], count: int, labels: Sequence[str] = (), datatype: str = "FP32", batches: bool = True
) -> tuple[tuple[int, ...], list[str]]:
    """Shape and texts."""
    raw = memoryview(to_raw(array.astype(numpy_dtype(datatype))))
    shape, texts = classify(datatype, array.shape, raw, batches, count, labels)
    return shape, [text.decode() for text in split_elements(texts, int(np.prod(shape)))]


def test_the_best_come_first_with_six_decimals_and_their_index() -> None:
    assert classes(np.array([[0.25, 0.5, 0.125]]), 2) == ((1, 2), ["0.500000:1", "0.250000:0"])


def test_each_row_is_ranked_by_itself() -> None:
    shape, texts = classes(np.array([[1, 2], [4, 3], [0, -1]]), 1)
    assert (shape, texts) == ((3, 1), ["2.000000:1", "4.000000:0", "0.000000:0"])


def test_all_dimensions_of_a_row_count_as_one() -> None:
    shape, texts = classes(np.arange(8).reshape(2, 2, 2), 2)
    assert (shape, texts) == ((2, 2), ["3.000000:3", "2.000000:2", "7.000000:3", "6.000000:2"])


def test_without_rows_the_whole_output_is_ranked() -> None:
    assert classes(np.array([[1, 4], [3, 2]]), 3, batches=False) == ((3,), ["4.000000:1", "3.000000:2", "2.000000:3"])
    assert classes(np.array(7.0), 3, batches=False) == ((1,), ["7.000000:0"])


def test_no_more_classes_than_elements() -> None:
    assert classes(np.array([[1.0, 2.0]]), 2**62)[0] == (1, 2)


@pytest.mark.parametrize(("batches", "shape"), [(True, (2, 0)), (False, (0,))])
def test_no_elements_are_no_classes(batches: bool, shape: tuple[int, ...]) -> None:
    assert classes(np.zeros((2, 0)), 3, batches=batches) == (shape, [])


def test_of_equals_the_lower_index_comes_first() -> None:
    assert classes(np.array([[1, 2, 2, 1, 2]]), 4)[1] == ["2.000000:1", "2.000000:2", "2.000000:4", "1.000000:0"]
    assert classes(np.array([[5, 5, 5, 5]]), 2)[1] == ["5.000000:0", "5.000000:1"]


def test_labels_follow_where_there_are_any() -> None:
    assert classes(np.array([[1, 3, 2]]), 3, ["cat", "dog"])[1] == ["3.000000:1:dog", "2.000000:2", "1.000000:0:cat"]
    assert classes(np.array([[1.0]]), 1, ["größe:1"])[1] == ["1.000000:0:größe:1"]


def test_what_is_no_number_comes_last() -> None:
    array = np.array([[np.nan, -1, np.inf, -np.inf, np.nan]])
    assert classes(array, 3)[1] == ["inf:2", "-1.000000:1", "nan:0"]
    assert len(classes(np.array([[np.nan, np.nan]]), 2)[1]) == 2


@pytest.mark.parametrize("datatype", RANKED)
def test_every_datatype_that_can_be_ranked(datatype: str) -> None:
    top = "9.000000:2" if datatype.startswith("FP") else "9:2"
    assert classes(np.array([[3, 0, 9, 1]]), 1, datatype=datatype) == ((1, 1), [top])


def test_extremes_of_integers_are_not_mangled() -> None:
    low, high = np.iinfo(np.int64).min, np.iinfo(np.uint64).max
    assert classes(np.array([[0, low]], np.int64), 2, datatype="INT64")[1] == ["0:0", f"{low}:1"]
    assert classes(np.array([[0, high]], np.uint64), 1, datatype="UINT64")[1] == [f"{high}:1"]


def test_a_ranking_is_that_of_a_stable_sort() -> None:
    scores = np.random.default_rng(0).integers(0, 20, (3, 200))
    expected = [f"{row[i]}:{i}" for row in scores for i in sorted(range(200), key=lambda i: (-row[i], i))[:50]]
    assert classes(scores, 50, datatype="INT16")[1] == expected


def test_a_row_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidInput, match=f"of 1000001 elements; expected at most {MOST_ELEMENTS}"):
        classes(np.zeros((1, MOST_ELEMENTS + 1)), 1, datatype="INT8")
    assert classes(np.zeros((2, MOST_ELEMENTS)), 1, datatype="INT8")[0] == (2, 1)


def test_more_classes_than_the_server_has_time_for_are_refused() -> None:
    with pytest.raises(InvalidInput, match=f"25001 classes of each of 2 rows; expected at most {MOST_CLASSES}"):
        classes(np.zeros((2, 30_000)), 25_001, datatype="INT8")
    assert classes(np.zeros((2, 30_000)), 25_000, datatype="INT8")[0] == (2, 25_000)
