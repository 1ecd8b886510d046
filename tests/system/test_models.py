"""The demo models, served: parity of one network in four formats, and clients that are not ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as tritonclient
from running_server import RunningServer

from quadriga_client import Client
from quadriga_client.compare.answers import Roll
from quadriga_client.compare.awake import AllAwake
from quadriga_client.compare.contestants import parse_contestants
from quadriga_client.compare.options import CompareOptions
from quadriga_zoo import datasets

TRAINED = ("digits_tensorflow", "digits_keras", "digits_pytorch", "digits_onnx")
SAME = ("same_savedmodel", "same_keras", "same_torchscript", "same_onnx")
TOLERANCE = 1e-4
MAX_BATCH = 16


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], demo_repository: Path) -> RunningServer:
    return start("--repository", str(demo_repository))


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load("digits")


@pytest.fixture(scope="module")
def scores(server: RunningServer, digits: datasets.Dataset) -> dict[str, np.ndarray[Any, Any]]:
    """What every model says of the whole test set, in requests of the largest batch."""
    images = digits.test_images
    with Client(server.grpc) as client:
        return {
            model: np.concatenate(
                [client.infer(model, images[at : at + MAX_BATCH])["scores"] for at in range(0, len(images), MAX_BATCH)]
            )
            for model in (*TRAINED, *SAME)
        }


@pytest.mark.parametrize("model", TRAINED)
def test_trained_models_are_accurate(
    scores: dict[str, np.ndarray[Any, Any]], digits: datasets.Dataset, model: str
) -> None:
    assert (scores[model].argmax(axis=1) == digits.test_labels).mean() >= 0.95


@pytest.mark.parametrize("model", SAME[1:])
def test_one_network_gives_the_same_in_all_formats(scores: dict[str, np.ndarray[Any, Any]], model: str) -> None:
    assert np.abs(scores[model] - scores[SAME[0]]).max() < TOLERANCE
    np.testing.assert_array_equal(scores[model].argmax(axis=1), scores[SAME[0]].argmax(axis=1))


def test_a_comparison_finds_all_formats_alike(server: RunningServer) -> None:
    """With the inputs and by the tolerance that `quadriga compare` has without options."""
    options = CompareOptions(contestants=parse_contestants(SAME, server.grpc), seconds=12.0, rows=2)
    with options.access.client(server.grpc) as client:
        roll = Roll(options, {server.grpc: client}, AllAwake())
        for contestant in options.contestants:
            roll.call(contestant)
    assert [(found.contestant, found.agrees, found.top1) for found in roll.agreements()] == [
        (name, True, 1.0) for name in SAME[1:]
    ]
    assert [entry.contender.backend for entry in roll.entries] == ["tensorflow", "keras", "torchscript", "onnx"]


@pytest.mark.parametrize("rows", [1, 3, MAX_BATCH])
@pytest.mark.parametrize("model", SAME)
def test_parity_at_every_batch_size(
    server: RunningServer, scores: dict[str, np.ndarray[Any, Any]], digits: datasets.Dataset, model: str, rows: int
) -> None:
    with Client(server.grpc) as client:
        got = client.infer(model, digits.test_images[:rows])["scores"]
    assert np.abs(got - scores[SAME[0]][:rows]).max() < TOLERANCE


@pytest.mark.parametrize("model", SAME)
def test_tritonclient_works_unchanged(
    server: RunningServer, scores: dict[str, np.ndarray[Any, Any]], digits: datasets.Dataset, model: str
) -> None:
    client = tritonclient.InferenceServerClient(server.grpc)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    image = tritonclient.InferInput("image", [2, 32, 32, 3], "FP32")
    image.set_data_from_numpy(digits.test_images[:2])
    result = client.infer(model, [image], outputs=[tritonclient.InferRequestedOutput("scores")], request_id="7")
    assert np.abs(result.as_numpy("scores") - scores[SAME[0]][:2]).max() < TOLERANCE
    assert result.get_response().id == "7"
    assert client.get_model_metadata(model).inputs[0].name == "image"
    assert client.get_model_config(model).config.max_batch_size == MAX_BATCH
    assert client.get_model_repository_index().models
    assert client.get_inference_statistics(model).model_stats[0].inference_stats.success.count > 0
    client.close()


@pytest.mark.parametrize("model", TRAINED)
def test_labels_are_served(server: RunningServer, digits: datasets.Dataset, model: str) -> None:
    with Client(server.grpc) as client:
        (found,) = client.classify(model, [digits.test_images[0]], top_k=1)
    assert found[0].label == str(digits.test_labels[0])
    assert 0.0 <= found[0].probability <= 1.0


def test_metrics_tell_backends_apart(server: RunningServer, scores: dict[str, np.ndarray[Any, Any]]) -> None:
    for model, backend in zip(SAME, ("tensorflow", "keras", "torchscript", "onnx"), strict=True):
        labels = {"model": model, "backend": backend, "device": "cpu", "version": "1"}
        assert server.metric("quadriga_requests_total", outcome="answered", code="OK", **labels) > 0
        count = server.metric("quadriga_request_duration_seconds_count", **labels)
        assert count == server.metric("quadriga_requests_total", outcome="answered", **labels)
        assert server.metric("quadriga_compute_duration_seconds_sum", **labels) > 0
        assert server.metric("quadriga_rows_total", **labels) >= 359
