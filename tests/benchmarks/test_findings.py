"""Sentences follow the figures: what they say turns round when the figures do."""

from dataclasses import replace

import pytest
from studies import calls, served, study, training
from study import findings
from study.figures import LIKE_KERAS, Calls, Code, Purpose
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
    (text,) = findings.reasons(study(timed=keras_calls(PREDICT, 50.5, 52.0)))
    assert "On 2 threads, model.predict(x) of Keras takes 101 times" in text
    assert "It adds 50.0 ms to a call there and 50.0 ms here, for 32 times the rows: a price per call" in text
    assert text.endswith("its weight falls as batches grow.")


def test_a_cost_that_grows_with_the_rows_is_not_called_constant() -> None:
    (text,) = findings.reasons(study(timed=keras_calls(PREDICT, 5.0, 200.0)))
    assert "so that it grows with the rows" in text
    assert "price per call" not in text
    assert "weight falls" not in text


def test_no_cost_is_explained_where_none_was_seen() -> None:
    (text,) = findings.reasons(study(timed=keras_calls(MODEL, 0.5, 2.0)))
    assert "adds" not in text


def test_keras_compiled_is_only_called_as_fast_as_tensorflow_where_it_is() -> None:
    for ms, expected in ((1.05, True), (2.0, False)):
        timed = [
            calls(KERAS, PREDICT_ON_BATCH, 1, ms),
            calls("tensorflow", SIGNATURE, 1, 1.0),
        ]
        (text,) = findings.reasons(study(timed=timed))
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
    (text,) = findings.reasons(study(timed=tensorflow_and_pytorch((0.6, 3.7), (0.3, 6.5), 3.25)))
    assert "a SavedModel's signature takes 2.00 times (2.00–2.00) as long as PyTorch's module(x) at batch 1" in text  # noqa: RUF001
    assert "TensorFlow costs 0.500 ms a call and 0.100 ms a row, and PyTorch 0.100 ms and 0.200 ms: " in text
    assert "TensorFlow's price per call makes it the slower one with few rows, and PyTorch's price per row" in text
    assert text.endswith("as this server runs them: so much is how it is run, and not what it computes.")
    assert "takes 2.00 times (2.00–2.00) as long as the same weights in TorchScript" in text  # noqa: RUF001


def test_the_reason_turns_round_where_the_figures_do() -> None:
    (text,) = findings.reasons(study(timed=tensorflow_and_pytorch((0.3, 6.5), (0.6, 3.7), 1.0)))
    assert text.endswith(
        "PyTorch's price per call makes it the slower one with few rows, and TensorFlow's price per row makes it the "
        "slower one with many rows."
    )
    # PyTorch's eager call is slow with many rows, and as slow as served.
    (text,) = findings.reasons(study(timed=tensorflow_and_pytorch((0.6, 3.7), (0.3, 6.5), 6.5)))
    assert "how it is run" not in text


def test_no_reason_is_given_for_a_difference_that_is_not_there() -> None:
    assert findings.reasons(study(timed=tensorflow_and_pytorch((0.6, 3.7), (0.6, 3.7), 1.0))) == []
    # A call that takes as long with 32 rows has no price per row.
    (text,) = findings.reasons(study(timed=tensorflow_and_pytorch((0.6, 0.6), (0.3, 6.5), 6.5)))
    assert "straight line" not in text


def test_networks_of_different_size_are_not_passed_off_as_the_same() -> None:
    epochs = {"tensorflow": 1.5, LIKE_KERAS: 1.0, KERAS: 1.0, "keras on torch": 4.0, "pytorch": 1.0}
    sizes, loop = findings.reasons(study(epochs=epochs))
    assert "has 70,000 weights, 6.36 times as many as Keras' 11,000" in sizes
    assert "an epoch of the zoo's own takes 1.50 times (1.50–1.50) as long" in sizes  # noqa: RUF001
    assert "Keras on PyTorch takes 4.00 times" in loop
    assert "dispatches layer by layer" in loop


