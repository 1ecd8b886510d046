"""Callers whose requests are sent when they are due, whatever becomes of those before, and who check every answer.

They are clients as users have them: grpc's own with a retry policy by service config, or Quadriga's; and one that keeps
a stream open, and opens another when that ends.
"""

import contextlib
import itertools
import json
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grpc
import numpy as np
from oip import SERVICE, infer_request, method, outputs_of
from running_server import wait_for

from quadriga_client import Client
from quadriga_proto import inference_pb2 as pb

Row = np.ndarray[Any, Any]

#: Requests due per second.
RATE = 50
CALL_SECONDS = 60.0
#: Calls of Quadriga's client that are under way at once; it blocks, so each is in a thread.
THREADS = 64
STREAM = f"/{SERVICE}/ModelStreamInfer"


class Pending(Protocol):
    """A call that was sent: a future of the outputs, or of a serialised response."""

    def done(self) -> bool: ...

    def result(self) -> Any: ...

    def cancel(self) -> Any: ...


Send = Callable[[Row], Pending]


class OpenLoop:
    """Sends requests of one row each until it is told to finish, or the context ends."""

    def __init__(self, send: Send, rate: float = RATE) -> None:
        self.calls: list[tuple[Row, Pending]] = []
        self._send = send
        self._rate = rate
        self._end = threading.Event()
        self._sender = threading.Thread(target=self._run)

    def __enter__(self) -> "OpenLoop":
        self._sender.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._sender.join()
        for _, call in self.calls:
            call.cancel()  # no effect on those that have ended

    def _run(self) -> None:
        while not self._end.wait(1 / self._rate):
            x = np.full((1, 4), len(self.calls), np.float32)
            self.calls.append((x, self._send(x)))

    def wait_for_more(self, count: int = RATE) -> None:
        """Waits until so many further requests were sent and answered, or failed."""
        end = len(self.calls) + count
        wait_for(lambda: len(self.calls) >= end and self.calls[end - 1][1].done(), f"{count} requests", CALL_SECONDS)

    def finish(self) -> list[str]:
        """Sends no more, waits for what is under way; what went wrong with any request."""
        self._end.set()
        self._sender.join()
        return [problem for x, call in self.calls if (problem := problem_of(x, call))]


def problem_of(x: Row, call: Pending) -> str:
    """What went wrong with a call; empty: nothing."""
    try:
        result = call.result()
    except Exception as error:
        return str(error)
    outputs = outputs_of(pb.ModelInferResponse.FromString(result)) if isinstance(result, bytes) else result
    return "" if np.array_equal(outputs["x"], x) else "another's answer"


def options_of(service_config: Any) -> list[tuple[str, Any]]:
    """Of a channel of its own connections; several addresses are no name of a server that each would take."""
    config = [("grpc.service_config", json.dumps(service_config))] if service_config else []
    return [*config, ("grpc.use_local_subchannel_pool", 1), ("grpc.default_authority", "replicas")]


@contextlib.contextmanager
def plain(address: str, model: str, service_config: Any = None) -> Iterator[Send]:
    """A client of grpc's own."""
    with grpc.insecure_channel(address, options_of(service_config)) as channel:
        infer = method(channel, "ModelInfer")
        yield lambda x: infer.future(infer_request(model, x=x).SerializeToString(), timeout=CALL_SECONDS)


@contextlib.contextmanager
def ours(address: str, model: str) -> Iterator[Send]:
    """Quadriga's client, as it is by default."""
    with Client(address, timeout=CALL_SECONDS) as client, ThreadPoolExecutor(THREADS) as pool:
        yield lambda x: pool.submit(client.infer, model, {"x": x})


class StreamCaller:
    """Sends requests on a stream, and opens another one when it ends: what was not answered is sent there once more.

    Attributes:
        answered: How many answers there were.
        resent: How many requests were sent again.
        endings: The statuses with which streams ended.
        problems: What was wrong.
    """

    def __init__(self, address: str, model: str, service_config: Any, rate: float = RATE) -> None:
        self._channel = grpc.insecure_channel(address, options_of(service_config))
        self._open = self._channel.stream_stream(STREAM, bytes, pb.ModelStreamInferResponse.FromString)
        self._model = model
        self._rate = rate
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = self.resent = 0
        self.endings: list[str] = []
        self.problems: list[str] = []

    def __enter__(self) -> "StreamCaller":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.finish()
        self._channel.close()

    def finish(self) -> list[str]:
        """Sends no more, waits for the last answers; what went wrong."""
        self._end.set()
        self._thread.join(CALL_SECONDS)
        assert not self._thread.is_alive(), "a stream hangs"
        return self.problems

    def _run(self) -> None:
        numbers = itertools.count()
        waiting: dict[int, None] = {}  # in the order in which they were sent
        while not self._end.is_set() or waiting:
            self.resent += len(waiting)
            again: queue.SimpleQueue[int] = queue.SimpleQueue()
            for number in waiting:
                again.put(number)
            over = threading.Event()
            stream = self._open(self._requests(again, numbers, waiting, over), timeout=CALL_SECONDS)
            try:
                for answer in stream:
                    self._take(answer, waiting)
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                self.endings.append(error.code().name)
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                    self.problems.append(str(error))
                    return
                over.wait(0.1)  # as a client that knows no better backs off
            finally:
                over.set()

    def _requests(
        self, again: "queue.SimpleQueue[int]", numbers: Iterator[int], waiting: dict[int, None], over: threading.Event
    ) -> Iterator[bytes]:
        """Those that were not answered, then new ones when they are due; runs in a thread of grpc's."""
        while not over.is_set():
            if not again.empty():
                yield self._request(again.get())
            elif self._end.wait(1 / self._rate):
                return
            elif not over.is_set():
                number = next(numbers)
                waiting[number] = None
                yield self._request(number)

    def _request(self, number: int) -> bytes:
        request = infer_request(self._model, x=np.full((1, 4), number, np.float32))
        request.id = str(number)
        return request.SerializeToString()

    def _take(self, answer: pb.ModelStreamInferResponse, waiting: dict[int, None]) -> None:
        response = answer.infer_response
        if answer.error_message:
            self.problems.append(answer.error_message)
        elif not np.array_equal(outputs_of(response)["x"], np.full((1, 4), int(response.id), np.float32)):
            self.problems.append(f"another's answer to {response.id}")
        elif next(iter(waiting), None) != int(response.id):
            self.problems.append(f"{response.id} was answered out of turn, or twice")
        waiting.pop(int(response.id), None)
        self.answered += 1
