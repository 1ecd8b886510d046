"""Sentences follow the figures: what they say turns round when the figures do."""

from dataclasses import replace

import pytest
from studies import served, training
from study import findings
from study.figures import Code, Purpose

KERAS = "keras on tensorflow"


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
