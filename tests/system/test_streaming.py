"""ModelStreamInfer against a real server: order, errors, ends, backpressure and the drain."""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from oip import SERVICE, TIMEOUT_SECONDS, error_of, infer_request, outputs_of, rpc
from own_backends import OWN_BACKENDS
from running_server import RunningServer, metric_of, wait_for, write_fake
from tritonclient.utils import InferenceServerException

from quadriga_proto import inference_pb2 as pb

HELD = 'backend = "own_backends:Held"\nmax_batch_size = 1'
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "echo", {}, "max_batch_size = 8")
    write_fake(repository, "slow", {"sleep_ms": 300}, "max_batch_size = 1")
    write_fake(repository, "raising", {"raise_on": 13})
    write_fake(repository, "big", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]})
    return start("--repository", str(repository))


@pytest.fixture
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc, UNLIMITED) as channel:
        yield channel


class Stream:
    """A stream whose requests are sent one by one, and left open until `close`."""

    def __init__(self, channel: grpc.Channel, metadata: Any = (), timeout: float | None = TIMEOUT_SECONDS) -> None:
        self._requests: queue.Queue[bytes | None] = queue.Queue()
        method = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", bytes, pb.ModelStreamInferResponse.FromString)
        self.call = method(iter(self._requests.get, None), metadata=metadata, timeout=timeout)

    def send(self, *requests: pb.ModelInferRequest | bytes) -> None:
        for request in requests:
            self._requests.put(request if isinstance(request, bytes) else request.SerializeToString())

    def close(self) -> None:
        self._requests.put(None)

    def next(self) -> pb.ModelStreamInferResponse:
        response: pb.ModelStreamInferResponse = next(self.call)
        return response

    def status(self) -> tuple[str, str]:
        return self.call.code().name, self.call.details()


def request(model: str, value: float = 0.0, id: str = "") -> pb.ModelInferRequest:
    made = infer_request(model, x=np.full((1, 4), value, np.float32))
    made.id = id
    return made


def test_answers_come_in_the_order_of_the_requests(channel: grpc.Channel) -> None:
    stream = Stream(channel)
    stream.send(request("slow", 1, "first"), *(request("echo", value, str(value)) for value in range(20)))
    stream.close()
    answers = [response.infer_response for response in stream.call]
    assert [answer.id for answer in answers] == ["first", *map(str, range(20))]
    assert [outputs_of(answer)["x"][0, 0] for answer in answers] == [1, *range(20)]
    assert all(answer.parameters["triton_final_response"].bool_param for answer in answers)
    assert stream.status()[0] == "OK"


def test_a_stream_without_requests_ends_well(channel: grpc.Channel) -> None:
    stream = Stream(channel)
    stream.close()
    assert (list(stream.call), stream.status()[0]) == ([], "OK")


def test_answers_come_while_the_stream_stays_open(channel: grpc.Channel) -> None:
    stream = Stream(channel)
    for value in range(3):
        stream.send(request("echo", value))
        assert outputs_of(stream.next().infer_response)["x"][0, 0] == value
    stream.close()
    assert list(stream.call) == []


def test_errors_do_not_end_the_stream_and_are_counted(server: RunningServer, channel: grpc.Channel) -> None:
    refused = server.metric("quadriga_requests_total", outcome="refused")
    failed = server.metric("quadriga_requests_total", outcome="failed", model="raising")
    stream = Stream(channel)
    stream.send(
        request("nobody", id="a"),
        b"\xff\xff",
        infer_request("echo", x=np.zeros((1, 5), np.float32)),
        request("raising", 13, "d"),
        request("echo", 4, "e"),
    )
    stream.close()
    unknown, undecodable, shape, raised, good = stream.call
    assert "nobody" in unknown.error_message
    assert (unknown.infer_response.id, unknown.infer_response.model_name) == ("a", "nobody")
    assert "not a ModelInferRequest" in undecodable.error_message
    assert undecodable.infer_response == pb.ModelInferResponse()
    assert (shape.infer_response.model_name, "[1, 5]" in shape.error_message) == ("echo", True)
    assert (raised.infer_response.id, bool(raised.error_message)) == ("d", True)
    assert (good.error_message, good.infer_response.id) == ("", "e")
    assert stream.status()[0] == "OK"
    assert server.metric("quadriga_requests_total", outcome="refused") == refused + 3
    assert server.metric("quadriga_requests_total", outcome="failed", model="raising") == failed + 1


