"""Whether contestants answer alike, with arrays of known differences."""

from typing import Any

import numpy as np
import pytest

from quadriga_client.compare.agreement import Answers, agreement
from quadriga_client.compare.likeness import Agreement, Tolerance
from quadriga_proto.codec import Array

TOLERANCE = Tolerance(absolute=0.01, relative=0.1)
ONES = np.ones((2, 3), np.float32)


def compared(first: dict[str, Array], other: dict[str, Array], tolerance: Tolerance = TOLERANCE) -> Agreement:
    return agreement(Answers(contestant="A", outputs=[first]), Answers(contestant="B", outputs=[other]), tolerance)


def changed(array: Array, place: tuple[int, ...], value: Any) -> Array:
    copy = array.copy()
    copy[place] = value
    return copy


def test_equal_answers_agree() -> None:
    found = compared({"x": ONES}, {"y": ONES})
    assert (found.agrees, found.problems) == (True, ())
    (output,) = found.outputs
    assert (output.name, output.other_name, output.elements, output.differing) == ("x", "y", 6, 0)
    assert output.largest_difference == 0


@pytest.mark.parametrize(("value", "agrees"), [(1.1, True), (1.12, False), (0.9, True), (0.88, False)])
def test_the_tolerance_is_that_of_allclose(value: float, agrees: bool) -> None:
    other = changed(ONES, (1, 2), value)
    found = compared({"x": ONES}, {"x": other})
    assert found.agrees == agrees
    assert found.agrees == np.allclose(other, ONES, rtol=TOLERANCE.relative, atol=TOLERANCE.absolute)
    assert found.outputs[0].largest_difference == pytest.approx(abs(value - 1))


def test_a_difference_is_told_with_its_size_and_its_values() -> None:
    other = changed(changed(ONES, (0, 0), 1.5), (1, 2), 3.0)
    found = compared({"x": ONES}, {"y": other})
    assert found.problems == ("B's 'y' differs from A's 'x' in 2 of 6 elements by up to 2 (3 where 1 was expected)",)
    assert found.outputs[0].differing == 2


@pytest.mark.parametrize("side", ["A", "B", "both"])
def test_nan_never_agrees(side: str) -> None:
    nan = changed(ONES, (0, 1), np.nan)
    found = compared({"x": nan if side != "B" else ONES}, {"x": nan if side != "A" else ONES})
    assert not found.agrees
    sides = [side] if side != "both" else ["A", "B"]
    assert found.problems == tuple(f"{each}'s 'x' is NaN in 1 of 6 elements" for each in sides)


def test_equal_infinities_agree_and_others_do_not() -> None:
    infinite = changed(ONES, (0, 1), np.inf)
    assert compared({"x": infinite}, {"x": infinite}).agrees
    found = compared({"x": ONES}, {"x": infinite})
    assert not found.agrees
    assert found.outputs[0].largest_difference is None
    assert "(inf where 1 was expected)" in found.problems[0]
    assert not compared({"x": infinite}, {"x": -infinite}).agrees


@pytest.mark.parametrize(
    ("first", "other", "agrees"),
    [
        (np.array([7, 8], np.int64), np.array([7, 8], np.int64), True),
        (np.array([1000, 8], np.int64), np.array([1001, 8], np.int64), False),
        (np.array([True, False]), np.array([True, True]), False),
        (np.array([b"cat", b"dog"], object), np.array([b"cat", b"dog"], object), True),
        (np.array([b"cat", b"dog"], object), np.array([b"cat", b"cow"], object), False),
    ],
)
def test_what_is_no_fraction_must_be_equal(first: Array, other: Array, agrees: bool) -> None:
    assert compared({"x": first}, {"x": other}).agrees == agrees


def test_texts_are_shown_where_they_differ() -> None:
    found = compared({"x": np.array([b"cat", b"dog"], object)}, {"x": np.array([b"cat", b"cow"], object)})
    assert found.problems[0].endswith("in 1 of 2 elements (b'cow' where b'dog' was expected)")


def test_outputs_are_matched_by_name_where_the_names_are_the_same() -> None:
    assert compared({"x": ONES, "y": 2 * ONES}, {"y": 2 * ONES, "x": ONES}).agrees


def test_outputs_are_matched_by_position_where_the_names_differ() -> None:
    assert compared({"x": ONES, "y": 2 * ONES}, {"a": ONES, "b": 2 * ONES}).agrees
    assert not compared({"x": ONES, "y": 2 * ONES}, {"a": 2 * ONES, "b": ONES}).agrees


def test_another_number_of_outputs_is_told() -> None:
    found = compared({"x": ONES}, {"x": ONES, "y": ONES})
    assert found.problems == ("B answers with 2 outputs (x, y), and A with 1 output (x)",)
    assert (found.agrees, found.outputs) == (False, ())


@pytest.mark.parametrize(
    ("other", "described"), [(np.ones((2, 4), np.float32), "FP32[2,4]"), (np.ones((2, 3)), "FP64[2,3]")]
)
def test_another_shape_or_datatype_is_told(other: Array, described: str) -> None:
    found = compared({"x": ONES}, {"y": other})
    assert found.problems == (f"B's 'y' is {described}, and A's 'x' is FP32[2,3]",)


def test_top_1_is_the_share_of_rows_with_the_same_best_class() -> None:
    first = np.eye(4, dtype=np.float32)
    other = first.copy()
    other[2] = other[3]
    assert compared({"x": first}, {"x": other}).top1 == 0.75


def test_top_1_counts_all_requests() -> None:
    one, two = np.array([[0.0, 1.0]], np.float32), np.array([[1.0, 0.0]], np.float32)
    first = Answers(contestant="A", outputs=[{"x": one}, {"x": one}])
    found = agreement(first, Answers(contestant="B", outputs=[{"x": one}, {"x": two}]), TOLERANCE)
    assert (found.top1, found.outputs[0].elements, found.outputs[0].differing) == (0.5, 4, 2)


@pytest.mark.parametrize("array", [np.ones(3, np.float32), np.ones((2, 1), np.float32), np.ones((2, 3, 4), np.float32)])
def test_what_has_no_scores_by_row_has_no_top_1(array: Array) -> None:
    assert compared({"x": array}, {"x": array}).top1 is None


def test_no_elements_agree() -> None:
    nothing = np.empty((0, 3), np.float32)
    assert compared({"x": nothing}, {"x": nothing}).agrees
