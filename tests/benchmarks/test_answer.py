"""The answer follows the figures, and says what the study's own choices make of them."""

from studies import calls, served, study
from study.answer import answer, on_choices
from study.claims import KERAS, trials
from study.ways import MODEL, MODULE, PREDICT, SIGNATURE


def test_the_answer_tells_kinds_of_conditions_apart() -> None:
    epochs = {"tensorflow": 1.0, KERAS: 3.0, "keras on torch": 4.0, "pytorch": 1.0}
    loaded = [served("tensorflow", 1000.0), served("pytorch", 2000.0), served(KERAS, 1000.0)]
    assert answer(trials(study(epochs=epochs, loaded=loaded))) == [
        "That TensorFlow and PyTorch are about equally fast: in training, it holds in 1 of 1 condition; served by "
        "Quadriga, it does not hold in 1 of 1 condition, where the faster is PyTorch in 1.",
        "That Keras is slower than both: in training, it holds in 1 of 1 condition; served by Quadriga, it does not "
        "hold in 1 of 1 condition.",
    ]


def test_the_two_that_keras_is_held_against_count_once_however_keras_is_called() -> None:
    timed = [
        *(calls("tensorflow", SIGNATURE, batch, 1.0) for batch in (1, 8)),
        *(calls("pytorch", MODULE, batch, ms) for batch, ms in ((1, 1.0), (8, 2.0))),
        *(calls(KERAS, way, batch, 5.0) for way in (PREDICT, MODEL) for batch in (1, 8)),
    ]
    equal, slow = answer(trials(study(timed=timed)))
    assert "it holds in 1 and does not hold in 1 of 2 conditions, where the faster is TensorFlow in 1." in equal
    assert "it holds in 4 of 4 conditions." in slow


def test_it_is_counted_what_another_bound_and_no_correction_would_change() -> None:
    epochs = {"tensorflow": 1.0, KERAS: 1.4, "keras on torch": 4.0, "pytorch": 1.2}
    narrow, wide, corrected = on_choices(trials(study(epochs=epochs)))
    # Keras takes 1.4 and 1.17 times as long: only within 1.1 is it slower than both.
    assert narrow == (
        "A bound of 1.1 instead of 1.25 changes 2 of 2 verdicts, 2 of them from one that holds to one that does not or "
        "the other way round."
    )
    assert wide.startswith("A bound of 1.5 instead of 1.25 changes 0 of 2 verdicts")
    assert corrected.startswith("Verdicts are corrected for the number of ratios of their kind (3 in training).")
    assert corrected.endswith("Each by itself, 0 more of them would be decided.")


def test_nothing_is_answered_where_nothing_was_measured() -> None:
    (text,) = answer(trials(study()))
    assert text.startswith("Nothing was measured")