def test_keras_on_pytorch_is_not_explained_where_it_is_not_slow() -> None:
    epochs = {"tensorflow": 1.0, KERAS: 1.0, "keras on torch": 1.0, "pytorch": 1.0}
    *_, loop = findings.reasons(study(epochs=epochs))
    assert "about as fast" in loop
    assert "dispatches" not in loop


def test_naive_servers_are_held_against_quadrigas_models_of_the_same_framework_and_load() -> None:
    loaded = [
        served(KERAS, 4000.0),
        served("onnx", 2000.0),
        served("onnx", 1000.0, level=1),
        served(f"{KERAS}: model.predict(x)", 20.0, naive=True),
        served("onnx: session.run(None, x), 1 thread", 4000.0, naive=True, threads=1),
        served("pytorch: torch.jit.load(file)(x)", 20.0, naive=True),
    ]
    found = findings.beside_naive(loaded)
    assert [(each.server, each.callers) for each in found] == [
        (f"{KERAS}: model.predict(x)", 8),
        ("onnx: session.run(None, x), 1 thread", 8),
    ]
    assert [each.ratio.value for each in found] == pytest.approx([200.0, 0.5])
    assert findings.on_naive(found) == [
        "Beside naive servers, Quadriga answers more requests a second in 1 of 2 comparisons, 200 to 200 times as "
        "many, and fewer in 1: ONNX: session.run(None, x), 1 thread with 1 row a request, 8 callers, 0.500 times "
        "(0.500–0.500) as many. In 0 no difference is shown."  # noqa: RUF001
    ]


def test_a_naive_server_that_is_alike_is_neither_faster_nor_slower() -> None:
    mine = served("onnx", 1000.0)
    naive = served("onnx: session.run(None, x)", 1000.0, naive=True)
    found = findings.beside_naive([mine, replace(naive, throughput=naive.throughput[::-1])])
    assert findings.on_naive(found) == [
        "Beside naive servers, Quadriga answers more requests a second in 0 of 1 comparisons, and fewer in 0. In 1 no "
        "difference is shown."
    ]
    assert findings.on_naive([]) == []


def test_the_fastest_is_named_only_where_that_is_shown() -> None:
    next_one = served("tensorflow", 1000.0)
    next_one = replace(next_one, throughput=next_one.throughput[::-1])
    apart, level = (
        findings.fastest([served("onnx", fastest), next_one, served("pytorch", 500.0)]) for fastest in (2000.0, 1001.0)
    )
    assert apart[0].startswith("1 row a request, 8 callers: ONNX answers the most, 2.00 times (")
    assert apart[0].endswith(" as many as TensorFlow, next.")
    assert level == ["1 row a request, 8 callers: no difference shown between ONNX and TensorFlow."]


def test_who_the_generator_did_not_keep_up_with_is_not_passed_over_in_silence() -> None:
    loaded = [served("onnx", 9000.0, saturated=True), served("tensorflow", 1000.0), served("pytorch", 1000.0)]
    assert findings.fastest(loaded) == [
        "1 row a request, 8 callers, without ONNX, which the generator did not keep up with: no difference shown "
        "between TensorFlow and PyTorch."
    ]


def test_code_is_listed_in_the_order_of_its_length() -> None:
    codes = [
        Code(network=network, purposes=(Purpose(name="model", lines=count, statements=count),))
        for network, count in (("tensorflow", 30), ("keras", 10), ("pytorch", 20))
    ]
    assert findings.on_code(codes).endswith("fewest first: Keras 10, PyTorch 20, TensorFlow 30.")


def test_accuracies_are_told_from_the_lowest_to_the_highest() -> None:
    trainings = [replace(training("pytorch", "", 11_000, 0.5), accuracy=accuracy) for accuracy in (0.975, 0.99, 0.98)]
    assert findings.on_accuracy(trainings) == (
        "After all 3 trainings, between 97.5% and 99.0% of the test images are classified right."
    )
