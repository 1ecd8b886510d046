"""Reasons follow the figures: what they say turns round when the figures do, and without figures there are none."""

from studies import calls, study
from study import reasons
from study.figures import LIKE_KERAS, Calls
from study.ways import MODEL, MODULE, PREDICT, PREDICT_ON_BATCH, SERVED, SIGNATURE

KERAS = "keras on tensorflow"


def keras_calls(way: str, small: float, large: float) -> list[Calls]:
    """A way that takes so many ms at batch 1 and 32, where the served one takes 0.5 and 2."""
    return [
        calls(KERAS, way, 1, small),
        calls(KERAS, way, 32, large),
        calls(KERAS, SERVED, 1, 0.5),
        calls(KERAS, SERVED, 32, 2.0),
    ]


def test_a_constant_cost_is_called_a_price_per_call_whose_weight_falls() -> None:
    (text,) = reasons.reasons(study(timed=keras_calls(PREDICT, 50.5, 52.0)))
    assert "On 2 threads, model.predict(x) of Keras takes 101 times" in text
    assert "It adds 50.0 ms to a call there and 50.0 ms here, for 32 times the rows: a price per call" in text
    assert text.endswith("its weight falls as batches grow.")


def test_a_cost_that_grows_with_the_rows_is_not_called_constant() -> None:
    (text,) = reasons.reasons(study(timed=keras_calls(PREDICT, 5.0, 200.0)))
    assert "so that it grows with the rows" in text
    assert "price per call" not in text
    assert "weight falls" not in text


def test_no_cost_is_explained_where_none_was_seen() -> None:
    (text,) = reasons.reasons(study(timed=keras_calls(MODEL, 0.5, 2.0)))
    assert "adds" not in text


def test_keras_compiled_is_only_called_as_fast_as_tensorflow_where_it_is() -> None:
    for ms, expected in ((1.05, True), (2.0, False)):
        timed = [
            calls(KERAS, PREDICT_ON_BATCH, 1, ms),
            calls("tensorflow", SIGNATURE, 1, 1.0),
        ]
        (text,) = reasons.reasons(study(timed=timed))
        assert ("shows no such cost" in text) is expected


def tensorflow_and_pytorch(signature: tuple[float, float], module: tuple[float, float], served: float) -> list[Calls]:
    """Calls of both with 1 and 32 rows, and PyTorch's as served with 32."""
    return [
        *(calls("tensorflow", SIGNATURE, batch, ms) for batch, ms in zip((1, 32), signature, strict=True)),
        *(calls("pytorch", MODULE, batch, ms) for batch, ms in zip((1, 32), module, strict=True)),
        calls("pytorch", SERVED, 32, served),
    ]


def test_why_tensorflow_and_pytorch_part_is_told_by_their_prices_per_call_and_per_row() -> None:
    # 0.5 ms a call and 0.1 a row, against 0.1 and 0.2.
    (text,) = reasons.reasons(study(timed=tensorflow_and_pytorch((0.6, 3.7), (0.3, 6.5), 3.25)))
    assert "a SavedModel's signature takes 2.00 times (2.00–2.00) as long as PyTorch's module(x) at batch 1" in text  # noqa: RUF001
    assert "TensorFlow costs 0.500 ms a call and 0.100 ms a row, and PyTorch 0.100 ms and 0.200 ms: " in text
    assert "TensorFlow's price per call makes it the slower one with few rows, and PyTorch's price per row" in text
    assert text.endswith("as this server runs them: so much is how it is run, and not what it computes.")
    assert "takes 2.00 times (2.00–2.00) as long as the same weights in TorchScript" in text  # noqa: RUF001


def test_the_reason_turns_round_where_the_figures_do() -> None:
    (text,) = reasons.reasons(study(timed=tensorflow_and_pytorch((0.3, 6.5), (0.6, 3.7), 1.0)))
    assert text.endswith(
        "PyTorch's price per call makes it the slower one with few rows, and TensorFlow's price per row makes it the "
        "slower one with many rows."
    )
    # PyTorch's eager call is slow with many rows, and as slow as served.
    (text,) = reasons.reasons(study(timed=tensorflow_and_pytorch((0.6, 3.7), (0.3, 6.5), 6.5)))
    assert "how it is run" not in text


def test_no_reason_is_given_for_a_difference_that_is_not_there() -> None:
    assert reasons.reasons(study(timed=tensorflow_and_pytorch((0.6, 3.7), (0.6, 3.7), 1.0))) == []
    # A call that takes as long with 32 rows has no price per row.
    (text,) = reasons.reasons(study(timed=tensorflow_and_pytorch((0.6, 0.6), (0.3, 6.5), 6.5)))
    assert "straight line" not in text


def test_networks_of_different_size_are_not_passed_off_as_the_same() -> None:
    epochs = {"tensorflow": 1.5, LIKE_KERAS: 1.0, KERAS: 1.0, "keras on torch": 4.0, "pytorch": 1.0}
    sizes, loop = reasons.reasons(study(epochs=epochs))
    assert "has 70,000 weights, 6.36 times as many as Keras' 11,000" in sizes
    assert "an epoch of the zoo's own takes 1.50 times (1.50–1.50) as long" in sizes  # noqa: RUF001
    assert "Keras on PyTorch takes 4.00 times" in loop
    assert "dispatches layer by layer" in loop


def test_keras_on_pytorch_is_not_explained_where_it_is_not_slow() -> None:
    epochs = {"tensorflow": 1.0, KERAS: 1.0, "keras on torch": 1.0, "pytorch": 1.0}
    *_, loop = reasons.reasons(study(epochs=epochs))
    assert "about as fast" in loop
    assert "dispatches" not in loop
