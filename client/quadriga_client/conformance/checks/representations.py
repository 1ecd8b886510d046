"""Checks of the two ways in which a tensor travels: raw and typed contents, for every datatype."""

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import BINARY, INFERENCE, UNWRITTEN, oip
from quadriga_client.conformance.outcomes import Failed, Level, Skipped, Unsupported
from quadriga_client.conformance.target import Target, valid_request
from quadriga_client.conformance.tensors import Tensor, expect_same, infer_request, outputs_of
from quadriga_client.conformance.wire import OK
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import CONTENTS_FIELDS, DATATYPES, join_elements

GROUP = "oip.infer"
#: Datatypes whose raw encoding the protocol's text does not give, or that it does not have.
_RAW_LEVELS = {"BYTES": (Level.SHOULD, BINARY), "BF16": (Level.MAY, "Triton and KServe; not of OIP's table")}


def echo(target: Target, datatype: str, *, typed: bool) -> None:
    """Holds an echo model of a datatype to give back what it was sent.

    Raises:
        Skipped, Failed: There is no such model; or it gives back something else.
    """
    model = target.echo(datatype)
    for rows in (1, 2) if model.batches else (1,):
        sent = model.examples(rows=rows)
        answered = target.answer(infer_request(model.name, sent, typed=typed))
        for name, tensor in model.echoed(sent).items():
            expect_same(f"output {name!r} of {model.name!r}", answered.get(name), tensor)


def _register(datatype: str) -> None:
    level, source = _RAW_LEVELS.get(datatype, (Level.MUST, INFERENCE))

    @register(
        f"OIP-INFER-RAW-{datatype}", GROUP, level, f"{datatype} travels in raw contents, and keeps every value.",
        source=source, roles=["echo"],
    )  # fmt: skip
    def raw(target: Target) -> None:
        echo(target, datatype, typed=False)

    if datatype in CONTENTS_FIELDS:
        field = CONTENTS_FIELDS[datatype]

        @register(
            f"OIP-INFER-TYPED-{datatype}", GROUP, Level.MUST, f"{datatype} travels in {field}, and keeps every value.",
            source=oip("Tensor Data"), roles=["echo"],
        )  # fmt: skip
        def typed(target: Target) -> None:
            echo(target, datatype, typed=True)


for _datatype in DATATYPES:
    _register(_datatype)


@register(
    "OIP-INFER-RAW-ORDER", GROUP, Level.MUST,
    "Raw contents belong to the inputs in the order in which the request lists them.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def raw_order(target: Target) -> None:
    model = target.pair()
    sent = model.examples()
    for ordered in (sent, dict(reversed(sent.items()))):
        answered = target.answer(infer_request(model.name, ordered))
        for name, tensor in model.echoed(sent).items():
            expect_same(
                f"output {name!r}, with the inputs in the order {', '.join(ordered)},", answered.get(name), tensor
            )


@register(
    "OIP-INFER-TYPED-ORDER", GROUP, Level.MUST, "Typed contents belong to the input that they stand in.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def typed_order(target: Target) -> None:
    model = target.pair()
    sent = model.examples()
    if model.inputs[0].datatype not in CONTENTS_FIELDS:
        raise Skipped(f"{model.inputs[0].datatype} has no typed contents")
    answered = target.answer(infer_request(model.name, dict(reversed(sent.items())), typed=True))
    for name, tensor in model.echoed(sent).items():
        expect_same(f"output {name!r}", answered.get(name), tensor)


@register(
    "OIP-INFER-ONE-REPRESENTATION", GROUP, Level.MUST, "A response with raw contents has no typed ones.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def one_representation(target: Target) -> str:
    response = target.infer(valid_request(target.echo()))
    # An empty message that is set carries nothing, and misleads nobody.
    both = [output.name for output in response.outputs if output.contents.ByteSize()]
    if response.raw_output_contents and both:
        raise Failed(f"outputs {', '.join(both)} have contents beside raw_output_contents; expected one of the two")
    return "raw" if response.raw_output_contents else "typed"


@register(
    "OIP-INFER-SAME-EITHER-WAY", GROUP, Level.MUST, "Raw and typed contents of the same values give the same answer.",
    source=oip("Tensor Data"), roles=["echo"],
)  # fmt: skip
def same_either_way(target: Target) -> None:
    model = target.echo()
    if not all(spec.datatype in CONTENTS_FIELDS for spec in model.inputs):
        raise Skipped(f"an input of {model.name!r} has no typed contents")
    raw = target.answer(valid_request(model, seed=3))
    typed = target.answer(valid_request(model, seed=3, typed=True))
    if raw != typed:
        raise Failed(f"raw contents gave {_shown(raw)}, typed contents {_shown(typed)}")


@register(
    "OIP-INFER-BYTES-BINARY", GROUP, Level.MAY, "BYTES elements may be any bytes, not only text.", source=UNWRITTEN,
    roles=["echo"],
)  # fmt: skip
def binary_elements(target: Target) -> str:
    model = target.echo("BYTES")
    shape = model.inputs[0].sized()
    if len(model.inputs) != 1 or shape != (1, 3):
        raise Skipped(f"{model.name!r} does not take one tensor of shape [1, 3]")
    sent = {model.inputs[0].name: Tensor("BYTES", shape, join_elements([b"\x00\xff", b"\x80", b"a\x00b"]))}
    reply = target.attempt(infer_request(model.name, sent))
    if reply.code != OK:
        raise Unsupported(f"ModelInfer answered {reply}")
    answered = outputs_of(reply.read(pb.ModelInferResponse))
    for name, tensor in model.echoed(sent).items():
        expect_same(f"output {name!r}", answered.get(name), tensor)
    return "answered"


def _shown(tensors: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {tensor}" for name, tensor in tensors.items())
