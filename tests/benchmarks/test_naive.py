"""Ways to call a network: their turns, and what a naive server makes of requests; no framework is imported."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from study import naive
from study.errors import StudyError
from study.naive_server import answer, serve
from study.ways import KERAS_BACKENDS, SERVED, Way, all_ways
from variant import Timed

from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import CodecError, from_raw
from quadriga_proto.conventions import SERVICE

WAYS = (Way("tensorflow", "signature(x)", "savedmodel"), Way("onnx", SERVED, "onnx"))


def request(*shapes: tuple[int, ...], raw: bool = True) -> pb.ModelInferRequest:
    """One of ones."""
    message = pb.ModelInferRequest(model_name="same", id="7")
    for shape in shapes:
        tensor = message.inputs.add(name="image", datatype="FP32", shape=shape)
        array = np.ones(shape, np.float32)
        if raw:
            message.raw_input_contents.append(array.tobytes())
        else:
            tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return message


def total(array: Any) -> Any:
    return array.sum(axis=1, keepdims=True)


def test_ways_take_turns_forth_and_back_and_the_first_round_does_not_count() -> None:
    asked: list[str] = []

    def variant(way: Way) -> Any:
        def ask(batch: int, seconds: float) -> Timed:
            asked.append(way.framework)
            first = len(asked) <= len(WAYS)
            return Timed(99.0, 99.0, [0.5]) if first else Timed(1.0, 2.0, [])

        return SimpleNamespace(ask=ask)

    seen = naive.take_turns({way: variant(way) for way in WAYS}, 8, 2, 0.1)
    assert asked == ["tensorflow", "onnx", "onnx", "tensorflow", "tensorflow", "onnx"]
    assert all((each.ms, each.cpu_ms, each.answer) == ([2.0] * 2, [1.0] * 2, [0.5]) for each in seen.values())


def test_a_way_that_does_not_run_ends_the_study_and_says_how_to_see_why() -> None:
    broken: Any = SimpleNamespace(ask=lambda batch, seconds: None)
    with pytest.raises(StudyError, match=r"tensorflow, signature\(x\): does not run; .*study\.naive"):
        naive.take_turns({WAYS[0]: broken}, 1, 1, 0.1)


def test_ways_that_do_not_answer_alike_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"tensorflow": 0.5, "onnx": 0.6}

    def start(way: Way, *_: object) -> Any:
        timed = Timed(1.0, 1.0, [answers[way.framework]])
        return SimpleNamespace(ask=lambda batch, seconds: timed, close=lambda: None)

    monkeypatch.setattr(naive, "start", start)
    monkeypatch.setattr(naive, "all_ways", lambda keras_backends: WAYS)
    with pytest.raises(StudyError, match=r"onnx, as served: answers differ by 0\.1"):
        naive.measure_calls(Path("nowhere"), (), 2, 0.1, lambda text: None)
    answers["onnx"] = 0.50001
    found = naive.measure_calls(Path("nowhere"), (), 2, 0.1, lambda text: None)
    assert {(each.batch, each.framework) for each in found} == {
        (batch, way.framework) for batch in naive.BATCHES for way in WAYS
    }


def test_each_framework_is_beside_what_serves_it() -> None:
    ways = all_ways(KERAS_BACKENDS)
    assert len(set(ways)) == len(ways)
    assert {way.framework for way in ways} == {way.framework for way in ways if way.call == SERVED}


def test_threads_are_set_for_all_but_what_is_served_which_sets_its_own() -> None:
    assert WAYS[0].environment(1)["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in WAYS[0].environment(None)
    assert "OMP_NUM_THREADS" not in WAYS[1].environment(1)


@pytest.mark.parametrize("raw", [True, False])
def test_a_naive_server_answers_with_the_calls_result(raw: bool) -> None:
    response = answer(total, request((2, 3), raw=raw))
    assert (response.model_name, response.id) == ("same", "7")
    (output,) = response.outputs
    scores = from_raw(output.datatype, output.shape, response.raw_output_contents[0])
    assert scores.tolist() == [[3.0], [3.0]]


def test_a_naive_server_refuses_what_is_no_request_for_it() -> None:
    with pytest.raises(CodecError, match="0 inputs; expected one"):
        answer(total, pb.ModelInferRequest())
    with pytest.raises(CodecError, match="2 inputs; expected one"):
        answer(total, request((1, 1), (1, 1)))
    short = request((2, 3))
    short.raw_input_contents[0] = b"\0" * 4
    with pytest.raises(CodecError):
        answer(total, short)


def test_a_naive_server_speaks_the_protocol() -> None:
    server, port = serve(total)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            response = pb.ModelInferResponse.FromString(call(request((1, 4)).SerializeToString(), timeout=10))
            with pytest.raises(grpc.RpcError) as caught:
                call(request().SerializeToString(), timeout=10)
    finally:
        server.stop(None).wait()
    assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [4.0]
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
