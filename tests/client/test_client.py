"""Both clients against a real server, and against a stand-in where a model or failure of a certain kind is needed."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import PIL.Image
import pytest
from running_server import RunningServer

from quadriga_client import RetryPolicy, errors
from quadriga_client.client import Client
from quadriga_proto import inference_pb2 as pb

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


@pytest.fixture
def client(connect: Callable[..., Any], server: RunningServer) -> Any:
    return connect(server.grpc)


def grey(level: int, size: int = 4) -> Any:
    return np.full((size, size, 3), level, dtype=np.uint8)


def test_an_array_is_the_only_input(client: Any) -> None:
    result = client.infer("echo", ROW.astype(np.float64), request_id="seven", version="1")
    assert list(result.outputs) == ["x"]
    assert result["x"].dtype == np.float32
    np.testing.assert_array_equal(result["x"], ROW)
    assert (result.model_name, result.model_version, result.id) == ("echo", "1", "seven")


def test_timings_add_up(client: Any) -> None:
    timings = client.infer("echo", ROW).timings
    phases = (timings.queue_ns, timings.batch_ns, timings.compute_ns)
    assert all(phase > 0 for phase in phases)
    assert sum(phases) <= timings.total_ns


def test_timings_are_none_where_they_were_not_reported(client: Any) -> None:
    assert client.infer("echo", ROW, parameters={"quadriga_timings": False}).timings is None


def test_several_inputs_and_chosen_outputs(client: Any) -> None:
    first, second = np.ones((1, 2)), np.zeros((1, 2))
    result = client.infer("pair", {"second": second, "first": first})
    np.testing.assert_array_equal(result["first"], first)
    np.testing.assert_array_equal(result["second"], second)
    assert list(client.infer("pair", {"second": second, "first": first}, outputs=["second"]).outputs) == ["second"]


def test_bytes(client: Any) -> None:
    assert client.infer("bytes", np.array([["a", "é"]]))["x"].tolist() == [[b"a", "é".encode()]]


def test_messages_above_grpcs_own_limit(client: Any) -> None:
    large = np.zeros((1, 2 * 1024 * 1024), dtype=np.float32)
    assert client.infer("big", large)["x"].shape == large.shape


def test_the_clients_own_limit(connect: Callable[..., Any], server: RunningServer) -> None:
    with pytest.raises(errors.ResourceExhausted):
        connect(server.grpc, max_message_bytes=1000).infer("big", np.zeros((1, 1000), dtype=np.float32))


@pytest.mark.parametrize(
    ("model", "value", "version", "error", "message"),
    [
        ("nobody", ROW, "", errors.NotFound, "echo"),
        ("echo", ROW, "9", errors.NotFound, "version 9"),
        ("broken", ROW, "", errors.NotFound, "made to fail"),
        ("broken", ROW, "1", errors.Unavailable, "made to fail"),
        ("echo", ROW[:, :3], "", errors.InvalidArgument, "'x'"),
        ("echo", np.zeros((9, 4)), "", errors.InvalidArgument, "8"),
        ("echo", {"y": ROW}, "", errors.InvalidArgument, "'y'"),
        ("raising", ROW + 10, "", errors.Internal, "made to fail"),
        ("integers", np.zeros((1, 2)), "", errors.InputError, "INT8"),
        ("pair", ROW, "", errors.InputError, "first, second"),
        ("", ROW, "", errors.InputError, "name is empty"),
    ],
)
def test_what_cannot_be_answered(
    connect: Callable[..., Any],
    server: RunningServer,
    model: str,
    value: Any,
    version: str,
    error: type[Exception],
    message: str,
) -> None:
    client = connect(server.grpc, retry=RetryPolicy(attempts=1))
    with pytest.raises(error, match=message):
        client.infer(model, value, version=version)
    np.testing.assert_array_equal(client.infer("echo", ROW)["x"], ROW)


def test_timeouts_of_calls_and_clients(connect: Callable[..., Any], server: RunningServer) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        connect(server.grpc).infer("slow", ROW, timeout=0.1)
    impatient = connect(server.grpc, timeout=0.1)
    with pytest.raises(errors.DeadlineExceeded):
        impatient.infer("slow", ROW)
    np.testing.assert_array_equal(impatient.infer("slow", ROW, timeout=30)["x"], ROW)


def test_health(client: Any) -> None:
    assert client.live()
    assert client.ready()
    assert client.ready("echo")
    assert client.ready("echo", "1")
    assert not client.ready("echo", "2")
    assert not client.ready("broken")
    assert not client.ready("nobody")


def test_metadata(client: Any) -> None:
    server = client.metadata()
    assert server.name == "quadriga"
    assert "statistics" in server.extensions
    model = client.metadata("echo")
    assert [str(tensor) for tensor in model.inputs] == ["x FP32[-1,4]"]
    assert (model.name, model.versions, model.labels, model.max_batch_size) == ("echo", ("1",), tuple("abcd"), 8)
    with pytest.raises(errors.InputError, match="of no model"):
        client.metadata("", "1")
    with pytest.raises(errors.InputError, match="of no model"):
        client.ready("", "1")


def test_status(client: Any) -> None:
    rows = {row.model: row for row in client.status()}
    assert (rows["echo"].version, rows["echo"].state) == ("1", "READY")
    assert rows["echo"].metadata.properties["backend"] == "fake"
    assert (rows["broken"].state, rows["broken"].metadata) == ("UNAVAILABLE", None)
    assert "made to fail" in rows["broken"].reason


def test_status_of_a_model_that_goes_meanwhile(connect: Callable[..., Any], stand_in: Any) -> None:
    index = pb.RepositoryIndexResponse()
    index.models.add(name="gone", version="1", state="READY")
    stand_in.on("RepositoryIndex", lambda request, context: index)
    stand_in.on("ModelMetadata", lambda request, context: context.abort(grpc.StatusCode.NOT_FOUND, "gone"))
    (row,) = connect(stand_in.url).status()
    assert (row.model, row.state, row.metadata) == ("gone", "READY", None)


def test_statistics(client: Any) -> None:
    client.infer("integers", np.zeros((3, 2), dtype=np.int8))
    (statistics,) = client.statistics("integers")
    assert statistics.inference_count >= 3
    assert statistics.batches[3].compute_infer.count >= 1
    assert statistics.success.count == statistics.queue.count
    assert statistics.last_inference_ms > 0
    assert {"echo", "pair"} <= {found.model for found in client.statistics()}


def test_classify_splits_names_and_orders(connect: Callable[..., Any], classifier: Any, tmp_path: Path) -> None:
    file = tmp_path / "bright.png"
    PIL.Image.fromarray(grey(255, 32)).save(file)
    images = [grey(0), file, file.read_bytes(), grey(128, 9), PIL.Image.fromarray(grey(0)), str(file), grey(0) / 255]
    found = connect(classifier.url).classify("brightness", images, top_k=2)
    assert [row[0].label for row in found] == ["dark", "bright", "bright", "grey", "dark", "bright", "dark"]
    assert [len(row) for row in found] == [2] * 7
    assert found[0][0].index == 0
    assert found[0][0].probability == pytest.approx(1.0, abs=1e-3)
    sent = [list(request.inputs[0].shape) for method, request in classifier.requests if method == "ModelInfer"]
    assert sent == [[3, 4, 4, 3], [3, 4, 4, 3], [1, 4, 4, 3]]


def test_classify_one_image_or_none(connect: Callable[..., Any], classifier: Any) -> None:
    client = connect(classifier.url)
    assert [len(row) for row in client.classify("brightness", grey(0))] == [3]
    assert client.classify("brightness", []) == []
    assert classifier.count("ModelInfer") == 1


def test_classify_without_labels_takes_the_limit_from_the_configuration(
    connect: Callable[..., Any], classifier: Any
) -> None:
    metadata = pb.ModelMetadataResponse(name="m", inputs=[{"name": "i", "datatype": "FP32", "shape": [-1, 4, 4, 3]}])
    classifier.on("ModelMetadata", lambda request, context: metadata)
    client = connect(classifier.url)
    assert [row[0].label for row in client.classify("m", [grey(0)] * 3)] == ["0"] * 3
    config = pb.ModelConfigResponse()
    config.config.max_batch_size = 2
    classifier.on("ModelConfig", lambda request, context: config)
    assert [row[0].label for row in client.classify("m", [grey(255)] * 3)] == ["2"] * 3
    sent = [request.inputs[0].shape[0] for method, request in classifier.requests if method == "ModelInfer"]
    assert sent == [3, 2, 1]


def test_classify_refuses(connect: Callable[..., Any], classifier: Any, server: RunningServer) -> None:
    client = connect(classifier.url)
    with pytest.raises(errors.InputError, match="top_k"):
        client.classify("brightness", grey(0), top_k=0)
    with pytest.raises(errors.ImageError, match=r"no such image: missing\.png"):
        client.classify("brightness", [grey(0), "missing.png"])
    with pytest.raises(errors.InputError, match=r"x FP32\[-1,4\], not one image"):
        connect(server.grpc).classify("echo", grey(0))


def test_metadata_is_asked_once_and_again_after_a_refusal(connect: Callable[..., Any], classifier: Any) -> None:
    client = connect(classifier.url)
    for _ in range(3):
        client.infer("brightness", np.zeros((1, 4, 4, 3)))
    assert classifier.count("ModelMetadata") == 1

    def refuse(request: pb.ModelInferRequest, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "another model is served by now")

    classifier.on("ModelInfer", refuse)
    for _ in range(2):
        with pytest.raises(errors.InvalidArgument):
            client.infer("brightness", np.zeros((1, 4, 4, 3)))
    assert classifier.count("ModelMetadata") == 2


def test_metadata_of_calls(connect: Callable[..., Any], classifier: Any) -> None:
    connect(classifier.url, metadata=(("x-tenant", "seven"),)).live()
    assert classifier.metadata[-1]["x-tenant"] == "seven"


def test_a_closed_client(connect: Callable[..., Any], server: RunningServer) -> None:
    client = connect(server.grpc)
    assert client.live()
    client.close()
    client.close()
    with pytest.raises(errors.ClientClosedError):
        client.live()


def test_a_client_is_shared_by_threads(server: RunningServer) -> None:
    answers: dict[int, Any] = {}
    with Client(server.grpc) as client:

        def ask(number: int) -> None:
            answers[number] = client.infer("echo", ROW + number)["x"]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(answers) == list(range(16))
    for number, answer in answers.items():
        np.testing.assert_array_equal(answer, ROW + number)
