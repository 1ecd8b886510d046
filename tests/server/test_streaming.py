"""A stream's answers: in the order of the requests, and each said to be the last of its request."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from quadriga.streaming import MOST_BYTES, MOST_CALLS, InferStream
from quadriga.transports import Call
from quadriga.transports.pending_bytes import PendingBytes
from quadriga_proto.inference_pb2 import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse


class Service:
    """Holds the calls that it is given, for a test to answer; counts how often the transport was woken."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.woken = 0

    def infer(self, call: Call) -> None:
        self.calls.append(call)

    def wake(self) -> None:
        self.woken += 1

    def answer(self, index: int) -> None:
        id = ModelInferRequest.FromString(self.calls[index].request).id
        self.calls[index].respond(ModelInferResponse(model_name="m", id=id).SerializeToString())


def pending_bytes(most: int = 10**9) -> PendingBytes:
    return PendingBytes(most, Counter(), lambda: None)


def open_stream(
    service: Service,
    metadata: Mapping[str, str] | None = None,
    requests: int = 0,
    pending: PendingBytes | None = None,
) -> InferStream:
    stream = InferStream(service.infer, pending or pending_bytes(), metadata or {}, 17, service.wake)
    for index in range(requests):
        stream.take(ModelInferRequest(model_name="m", model_version="3", id=str(index)).SerializeToString())
    return stream


def sent(stream: InferStream) -> list[ModelStreamInferResponse]:
    responses = []
    while (response := stream.next_response()) is not None:
        responses.append(ModelStreamInferResponse.FromString(response))
    return responses


def test_answers_wait_for_those_before_them() -> None:
    service = Service()
    stream = open_stream(service, requests=3)
    service.answer(2)
    service.answer(1)
    assert (sent(stream), service.woken) == ([], 0)
    service.answer(0)
    assert service.woken == 1
    assert [response.infer_response.id for response in sent(stream)] == ["0", "1", "2"]
    assert stream.empty


def test_an_answer_is_the_last_of_its_request_and_an_error_says_whose_it_is() -> None:
    service = Service()
    stream = open_stream(service, requests=2)
    service.answer(0)
    service.calls[1].fail("UNAVAILABLE", "no room", {"retry-pushback-ms": "50"})
    answer, error = sent(stream)
    assert answer.infer_response.parameters["triton_final_response"].bool_param is True
    assert (answer.error_message, answer.infer_response.model_name) == ("", "m")
    assert (error.error_message, error.infer_response.id) == ("no room", "1")
    assert (error.infer_response.model_name, error.infer_response.model_version) == ("m", "3")
    assert stream.status is None


def test_an_error_about_bytes_that_are_no_request_names_none() -> None:
    service = Service()
    stream = open_stream(service)
    stream.take(b"\xff\xff")
    service.calls[0].fail("INVALID_ARGUMENT", "not a request")
    (error,) = sent(stream)
    assert error == ModelStreamInferResponse(error_message="not a request")


def test_a_stream_that_asks_for_it_ends_with_its_first_error_in_its_turn() -> None:
    service = Service()
    stream = open_stream(service, {"triton_grpc_error": "true"}, requests=3)
    service.calls[1].fail("NOT_FOUND", "no model", {"a": "b"})
    assert (sent(stream), stream.status) == ([], None)
    service.answer(2)
    service.answer(0)
    assert [response.infer_response.id for response in sent(stream)] == ["0"]
    assert stream.status == ("NOT_FOUND", "no model", {"a": "b"})


@pytest.mark.parametrize("value", ["false", "1", "True", ""])
def test_any_other_value_leaves_errors_on_the_stream(value: str) -> None:
    service = Service()
    stream = open_stream(service, {"triton_grpc_error": value}, requests=1)
    service.calls[0].fail("NOT_FOUND", "no model")
    assert [response.error_message for response in sent(stream)] == ["no model"]
    assert stream.status is None


def test_requests_have_the_streams_deadline_metadata_and_end() -> None:
    service = Service()
    stream = open_stream(service, {"key": "value"}, requests=2)
    assert [(call.expires_ns, call.metadata(), call.cancelled) for call in service.calls] == [
        (17, {"key": "value"}, False)
    ] * 2
    stream.cancel()
    assert [call.cancelled for call in service.calls] == [True, True]
    service.answer(0)
    service.calls[1].fail("CANCELLED", "gone")
    assert (sent(stream), service.woken, stream.empty) == ([], 0, True)


def test_it_is_full_with_too_many_requests_until_answers_are_taken() -> None:
    service = Service()
    stream = open_stream(service, requests=MOST_CALLS - 1)
    assert not stream.full
    stream.take(b"")
    assert stream.full
    for call in service.calls:
        call.respond(b"")
    assert stream.full  # answers that nobody reads are in hand as well
    assert len(sent(stream)) == MOST_CALLS
    assert not stream.full


def test_it_is_full_with_too_many_bytes_of_requests_or_of_answers() -> None:
    service = Service()
    stream = open_stream(service)
    stream.take(bytes(MOST_BYTES))
    assert stream.full
    service.calls[0].respond(b"small")
    assert not stream.full
    stream.take(b"small")
    service.calls[1].respond(bytes(MOST_BYTES))
    assert stream.full
    stream.next_response()
    stream.next_response()
    assert (stream.full, stream.empty) == (False, True)


def test_a_bug_in_the_service_fails_the_one_request(caplog: pytest.LogCaptureFixture) -> None:
    def infer(call: Call) -> None:
        raise ZeroDivisionError

    stream = InferStream(infer, pending_bytes(), {}, 0, lambda: None)
    stream.take(ModelInferRequest(id="7").SerializeToString())
    (error,) = sent(stream)
    assert (error.error_message, error.infer_response.id) == ("internal error; the server's log has more", "7")
    assert "ZeroDivisionError" in caplog.text


def test_a_second_answer_changes_nothing() -> None:
    service = Service()
    stream = open_stream(service, requests=1)
    call: Any = service.calls[0]
    service.answer(0)
    call.fail("INTERNAL", "late")
    assert [response.error_message for response in sent(stream)] == [""]


def test_a_message_too_many_is_refused_in_its_place_and_what_is_sent_makes_room() -> None:
    service, pending = Service(), pending_bytes(most=30)
    stream = open_stream(service, requests=2, pending=pending)  # 9 bytes each
    assert (len(service.calls), pending.now) == (2, 18)
    stream.take(ModelInferRequest(model_name="m" * 20, id="large").SerializeToString())
    assert len(service.calls) == 2
    service.answer(0)
    service.answer(1)
    assert pending.now > 30
    *_, refused = sent(stream)
    assert "more pass its limit of 30" in refused.error_message
    assert refused.infer_response.id == "large"
    assert pending.now == 0
    stream.take(ModelInferRequest(model_name="m" * 20).SerializeToString())
    assert len(service.calls) == 3


def test_what_a_stream_has_in_hand_goes_with_the_work_on_it() -> None:
    service, pending = Service(), pending_bytes()
    stream = open_stream(service, requests=3, pending=pending)  # 9 bytes each
    service.answer(2)
    stream.cancel()
    assert (pending.now, pending.abandoned) == (18, 18)
    for call in service.calls[:2]:
        call.fail("CANCELLED", "nobody waits")
        call.fail("CANCELLED", "nobody waits")
    assert (pending.now, pending.abandoned) == (0, 0)
