"""Fixtures of the client's tests: a real server, a stand-in that answers as a test says, and both clients as one."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from running_server import RunningServer, write_fake

from quadriga_client import AsyncClient, Client
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import from_raw, to_raw

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
LABELS = ["dark", "grey", "bright"]

Answer = Callable[[Any, grpc.ServicerContext], Any]


class StandIn(grpc.GenericRpcHandler):
    """A gRPC server whose rpcs are functions that a test gives; an rpc without one is UNIMPLEMENTED.

    Attributes:
        url: HOST:PORT.
        requests: What came, in order: the method and the request.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.metadata: list[dict[str, Any]] = []
        self._answers: dict[str, Answer] = {}
        self._threads = ThreadPoolExecutor(4)
        self._server = grpc.server(self._threads)
        self._server.add_generic_rpc_handlers((self,))
        self.url = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def on(self, method: str, answer: Answer) -> None:
        """Answers a method with what the function returns for the request and the call's context."""
        self._answers[method] = answer

    def count(self, method: str) -> int:
        """How often a method was called."""
        return [name for name, _ in self.requests].count(method)

    def service(self, handler_call_details: Any) -> Any:
        """See `grpc.GenericRpcHandler`."""
        name = handler_call_details.method.rpartition("/")[2]
        if name not in self._answers:
            return None
        request_class = getattr(pb, SERVICE.methods_by_name[name].input_type.name)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._answer(name, request, context),
            request_deserializer=request_class.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def stop(self) -> None:
        """Ends the server and its threads."""
        self._server.stop(None).wait()
        self._threads.shutdown()

    def _answer(self, name: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append((name, request))
        self.metadata.append(dict(context.invocation_metadata()))
        return self._answers[name](request, context)


class Blocking:
    """An AsyncClient whose methods block, so that one test body runs with both clients."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*arguments, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._runner.run(method(*arguments, **options))

    def shut(self) -> None:
        """Closes the client and its loop."""
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients of one kind and closes them; a test that asks for it runs with both kinds."""
    ends: list[Callable[[], None]] = []

    def make(*arguments: Any, **options: Any) -> Any:
        if request.param == "sync":
            client = Client(*arguments, **options)
            ends.append(client.close)
            return client
        blocking = Blocking(*arguments, **options)
        ends.append(blocking.shut)
        return blocking

    yield make
    for end in ends:
        end()


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A server without answers yet."""
    server = StandIn()
    yield server
    server.stop()


@pytest.fixture
def classifier(stand_in: StandIn) -> StandIn:
    """A stand-in that serves `brightness`, which tells dark from bright 4 x 4 images; at most 3 at once."""
    stand_in.on("ServerLive", lambda request, context: pb.ServerLiveResponse(live=True))
    stand_in.on("ModelMetadata", brightness_metadata)
    stand_in.on("ModelInfer", brightness)
    return stand_in


def brightness_metadata(request: pb.ModelMetadataRequest, context: grpc.ServicerContext) -> pb.ModelMetadataResponse:
    """Of a model of 4 x 4 colour images, NHWC."""
    if request.name != "brightness":
        context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.name!r}; there is: brightness")
    return pb.ModelMetadataResponse(
        name="brightness",
        versions=["2"],
        inputs=[pb.ModelMetadataResponse.TensorMetadata(name="image", datatype="FP32", shape=[-1, 4, 4, 3])],
        outputs=[pb.ModelMetadataResponse.TensorMetadata(name="scores", datatype="FP32", shape=[-1, 3])],
        properties={"labels": json.dumps(LABELS), "max_batch_size": "3"},
    )


def brightness(request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
    """Log-probabilities: the nearer an image's mean is to 0, 1/2 and 1, the more dark, grey or bright it is."""
    (tensor,), (raw,) = request.inputs, request.raw_input_contents
    means = from_raw(tensor.datatype, tensor.shape, raw).mean(axis=(1, 2, 3))
    logits = -20.0 * np.abs(means[:, np.newaxis] - np.array([0.0, 0.5, 1.0]))
    scores = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    response = pb.ModelInferResponse(model_name="brightness", model_version="2", id=request.id)
    response.outputs.add(name="scores", datatype="FP32", shape=scores.shape)
    response.raw_output_contents.append(to_raw(scores))
    for phase, microseconds in (("queue", 10), ("batch", 20), ("compute", 30), ("total", 70)):
        response.parameters[f"quadriga_{phase}_ns"].int64_param = microseconds * 1000
    return response


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A real server of fake models."""
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "echo", {"labels": ["a", "b", "c", "d"]}, "max_batch_size = 8")
    write_fake(repository, "bytes", {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [2]}]})
    write_fake(repository, "integers", {"inputs": [{"name": "x", "datatype": "INT8", "shape": [2]}]})
    pair = [{"name": name, "datatype": "FP32", "shape": [2]} for name in ("first", "second")]
    write_fake(repository, "pair", {"inputs": pair})
    write_fake(repository, "big", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]})
    write_fake(repository, "slow", {"sleep_ms": 400})
    write_fake(repository, "raising", {"raise_on": 13})
    write_fake(repository, "broken", {"load_error": "made to fail"})
    running = RunningServer("--repository", str(repository))
    yield running
    running.stop()


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port of the loopback where nobody listens, and which nobody else is given meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
