"""Checks of what ModelInfer refuses of a tensor's data: too little or too much of it, or in the wrong place.

Too little is a MUST: an answer would be one to data that never came. Of too much, or in another place, a server may
make something sensible, and only SHOULD refuse it.
"""

from collections.abc import Callable

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import BINARY, INFERENCE, oip
from quadriga_client.conformance.outcomes import Level, Skipped
from quadriga_client.conformance.target import Target, refusal, valid_request
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import CONTENTS_FIELDS

GROUP = "oip.errors"


@register(
    "OIP-ERR-RAW-SHORT", GROUP, Level.MUST, "Raw contents with too few bytes for shape and datatype are an error.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def raw_short(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.raw_input_contents[0] = request.raw_input_contents[0][:-1]

    return refusal(target, "raw contents with a byte too few", change)


@register(
    "OIP-ERR-RAW-LONG", GROUP, Level.SHOULD, "Raw contents with too many bytes for shape and datatype are refused.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def raw_long(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.raw_input_contents[0] += bytes(8)

    return refusal(target, "raw contents with 8 bytes too many", change)


@register(
    "OIP-ERR-RAW-MISSING", GROUP, Level.MUST, "Fewer raw contents than inputs are an error.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def raw_missing(target: Target) -> str:
    request = valid_request(target.pair())
    del request.raw_input_contents[-1]
    return target.attempt(request).refused("raw contents for all inputs but the last")


@register(
    "OIP-ERR-RAW-SURPLUS", GROUP, Level.SHOULD, "More raw contents than inputs are refused.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def raw_surplus(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.raw_input_contents.append(request.raw_input_contents[0])

    return refusal(target, "two raw contents for one input", change)


@register(
    "OIP-ERR-RAW-AND-TYPED", GROUP, Level.SHOULD, "Contents beside raw contents are refused.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def raw_and_typed(target: Target) -> str:
    model = target.echo()
    if not all(spec.datatype in CONTENTS_FIELDS for spec in model.inputs):
        raise Skipped(f"an input of {model.name!r} has no typed contents")
    request = valid_request(model, typed=True)
    request.raw_input_contents.extend(valid_request(model).raw_input_contents)
    return target.attempt(request).refused("contents beside raw contents")


@register(
    "OIP-ERR-NO-DATA", GROUP, Level.MUST, "An input with elements but without any data is an error.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def no_data(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        request.ClearField("raw_input_contents")

    return refusal(target, "an input without data", change)


@register(
    "OIP-ERR-TYPED-SHORT", GROUP, Level.MUST, "Typed contents with too few elements for the shape are an error.",
    source=oip("Tensor Data"), roles=["echo"],
)  # fmt: skip
def typed_short(target: Target) -> str:
    return _typed(target, "contents with an element too few", lambda values: values[:-1])


@register(
    "OIP-ERR-TYPED-LONG", GROUP, Level.SHOULD, "Typed contents with too many elements for the shape are refused.",
    source=oip("Tensor Data"), roles=["echo"],
)  # fmt: skip
def typed_long(target: Target) -> str:
    return _typed(target, "contents with an element too many", lambda values: [*values, values[0]])


@register(
    "OIP-ERR-TYPED-FIELD", GROUP, Level.SHOULD, "Typed contents in the list of another datatype are refused.",
    source=oip("Tensor Data"), roles=["echo"],
)  # fmt: skip
def typed_in_another_field(target: Target) -> str:
    def change(request: pb.ModelInferRequest) -> None:
        tensor = request.inputs[0]
        request.ClearField("raw_input_contents")
        count = 1
        for size in tensor.shape:
            count *= size
        other = "fp64_contents" if CONTENTS_FIELDS.get(tensor.datatype) == "int64_contents" else "int64_contents"
        getattr(tensor.contents, other).extend([1] * count)

    return refusal(target, "contents in the list of another datatype", change)


@register(
    "OIP-ERR-TYPED-RANGE", GROUP, Level.SHOULD, "A typed value that the datatype cannot hold is refused.",
    source=oip("Tensor Data"), roles=["echo"],
)  # fmt: skip
def typed_out_of_range(target: Target) -> str:
    model = target.echo("INT8")
    request = pb.ModelInferRequest(model_name=model.name)
    for spec in model.inputs:
        tensor = request.inputs.add(name=spec.name, datatype="INT8", shape=spec.sized())
        count = 1
        for size in tensor.shape:
            count *= size
        tensor.contents.int_contents.extend([300] * count)
    return target.attempt(request).refused("300 as an INT8")


@register(
    "OIP-ERR-BYTES-CUT", GROUP, Level.SHOULD, "A BYTES element that ends before its length is refused.", source=BINARY,
    roles=["echo"],
)  # fmt: skip
def bytes_cut(target: Target) -> str:
    request = valid_request(target.echo("BYTES"))
    request.raw_input_contents[0] += b"\x05\x00\x00\x00abc"
    del request.inputs[0].shape[:]
    request.inputs[0].shape.extend([1, 4])
    return target.attempt(request).refused("a BYTES element that is cut off")


@register(
    "OIP-ERR-BYTES-COUNT", GROUP, Level.SHOULD, "BYTES elements fewer than the shape has are refused.", source=BINARY,
    roles=["echo"],
)  # fmt: skip
def bytes_count(target: Target) -> str:
    request = valid_request(target.echo("BYTES"))
    request.inputs[0].shape[-1] += 1
    return target.attempt(request).refused("BYTES elements fewer than the shape has")


def _typed(target: Target, what: str, change: Callable[[list[object]], list[object]]) -> str:
    model = target.echo()
    field = CONTENTS_FIELDS.get(model.inputs[0].datatype)
    if field is None:
        raise Skipped(f"{model.inputs[0].datatype} has no typed contents")
    request = valid_request(model, typed=True)
    values = list(getattr(request.inputs[0].contents, field))
    del getattr(request.inputs[0].contents, field)[:]
    getattr(request.inputs[0].contents, field).extend(change(values))
    return target.attempt(request).refused(what)
