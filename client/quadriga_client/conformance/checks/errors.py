"""Checks of what ModelInfer refuses: requests that break the protocol's rules or do not fit the model.

The protocol says that codes other than OK indicate failure, and no more. So MUST stands where an OK would claim a
result that cannot be had, as with data that never came; where a server might read the request as something sensible,
it is SHOULD. Which code came is observed, not judged, but for one check that asks for a code that blames the caller.
"""

from typing import Final

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.data_errors import GROUP, no_data, raw_short
from quadriga_client.conformance.checks.sources import INFERENCE, STATUS_CODES, oip
from quadriga_client.conformance.outcomes import Failed, Level, Skipped
from quadriga_client.conformance.target import UNKNOWN_MODEL, Target, fixed_size_request, refusal
from quadriga_client.conformance.tensors import expect_same, infer_request, outputs_of
from quadriga_client.conformance.wire import CALLERS_FAULT, OK, UNIMPLEMENTED, methods
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import ITEM_SIZES

_UNKNOWN_TENSOR: Final = "quadriga_conformance_no_such_tensor"
_HUGE: Final = 2**62


@register(
    "OIP-ERR-MODEL-UNKNOWN", GROUP, Level.MUST, "A request for a model that is not there is an error.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def unknown_model(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.model_name = UNKNOWN_MODEL

    return refusal(target, "a model that is not there", change)


@register(
    "OIP-ERR-MODEL-EMPTY", GROUP, Level.MUST, "A request that names no model is an error.", source=INFERENCE
)  # fmt: skip
def empty_request(target: Target) -> str:
    return target.wire.call("ModelInfer", b"").refused("a request of no bytes")


@register(
    "OIP-ERR-GARBAGE", GROUP, Level.MUST, "Bytes that are no message are an error.", source="gRPC, protobuf wire format"
)  # fmt: skip
def garbage(target: Target) -> str:
    return target.wire.call("ModelInfer", b"\xff\xff\xff\xff").refused("bytes that are no message")


@register(
    "OIP-ERR-INPUT-UNKNOWN", GROUP, Level.SHOULD, "An input that the model does not have is refused.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def unknown_input(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.inputs[0].name = _UNKNOWN_TENSOR

    return refusal(target, "an input that the model does not have", change)


@register(
    "OIP-ERR-OUTPUT-UNKNOWN", GROUP, Level.SHOULD, "An output that the model does not have is refused.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def unknown_output(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.outputs.add(name=_UNKNOWN_TENSOR)

    return refusal(target, "a requested output that the model does not have", change)


@register(
    "OIP-ERR-INPUT-MISSING", GROUP, Level.SHOULD, "A request that lacks an input is refused.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def missing_input(target: Target) -> str:
    model = target.pair()
    sent = dict(list(model.examples().items())[:-1])
    return target.attempt(infer_request(model.name, sent)).refused("a request without its last input")


@register(
    "OIP-ERR-INPUT-NONE", GROUP, Level.MUST, "A request without any input is an error, of a model that echoes.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def no_inputs(target: Target) -> str:
    model = target.echo()
    return target.attempt(pb.ModelInferRequest(model_name=model.name)).refused("a request without inputs")


@register(
    "OIP-ERR-INPUT-TWICE", GROUP, Level.SHOULD, "An input that comes twice is refused.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def input_twice(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.inputs.append(request.inputs[0])
        request.raw_input_contents.append(request.raw_input_contents[0])

    return refusal(target, "an input that came twice", change)


@register(
    "OIP-ERR-DATATYPE", GROUP, Level.SHOULD, "A datatype that is not the input's is refused.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def wrong_datatype(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        tensor = request.inputs[0]
        # One of the same size, so that nothing but the name is wrong.
        same_size = [name for name, size in ITEM_SIZES.items() if size == ITEM_SIZES[tensor.datatype]]
        tensor.datatype = next(name for name in same_size if name != tensor.datatype)

    return refusal(target, "another datatype than the metadata's", change)


@register(
    "OIP-ERR-DATATYPE-UNKNOWN", GROUP, Level.SHOULD, "A datatype that the protocol does not have is refused.",
    source=oip("Tensor Data Types"), roles=["echo"],
)  # fmt: skip
def unknown_datatype(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.inputs[0].datatype = "FLOAT"

    return refusal(target, "the datatype FLOAT", change)


@register(
    "OIP-ERR-RANK", GROUP, Level.SHOULD, "A shape with more dimensions than the input has is refused.",
    source=oip("Model Metadata"), roles=["echo"],
)  # fmt: skip
def wrong_rank(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.inputs[0].shape.extend([1, 1])

    return refusal(target, "a shape with two dimensions too many", change)


@register(
    "OIP-ERR-DIMENSION", GROUP, Level.SHOULD, "A size that is not the input's is refused where the metadata fixes it.",
    source=oip("Model Metadata"), roles=["image"],
)  # fmt: skip
def wrong_dimension(target: Target) -> str:
    model = target.image()
    (spec,) = model.inputs
    fixed = [place for place, size in enumerate(spec.shape) if size > 0]
    if not fixed:
        raise Skipped(f"{model.name!r} fixes no dimension")
    shape = list(spec.sized(size=8))
    shape[fixed[-1]] += 1
    request = pb.ModelInferRequest(model_name=model.name)
    request.inputs.add(name=spec.name, datatype=spec.datatype, shape=shape)
    count = 1
    for size in shape:
        count *= size
    request.raw_input_contents.append(bytes(count * ITEM_SIZES[spec.datatype]))
    return target.attempt(request).refused(f"shape {shape} for {list(spec.shape)}")


@register(
    "OIP-ERR-DIMENSION-NEGATIVE", GROUP, Level.SHOULD, "A negative size in a request's shape is refused.",
    source=oip("Model Metadata"), roles=["echo"],
)  # fmt: skip
def negative_dimension(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.inputs[0].shape[0] = -1

    return refusal(target, "a size of -1", change)


@register(
    "OIP-ERR-SHAPE-HUGE", GROUP, Level.MUST, "A shape of 2^62 rows, for which no data came, is an error.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def huge_shape(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.inputs[0].shape[0] = _HUGE

    return refusal(target, "a shape of 2^62 rows", change)


@register(
    "OIP-ERR-RPC-UNKNOWN", GROUP, Level.SHOULD, "An rpc that the service does not have is UNIMPLEMENTED.",
    source=STATUS_CODES,
)  # fmt: skip
def unknown_rpc(target: Target) -> None:
    method = "QuadrigaConformanceNoSuchRpc"
    assert method not in methods()
    code = target.wire.call(method).code
    if code != UNIMPLEMENTED:
        raise Failed(f"an rpc that does not exist answered {code}; expected UNIMPLEMENTED")


@register(
    "OIP-ERR-CODES", GROUP, Level.SHOULD, "The caller's mistakes have codes that blame the caller.",
    source=STATUS_CODES, roles=["echo"],
)  # fmt: skip
def codes(target: Target) -> str:
    found = {check.__name__: check(target) for check in (unknown_model, raw_short, no_data)}
    shown = ", ".join(f"{name}: {code}" for name, code in found.items())
    if set(found.values()) - CALLERS_FAULT:
        raise Failed(f"{shown}; expected codes such as NOT_FOUND and INVALID_ARGUMENT")
    return shown


@register(
    "OIP-ERR-MESSAGES", GROUP, Level.SHOULD, "A refusal says why.", source=STATUS_CODES, roles=["echo"]
)  # fmt: skip
def messages(target: Target) -> str:
    request = fixed_size_request(target)
    request.model_name = UNKNOWN_MODEL
    reply = target.attempt(request)
    reply.refused("a model that is not there")
    if not reply.details.strip():
        raise Failed(f"{reply.code} came without a message")
    return reply.details[:120]


@register(
    "OIP-ERR-STILL-SERVES", GROUP, Level.MUST, "After requests that were refused, others are answered.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def still_serves(target: Target) -> None:
    model = target.echo()
    sent = model.examples(seed=11)
    for bad in (b"", b"\xff\xff\xff\xff", pb.ModelInferRequest(model_name=model.name).SerializeToString()):
        target.wire.call("ModelInfer", bad)
    reply = target.attempt(infer_request(model.name, sent))
    if reply.code != OK:
        raise Failed(f"after refused requests a good one was answered {reply}")
    answered = outputs_of(reply.read(pb.ModelInferResponse))
    for name, tensor in model.echoed(sent).items():
        expect_same(f"output {name!r}", answered.get(name), tensor)
