"""Checks of ModelStreamInfer: order, errors inside the stream, half-close and the final response's flag."""

import queue
from collections.abc import Iterator, Sequence

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import TRITON_PROTO
from quadriga_client.conformance.outcomes import Failed, Level
from quadriga_client.conformance.roles import RoleModel
from quadriga_client.conformance.target import UNKNOWN_MODEL, Target
from quadriga_client.conformance.tensors import expect_same, infer_request, outputs_of
from quadriga_proto import inference_pb2 as pb

GROUP = "triton.streaming"
_MESSAGES = 24
_FINAL = "triton_final_response"


@register(
    "TRITON-STREAM-ANSWER", GROUP, Level.SHOULD, "A request on a stream is answered as ModelInfer would.",
    source=TRITON_PROTO, roles=["echo"],
)  # fmt: skip
def answer(target: Target) -> None:
    model = target.echo()
    (response,) = _exchange(target, [_request(model, 0)])
    _expect_answer(model, response, 0)


@register(
    "TRITON-STREAM-ORDER", GROUP, Level.SHOULD,
    "Requests on a stream are answered in their order, each with its own id and data.",
    source=TRITON_PROTO, roles=["echo"],
)  # fmt: skip
def order(target: Target) -> None:
    model = target.echo()
    responses = _exchange(target, [_request(model, number) for number in range(_MESSAGES)])
    ids = [response.infer_response.id for response in responses]
    expected = [str(number) for number in range(_MESSAGES)]
    if ids != expected:
        raise Failed(f"the answers came in the order {', '.join(ids)}; expected {', '.join(expected)}")
    for number, response in enumerate(responses):
        _expect_answer(model, response, number)


@register(
    "TRITON-STREAM-INTERACTIVE", GROUP, Level.SHOULD, "An answer comes while the stream is open to further requests.",
    source=TRITON_PROTO, roles=["echo"],
)  # fmt: skip
def interactive(target: Target) -> None:
    model = target.echo()
    requests: queue.SimpleQueue[pb.ModelInferRequest | None] = queue.SimpleQueue()
    stream = target.wire.stream("ModelStreamInfer", iter(requests.get, None), pb.ModelStreamInferResponse)
    try:
        for number in range(3):
            requests.put(_request(model, number))
            _expect_answer(model, _next(stream), number)
    finally:
        requests.put(None)
        stream.cancel()


@register(
    "TRITON-STREAM-HALF-CLOSE", GROUP, Level.SHOULD,
    "When the client has sent its last request, what is in hand is answered and the stream ends OK.",
    source=TRITON_PROTO, roles=["echo"],
)  # fmt: skip
def half_close(target: Target) -> None:
    model = target.echo()
    responses = _exchange(target, [_request(model, number) for number in range(4)])
    if len(responses) != 4:
        raise Failed(f"{len(responses)} answers before the stream ended; expected 4")


@register(
    "TRITON-STREAM-EMPTY", GROUP, Level.SHOULD, "A stream without requests ends OK, without answers.",
    source=TRITON_PROTO,
)  # fmt: skip
def empty(target: Target) -> None:
    responses = _exchange(target, [])
    if responses:
        raise Failed(f"{len(responses)} answers to no request")


@register(
    "TRITON-STREAM-ERROR", GROUP, Level.SHOULD,
    "A request that cannot be answered gets an error_message, and the stream goes on.",
    source=TRITON_PROTO, roles=["echo"],
)  # fmt: skip
def error_inside(target: Target) -> str:
    model = target.echo()
    bad = _request(model, 1)
    bad.model_name = UNKNOWN_MODEL
    responses = _exchange(target, [_request(model, 0), bad, _request(model, 2)])
    if len(responses) != 3:
        raise Failed(f"{len(responses)} answers to 3 requests of which one was bad; expected 3")
    # The order of errors and answers is not written down; the messages tell which is which.
    refused = [response for response in responses if response.error_message]
    if len(refused) != 1:
        raise Failed(f"{len(refused)} answers have an error_message; expected that of the bad request alone")
    for response in responses:
        if not response.error_message:
            _expect_answer(model, response, int(response.infer_response.id or "-1"))
    return refused[0].error_message[:80]


@register(
    "TRITON-STREAM-ERROR-ID", GROUP, Level.SHOULD, "An error on a stream names the request by its id.",
    source=TRITON_PROTO, roles=["echo"],
)  # fmt: skip
def error_id(target: Target) -> None:
    bad = _request(target.echo(), 7)
    bad.model_name = UNKNOWN_MODEL
    (response,) = _exchange(target, [bad])
    if not response.error_message or response.infer_response.id != "7":
        raise Failed(
            f"error_message {response.error_message[:60]!r} with id {response.infer_response.id!r}; "
            "expected a message and id '7'"
        )


@register(
    "TRITON-STREAM-FINAL", GROUP, Level.MAY,
    "Answers on a stream carry triton_final_response, true where no more follow.",
    source="Triton docs/user_guide/decoupled_models.md", roles=["echo"],
)  # fmt: skip
def final_flag(target: Target) -> None:
    request = _request(target.echo(), 0)
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    responses = _exchange(target, [request])
    if not responses or not responses[-1].infer_response.parameters[_FINAL].bool_param:
        raise Failed(f"the last of {len(responses)} answers has no {_FINAL}=true")


def _request(model: RoleModel, number: int) -> pb.ModelInferRequest:
    return infer_request(model.name, model.examples(seed=number), id=str(number))


def _exchange(target: Target, requests: Sequence[pb.ModelInferRequest]) -> list[pb.ModelStreamInferResponse]:
    """Sends the requests, closes this side, and returns all answers when the stream has ended with OK."""
    return list(target.wire.stream("ModelStreamInfer", requests, pb.ModelStreamInferResponse))


def _next(stream: Iterator[pb.ModelStreamInferResponse]) -> pb.ModelStreamInferResponse:
    for response in stream:
        return response
    raise Failed("the stream ended while requests were still to come")


def _expect_answer(model: RoleModel, response: pb.ModelStreamInferResponse, number: int) -> None:
    if response.error_message:
        raise Failed(f"the answer has error_message {response.error_message[:200]!r}; expected none")
    if response.infer_response.id != str(number):
        raise Failed(f"the answer has id {response.infer_response.id!r}; expected {str(number)!r}")
    answered = outputs_of(response.infer_response)
    for name, tensor in model.echoed(model.examples(seed=number)).items():
        expect_same(f"output {name!r} of request {number}", answered.get(name), tensor)
