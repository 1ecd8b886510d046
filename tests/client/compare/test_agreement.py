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
def test_the_tolerance_of_an_output_whose_largest_is_1_is_that_of_allclose(value: float, agrees: bool) -> None:
    other = changed(ONES, (1, 2), value)
    found = compared({"x": ONES}, {"x": other})
    assert found.agrees == agrees
    assert found.agrees == np.allclose(other, ONES, rtol=TOLERANCE.relative, atol=TOLERANCE.absolute)
    assert found.outputs[0].largest_difference == pytest.approx(abs(value - 1))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_absolute_tolerance_is_of_the_largest_value_of_the_output(scale: float) -> None:
    first = np.array([[1.0, 0.0, -0.5]], np.float32) * np.float32(scale)
    near, far = first.copy(), first.copy()
    near[0, 1], far[0, 1] = 0.009 * scale, 0.011 * scale
    assert compared({"x": first}, {"x": near}).agrees
    assert not compared({"x": first}, {"x": far}).agrees


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


@pytest.mark.parametrize("value", [1.0, -np.inf, np.nan, 3e38])
def test_where_infinity_was_expected_nothing_else_agrees(value: float) -> None:
    infinite = changed(ONES, (0, 1), np.inf)
    found = compared({"x": infinite}, {"x": changed(ONES, (0, 1), value)})
    assert not found.agrees
    assert found.outputs[0].differing == 1


def test_an_infinite_element_makes_no_other_one_agree() -> None:
    infinite = changed(ONES, (0, 1), np.inf)
    assert not compared({"x": infinite}, {"x": changed(infinite, (1, 1), 2.0)}).agrees


@pytest.mark.parametrize(
    ("first", "other", "agrees"),
    [
        (np.array([7, 8], np.int64), np.array([7, 8], np.int64), True),
        (np.array([1000, 8], np.int64), np.array([1001, 8], np.int64), False),
        (np.array([2**60], np.int64), np.array([2**60 + 1], np.int64), False),
        (np.array([2**64 - 1], np.uint64), np.array([2**64 - 2], np.uint64), False),
        (np.array([True, False]), np.array([True, True]), False),
        (np.array([b"cat", b"dog"], object), np.array([b"cat", b"dog"], object), True),
        (np.array([b"cat", b"dog"], object), np.array([b"cat", b"cow"], object), False),
    ],
)
def test_what_is_no_fraction_must_be_equal(first: Array, other: Array, agrees: bool) -> None:
    assert compared({"x": first}, {"x": other}).agrees == agrees


@pytest.mark.parametrize(
    ("first", "other", "by"),
    [
        (np.array([2**60], np.int64), np.array([2**60 + 1], np.int64), 1.0),
        (np.array([-(2**63)], np.int64), np.array([2**63 - 1], np.int64), 2.0**64),
        (np.array([3], np.uint8), np.array([5], np.uint8), 2.0),
        (np.array([-100], np.int8), np.array([100], np.int8), 200.0),
        (np.array([True]), np.array([False]), 1.0),
    ],
)
def test_the_difference_of_whole_numbers_is_exact(first: Array, other: Array, by: float) -> None:
    assert compared({"x": first}, {"x": other}).outputs[0].largest_difference == by


def test_whole_numbers_are_shown_with_all_their_digits() -> None:
    found = compared({"x": np.array([2**60], np.int64)}, {"x": np.array([2**60 + 1], np.int64)})
    assert found.problems[0].endswith("(1152921504606846977 where 1152921504606846976 was expected)")


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


def test_answers_whose_outputs_change_their_names_are_told() -> None:
    answers = Answers(contestant="B", outputs=[{"x": ONES}, {"y": ONES}])
    found = agreement(Answers(contestant="A", outputs=[{"x": ONES}] * 2), answers, TOLERANCE)
    assert found.problems == ("B answers one request with 1 output (x), and another with 1 output (y)",)
    assert not found.agrees


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


@pytest.mark.parametrize(("swapped", "agrees"), [(1, True), (2, False)])
def test_other_best_classes_are_a_disagreement_though_all_scores_are_near(swapped: int, agrees: bool) -> None:
    first = np.tile(np.array([0.504, 0.496], np.float32), (20, 1))
    other = first.copy()
    other[:swapped] = other[:swapped, ::-1]
    found = compared({"x": first}, {"y": other})
    assert found.outputs[0].differing == 0
    assert (found.agrees, found.top1) == (agrees, 1 - swapped / 20)
    if not agrees:
        assert found.problems == (
            "B's 'y' has the same best class as A's 'x' in 90.0% of the rows; at least 95% are expected",
        )


LOGITS = np.array([[3.0, -1.0, 7.0], [0.5, 2.0, -4.0]], np.float32)


@pytest.mark.parametrize(("classes", "top1"), [(0, None), (4, None), (3, 1.0)])
def test_rows_that_are_no_probabilities_have_a_top_1_where_the_server_names_as_many_classes(
    classes: int, top1: float | None
) -> None:
    first, other = (Answers(contestant=name, outputs=[{"x": LOGITS}], classes=classes) for name in "AB")
    assert agreement(first, other, TOLERANCE).top1 == top1


@pytest.mark.parametrize(
    "array",
    [
        np.ones(3, np.float32),
        np.ones((2, 1), np.float32),
        np.full((2, 3, 4), 0.25, np.float32),
        np.eye(2, dtype=np.int64),
        LOGITS,
        np.array([[1.5, -0.5]], np.float32),
        np.empty((0, 3), np.float32),
    ],
)
def test_what_is_not_known_to_be_of_classes_has_no_top_1(array: Array) -> None:
    assert compared({"x": array}, {"x": array}).top1 is None


def test_no_elements_agree() -> None:
    nothing = np.empty((0, 3), np.float32)
    assert compared({"x": nothing}, {"x": nothing}).agrees