def test_the_first_error_ends_a_stream_that_asks_for_it(channel: grpc.Channel) -> None:
    stream = Stream(channel, [("triton_grpc_error", "true")])
    stream.send(request("slow", 1, "good"), request("nobody"), request("echo"))
    assert stream.next().infer_response.id == "good"
    with pytest.raises(grpc.RpcError):
        stream.next()
    code, message = stream.status()
    assert (code, "nobody" in message) == ("NOT_FOUND", True)


class HeldModel:
    """A model whose answers are held until they are let go, and the server that serves it."""

    def __init__(self, start: Callable[..., RunningServer], repository: Path) -> None:
        self._go = write_fake(repository, "held", {}, HELD) / "1" / "go"
        write_fake(repository, "echo")
        self.server = start("--repository", str(repository), env=OWN_BACKENDS)

    def metric(self, name: str, **labels: str) -> float:
        """Of the model."""
        return self.server.metric(name, model="held", **labels)

    def in_hand(self) -> float:
        """Requests in the queue, and in a worker, one in each batch."""
        page = self.server.get("/metrics")[1]
        names = ("quadriga_queue_depth", "quadriga_batches_in_flight")
        return sum(metric_of(page, name, model="held") for name in names)

    def wait_for(self, count: int) -> None:
        """Returns when so many of its requests are in hand."""
        wait_for(lambda: self.in_hand() == count, f"{count} requests to be in hand")

    def let_go(self) -> None:
        """Answers, from now on."""
        self._go.touch()


@pytest.fixture
def held(start: Callable[..., RunningServer], tmp_path: Path) -> HeldModel:
    return HeldModel(start, tmp_path)


def test_a_stream_that_is_cancelled_gives_up_what_it_has_in_hand(held: HeldModel) -> None:
    with grpc.insecure_channel(held.server.grpc) as channel:
        stream = Stream(channel)
        stream.send(*(request("held") for _ in range(20)))
        held.wait_for(20)
        waiting = held.metric("quadriga_queue_depth")
        assert waiting > 10
        stream.call.cancel()

        def is_empty() -> bool:
            """Whether none is left, once the queue was looked through: it is where a deadline passes in it."""
            assert error_of(channel, "ModelInfer", request("held"), timeout=0.1)[0] == "DEADLINE_EXCEEDED"
            return held.metric("quadriga_queue_depth") == 0

        wait_for(is_empty, "the requests of the cancelled stream to be given up")
        assert held.metric("quadriga_requests_total", code="CANCELLED") == waiting
        held.let_go()
        assert outputs_of(rpc(channel, "ModelInfer", request("echo", 3)))["x"][0, 0] == 3


def test_the_streams_deadline_is_that_of_its_requests(server: RunningServer, channel: grpc.Channel) -> None:
    stream = Stream(channel, timeout=1.0)
    stream.send(*(request("slow") for _ in range(30)))
    with pytest.raises(grpc.RpcError):
        list(stream.call)
    assert stream.status()[0] == "DEADLINE_EXCEEDED"
    wait_for(lambda: server.metric("quadriga_queue_depth", model="slow") == 0, "the queue to be empty")
    assert server.metric("quadriga_requests_total", model="slow", outcome="failed") > 0


