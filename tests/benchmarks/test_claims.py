"""The article's finding, held against figures that bear it out, that refute it, and that do not tell."""

from dataclasses import replace
from typing import Any

import pytest
from studies import calls, served, study
from study.claims import Relation, Verdict, relation, trials
from study.ways import MODEL, MODULE, PREDICT, SIGNATURE

from quadriga_client.load.report import Interval

EQUAL_AND_SLOW = {"tensorflow": 1.0, "pytorch": 1.05, "keras on tensorflow": 2.0, "keras on torch": 5.0}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.3, 1.5, Relation.SLOWER),
        (0.6, 0.7, Relation.FASTER),
        (0.9, 1.2, Relation.ALIKE),
        (1.2, 1.3, Relation.UNDECIDED),
        (0.7, 0.9, Relation.UNDECIDED),
        (0.5, 2.0, Relation.UNDECIDED),
        (None, None, Relation.UNDECIDED),
    ],
)
def test_a_relation_is_that_of_the_whole_interval(low: float | None, high: float | None, expected: Relation) -> None:
    assert relation(Interval(value=1.0, low=low, high=high)) is expected


def test_the_finding_holds_where_two_are_equal_and_keras_is_slower_than_both() -> None:
    (trial,) = trials(study(epochs=EQUAL_AND_SLOW))
    assert trial.equal() is Verdict.HOLDS
    assert trial.keras_slow() is Verdict.HOLDS


def test_the_finding_fails_where_the_two_part_and_keras_is_as_fast_as_one() -> None:
    (trial,) = trials(study(epochs=EQUAL_AND_SLOW | {"pytorch": 0.5, "keras on tensorflow": 1.0}))
    assert trial.equal() is Verdict.FAILS
    assert trial.keras_slow() is Verdict.FAILS


def test_the_finding_is_not_decided_where_an_interval_lies_across_the_bound() -> None:
    measured = study(epochs=EQUAL_AND_SLOW | {"tensorflow": 1.0, "pytorch": 0.8, "keras on tensorflow": 1.25})
    # So that rounds do not always go up and down together.
    reversed_ = [replace(each, seconds=(1.0, *each.seconds[:0:-1])) for each in measured.trainings[:1]]
    (trial,) = trials(replace(measured, trainings=(*reversed_, *measured.trainings[1:])))
    assert trial.equal() is Verdict.UNDECIDED
    assert trial.keras_slow() is Verdict.UNDECIDED


def test_calls_are_compared_for_each_number_of_threads_way_of_keras_and_batch_size() -> None:
    timed = [
        calls(framework, way, batch, ms, threads)
        for threads, factor in ((1, 10.0), (2, 1.0))
        for batch in (1, 8)
        for framework, way, ms in (
            ("tensorflow", SIGNATURE, 1.0),
            ("pytorch", MODULE, 1.0),
            ("keras on tensorflow", PREDICT, 3.0 * factor),
            ("keras on tensorflow", MODEL, 1.0 * factor),
        )
    ]
    found = {trial.condition: trial for trial in trials(study(timed=timed))}
    assert list(found) == [
        f"calls on {threads}, Keras by {way}, {rows}"
        for threads in ("1 thread", "2 threads")
        for way in ("model.predict(x)", "model(x)")
        for rows in ("1 row", "8 rows")
    ]
    for threads, expected in (("1 thread", 30.0), ("2 threads", 3.0)):
        predicted = found[f"calls on {threads}, Keras by model.predict(x), 1 row"]
        assert predicted.keras_to_tensorflow.value == pytest.approx(expected)
    assert found["calls on 2 threads, Keras by model(x), 8 rows"].keras_slow() is Verdict.FAILS


def test_servers_are_compared_by_the_inverse_of_their_answers() -> None:
    loaded = [
        served("tensorflow", 1000.0),
        served("pytorch", 2000.0),
        served("keras on tensorflow", 500.0),
        served("keras on tensorflow: model.predict(x)", 1.0, naive=True),
    ]
    (trial,) = trials(study(loaded=loaded))
    assert trial.condition == "served, 1 row a request, 8 callers"
    assert trial.tensorflow_to_pytorch.value == pytest.approx(2.0)
    assert trial.keras_to_tensorflow.value == pytest.approx(2.0)
    assert trial.keras_to_pytorch.value == pytest.approx(4.0)


def test_what_was_not_measured_of_all_three_is_no_condition() -> None:
    assert trials(study(timed=[calls("tensorflow", SIGNATURE, 1, 1.0)], loaded=[served("pytorch", 1.0)])) == ()


@pytest.mark.parametrize("useless", [{"saturated": True}, {"throughput": 0.0}])
def test_a_server_that_the_generator_did_not_keep_up_with_or_that_did_not_answer_is_no_condition(
    useless: dict[str, Any],
) -> None:
    loaded = [
        served("tensorflow", 1000.0),
        served("pytorch", 1000.0),
        served("keras on tensorflow", **({"throughput": 1000.0} | useless)),
    ]
    assert trials(study(loaded=loaded)) == ()
