"""The article's finding, held against figures that bear it out, that refute it, and that do not tell."""

from dataclasses import replace
from typing import Any

import pytest
from studies import calls, served, study
from study.claims import Judged, Verdict, judge, trials
from study.figures import LIKE_KERAS, Study
from study.ways import MODEL, MODULE, PREDICT, SIGNATURE

EQUAL_AND_SLOW = {"tensorflow": 1.0, "pytorch": 1.05, "keras on tensorflow": 2.0, "keras on torch": 5.0}
#: Rounds that vary by so much that 1.25 is out of reach of their mean by some four standard errors.
UNEVEN = (0.9, 1.1, 0.93, 1.07, 0.92, 1.08)


def judged(measured: Study) -> Judged:
    """The verdicts on the only trial."""
    (found,) = judge(trials(measured))
    return found


def test_the_finding_holds_where_two_are_equal_and_keras_is_slower_than_both() -> None:
    found = judged(study(epochs=EQUAL_AND_SLOW))
    assert found.equal is Verdict.HOLDS
    assert found.keras_slow is Verdict.HOLDS


def test_the_finding_fails_where_the_two_part_and_keras_is_as_fast_as_one() -> None:
    found = judged(study(epochs=EQUAL_AND_SLOW | {"pytorch": 0.5, "keras on tensorflow": 1.0}))
    assert found.equal is Verdict.FAILS
    assert found.keras_slow is Verdict.FAILS


def test_the_finding_is_not_decided_where_ratios_are_too_near_the_bound() -> None:
    measured = study(epochs=EQUAL_AND_SLOW | {"tensorflow": 1.0, "pytorch": 0.8, "keras on tensorflow": 1.25})
    # So that seeds do not always go up and down together.
    trainings = [replace(each, seed=20 - each.seed) if each.name == LIKE_KERAS else each for each in measured.trainings]
    found = judged(replace(measured, trainings=tuple(trainings)))
    assert found.equal is Verdict.UNDECIDED
    assert found.keras_slow is Verdict.UNDECIDED


def test_training_compares_the_same_layers_and_not_the_zoos_other_network() -> None:
    (trial,) = trials(study(epochs=EQUAL_AND_SLOW | {"tensorflow": 9.0, LIKE_KERAS: 1.05}))
    assert trial.tensorflow_to_pytorch.value == pytest.approx(1.0)
    assert trial.keras_to_tensorflow.value == pytest.approx(2.0 / 1.05)


def test_networks_with_different_numbers_of_weights_are_not_compared() -> None:
    measured = study(epochs=EQUAL_AND_SLOW)
    others = [replace(each, parameters=70_000) if each.name == LIKE_KERAS else each for each in measured.trainings]
    assert trials(replace(measured, trainings=tuple(others))) == ()


def test_a_training_counts_once_however_many_epochs_it_has() -> None:
    (trial,) = trials(study(epochs=EQUAL_AND_SLOW))
    # Of six, those between the lowest and the highest.
    assert trial.tensorflow_to_pytorch.pairs == 4


def test_another_bound_gives_other_verdicts() -> None:
    found = trials(study(epochs=EQUAL_AND_SLOW | {"pytorch": 1.15, "keras on tensorflow": 1.7}))
    verdicts = {bound: (each.equal, each.keras_slow) for bound in (1.1, 1.25, 1.5) for each in judge(found, bound)}
    assert verdicts == {
        1.1: (Verdict.FAILS, Verdict.HOLDS),
        1.25: (Verdict.HOLDS, Verdict.HOLDS),
        1.5: (Verdict.HOLDS, Verdict.FAILS),
    }


def test_of_many_conditions_what_is_shown_by_itself_may_not_be_shown() -> None:
    def measured(batches: int) -> Study:
        steady = (("tensorflow", SIGNATURE, 1.0), ("keras on tensorflow", PREDICT, 3.0))
        timed = [calls(name, way, batch, ms) for name, way, ms in steady for batch in range(1, batches + 1)]
        # No two alike: those would be one ratio.
        uneven = [
            replace(calls("pytorch", MODULE, batch, 1.0), ms=tuple(each + batch / 1e6 for each in UNEVEN))
            for batch in range(1, batches + 1)
        ]
        return study(timed=[*timed, *uneven])

    for batches, expected in ((1, Verdict.HOLDS), (20, Verdict.UNDECIDED)):
        found = trials(measured(batches))
        assert {each.equal for each in judge(found, corrected=False)} == {Verdict.HOLDS}
        assert {each.equal for each in judge(found)} == {expected}


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
    verdicts = {each.trial.condition: each for each in judge(tuple(found.values()))}
    assert verdicts["calls on 2 threads, Keras by model(x), 8 rows"].keras_slow is Verdict.FAILS


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


def test_a_server_whose_requests_failed_is_no_condition() -> None:
    loaded = [served("tensorflow", 1000.0), served("pytorch", 1000.0), served("keras on tensorflow", 1000.0)]
    assert len(trials(study(loaded=loaded))) == 1
    assert trials(study(loaded=[*loaded[:2], replace(loaded[2], errors=1)])) == ()
