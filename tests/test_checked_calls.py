"""The caller that holds answers against what is expected: what a server keeps, repeats or garbles shows."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from checked_calls import LOST, TWICE, WRONG, CallerClock, Subject, Terms, checked_calls
from oip import SERVICE

from quadriga_proto import inference_pb2 as pb

VALUE = np.float32(7)


def answer(request: pb.ModelInferRequest, value: np.float32 = VALUE) -> pb.ModelInferResponse:
    return pb.ModelInferResponse(id=request.id, raw_output_contents=[value.tobytes()])


class Peer:
    """A server whose models misbehave as their names say."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def infer(self, request: pb.ModelInferRequest, _: grpc.ServicerContext) -> pb.ModelInferResponse:
        if request.model_name == "mute":
            self.over.wait()
        return answer(request, np.float32(8) if request.model_name == "wrong" else VALUE)

    def stream(
        self, requests: Iterator[pb.ModelInferRequest], _: grpc.ServicerContext
    ) -> Iterator[pb.ModelStreamInferResponse]:
        for number, request in enumerate(requests):
            if request.model_name == "mute" and number == 2:
                continue
            for _again in range(2 if request.model_name == "twice" else 1):
                yield pb.ModelStreamInferResponse(infer_response=answer(request))


@pytest.fixture
def address() -> Iterator[str]:
    peer = Peer()
    handlers = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(
            peer.infer, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString
        ),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
            peer.stream, pb.ModelInferRequest.FromString, pb.ModelStreamInferResponse.SerializeToString
        ),
    }
    with ThreadPoolExecutor(16) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        peer.over.set()
        server.stop(None).wait()


def outcomes(address: str, messages: Mapping[str, int], terms: Terms) -> Counter[tuple[str, str]]:
    """How calls to the peer's models ended, half a second's, and so many messages a second on a stream."""
    subjects = [
        Subject(model, (pb.ModelInferRequest(model_name=model).SerializeToString(),), (np.array([VALUE]),), 8, count)
        for model, count in messages.items()
    ]
    with checked_calls(address, subjects, terms) as calls:
        ends = calls.outcome.result()[0]
    return Counter((end.model, end.outcome) for end in ends)


def test_what_is_answered_has_its_outcome(address: str) -> None:
    terms = Terms(seconds=0.5, deadline=30.0, grace=30.0, stream_grace=30.0)
    assert outcomes(address, {"right": 8, "wrong": 0, "twice": 8}, terms) == {
        ("right", "OK"): 8,
        ("wrong", WRONG): 4,
        ("twice", "OK"): 8,
        ("twice", TWICE): 4,
    }


def test_what_is_not_answered_is_late_or_lost(address: str) -> None:
    terms = Terms(seconds=0.5, deadline=1.0, grace=30.0, stream_grace=0.5)
    assert outcomes(address, {"mute": 8}, terms) == {
        ("mute", "DEADLINE_EXCEEDED"): 4,
        ("mute", "OK"): 3,
        ("mute", LOST): 1,
    }


def test_what_a_caller_missed_is_not_held_against_the_server() -> None:
    clock = CallerClock(100.0)
    clock.beat(100.1)
    clock.beat(125.1)  # it stood still for 25 s
    clock.beat(125.2)
    assert clock.seconds == pytest.approx(0.4)
    assert clock.longest_stall == pytest.approx(24.9)
