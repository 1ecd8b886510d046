"""Checks of ModelInfer's rows, sizes, requests in hand at once, and calls that end early. In the kit's process."""

from concurrent.futures import ThreadPoolExecutor

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import INFERENCE, UNWRITTEN, oip
from quadriga_client.conformance.outcomes import Failed, Level, Skipped, Unsupported
from quadriga_client.conformance.roles import RoleModel
from quadriga_client.conformance.target import Target, valid_request
from quadriga_client.conformance.tensors import ANY, Tensor, expect_same, infer_request, outputs_of
from quadriga_client.conformance.wire import OK
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import ITEM_SIZES

GROUP = "oip.infer"
#: More than gRPC's default limit of 4 MiB.
_LARGE_BYTES = 5 * 1024 * 1024
_SLOW_BYTES = 3 * 1024 * 1024
_SHORT_SECONDS = 1e-3
_CALLERS = 16
_CALLS = 64


@register(
    "OIP-INFER-ROWS", GROUP, Level.SHOULD,
    "A request of several rows is answered row by row, where the first dimension is open.",
    source=oip("Model Metadata"), roles=["echo"],
)  # fmt: skip
def rows(target: Target) -> None:
    model = target.echo()
    if not model.batches:
        raise Skipped(f"{model.name!r} has no open first dimension")
    sent = model.examples(rows=3)
    answered = target.answer(infer_request(model.name, sent))
    for name, tensor in model.echoed(sent).items():
        expect_same(f"output {name!r}", answered.get(name), tensor)


@register(
    "OIP-INFER-EMPTY-TENSOR", GROUP, Level.MAY, "A tensor may have no elements where a dimension is variable.",
    source=UNWRITTEN, roles=["echo"],
)  # fmt: skip
def empty_tensor(target: Target) -> str:
    model = target.echo()
    if not all(ANY in spec.shape[1:] for spec in model.inputs):
        raise Skipped(f"{model.name!r} has no variable dimension beside the first")
    sent = model.examples(size=0)
    reply = target.attempt(infer_request(model.name, sent))
    if reply.code != OK:
        raise Unsupported(f"ModelInfer answered {reply}")
    answered = outputs_of(reply.read(pb.ModelInferResponse))
    for name, tensor in model.echoed(sent).items():
        expect_same(f"output {name!r}", answered.get(name), tensor)
    return "answered"


@register(
    "OIP-INFER-LARGE", GROUP, Level.SHOULD, "A tensor of 5 MiB is taken and given back.", source=UNWRITTEN,
    roles=["echo"],
)  # fmt: skip
def large(target: Target) -> None:
    model = target.echo()
    sent = _tensors_of(model, _LARGE_BYTES)
    answered = target.answer(infer_request(model.name, sent))
    for name, tensor in model.echoed(sent).items():
        expect_same(f"output {name!r}", answered.get(name), tensor)


@register(
    "OIP-INFER-CONCURRENT", GROUP, Level.MUST,
    "Of requests in hand at once, each is answered with its own id and data.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def concurrent(target: Target) -> str:
    model = target.echo()

    def exchange(number: int) -> None:
        sent = model.examples(seed=number)
        response = target.infer(infer_request(model.name, sent, id=f"concurrent-{number}"))
        if response.id != f"concurrent-{number}":
            raise Failed(f"the answer to concurrent-{number} has id {response.id!r}")
        answered = outputs_of(response)
        for name, tensor in model.echoed(sent).items():
            expect_same(f"output {name!r} of concurrent-{number}", answered.get(name), tensor)

    with ThreadPoolExecutor(_CALLERS) as callers:
        list(callers.map(exchange, range(_CALLS)))
    return f"{_CALLS} requests, {_CALLERS} at once"


@register(
    "OIP-INFER-DEADLINE", GROUP, Level.SHOULD, "A call whose deadline has passed costs the next one nothing.",
    source="gRPC docs, deadlines", roles=["echo"],
)  # fmt: skip
def deadline(target: Target) -> str:
    model = target.echo()
    # So much takes longer to send and to answer than the deadline.
    request = infer_request(model.name, _tensors_of(model, _SLOW_BYTES))
    codes = {target.wire.call("ModelInfer", request, timeout=_SHORT_SECONDS).code for _ in range(5)}
    if unexpected := codes - {OK, "DEADLINE_EXCEEDED"}:
        raise Failed(f"calls with a deadline of 1 ms ended with {', '.join(unexpected)}; expected DEADLINE_EXCEEDED")
    target.infer(valid_request(model))
    return ", ".join(sorted(codes))


@register(
    "OIP-INFER-CANCEL", GROUP, Level.SHOULD, "A call that its client cancels costs the others nothing.",
    source="gRPC docs, cancellation", roles=["echo"],
)  # fmt: skip
def cancel(target: Target) -> None:
    model = target.echo()
    sent = model.examples(seed=5)
    cancelled = [target.wire.start("ModelInfer", valid_request(model)) for _ in range(8)]
    kept = target.wire.start("ModelInfer", infer_request(model.name, sent))
    for call in cancelled:
        call.cancel()
    answered = outputs_of(target.wire.end_of("ModelInfer", kept).read(pb.ModelInferResponse))
    for name, tensor in model.echoed(sent).items():
        expect_same(f"output {name!r} of the call that was kept", answered.get(name), tensor)


def _tensors_of(model: RoleModel, size: int) -> dict[str, Tensor]:
    """Inputs of about `size` bytes each.

    Raises:
        Skipped: The model takes no such inputs.
    """
    datatype = model.inputs[0].datatype
    if datatype not in ITEM_SIZES or not all(ANY in spec.shape[1:] for spec in model.inputs):
        raise Skipped(f"{model.name!r} has no variable dimension beside the first, or is one of BYTES")
    return model.examples(size=size // ITEM_SIZES[datatype])