def test_a_client_that_does_not_read_is_not_read_either(server: RunningServer, channel: grpc.Channel) -> None:
    one = infer_request("big", x=np.ones((1, 1_000_000), np.float32)).SerializeToString()
    count = 200
    before = server.metric("quadriga_rows_total", model="big")
    sent = threading.Event()

    def requests() -> Iterator[bytes]:
        for _ in range(count):
            yield one
        sent.set()

    method = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", bytes, pb.ModelStreamInferResponse.FromString)
    # The caller's own loop reads nothing until it is asked to, but grpc's reads one message ahead.
    call = method(requests(), timeout=120)

    def answered() -> float:
        return server.metric("quadriga_rows_total", model="big") - before

    polls: deque[float] = deque(maxlen=25)

    def settled() -> bool:
        polls.append(answered())
        return len(polls) == polls.maxlen and 0 < polls[0] == polls[-1]

    wait_for(settled, "the server to stop reading")
    assert answered() < count / 2
    assert not sent.is_set()
    with grpc.insecure_channel(server.grpc) as other:  # which it does not hold up
        stream = Stream(other)
        stream.send(request("echo", 1))
        assert outputs_of(stream.next().infer_response)["x"][0, 0] == 1
        stream.close()
        assert list(stream.call) == []
    assert sum(not response.error_message for response in call) == count


def test_tritonclients_stream_is_served(server: RunningServer) -> None:
    results: queue.Queue[Any] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: results.put((result, error)))
        for value in range(5):
            client.async_stream_infer("echo", [triton_input(tritonclient.grpc, value)], request_id=str(value))
        client.async_stream_infer("nobody", [triton_input(tritonclient.grpc, 0)], request_id="bad")
        for value in range(5):
            result, error = results.get(timeout=30)
            assert error is None
            response = result.get_response()
            assert (response.id, result.as_numpy("x")[0, 0]) == (str(value), value)
            assert response.parameters["triton_final_response"].bool_param
        result, error = results.get(timeout=30)
        assert result is None
        assert "nobody" in error.message()
        client.stop_stream()
    assert results.empty()


def test_tritonclients_asynchronous_stream_is_served(server: RunningServer) -> None:
    async def run() -> list[float]:
        async def requests() -> Any:
            for value in range(5):
                yield {
                    "model_name": "echo" if value != 3 else "nobody",
                    "inputs": [triton_input(tritonclient.grpc.aio, value)],
                    "request_id": str(value),
                }

        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc) as client:
            seen: list[float] = []
            async for result, error in client.stream_infer(requests()):
                if error is not None:
                    assert isinstance(error, InferenceServerException)
                    seen.append(-1)
                else:
                    seen.append(float(result.as_numpy("x")[0, 0]))
            return seen

    assert asyncio.run(run()) == [0, 1, 2, -1, 4]


def triton_input(module: Any, value: float) -> Any:
    tensor = module.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.full((1, 4), value, np.float32))
    return tensor


def test_a_drain_answers_what_is_in_hand_and_ends_the_streams(held: HeldModel) -> None:
    server = held.server
    with grpc.insecure_channel(server.grpc) as channel:
        busy, idle = Stream(channel), Stream(channel)
        idle.send(request("echo", id="before"))
        assert idle.next().infer_response.id == "before"
        busy.send(request("held", id="one"), request("held", id="two"))
        held.wait_for(2)
        ended = threading.Thread(target=server.stop)
        ended.start()
        with pytest.raises(grpc.RpcError):
            idle.next()
        assert idle.status()[0] == "UNAVAILABLE"
        busy.send(request("held", id="late"))
        held.let_go()
        first, second = busy.next(), busy.next()
        assert [response.infer_response.id for response in (first, second)] == ["one", "two"]
        assert not first.error_message + second.error_message
        with pytest.raises(grpc.RpcError):
            busy.next()
        assert busy.status()[0] == "UNAVAILABLE"
        ended.join()
    assert server.process.returncode == 0
