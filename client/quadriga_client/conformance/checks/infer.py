"""Checks of ModelInfer: identifiers, versions and the choice of outputs."""

import math
from collections.abc import Mapping

import numpy as np

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import INFERENCE, oip
from quadriga_client.conformance.outcomes import Failed, Level, Skipped
from quadriga_client.conformance.target import UNKNOWN_VERSION, Target, valid_request
from quadriga_client.conformance.tensors import Tensor, expect_same, infer_request
from quadriga_proto.codec import numpy_dtype, to_raw

GROUP = "oip.infer"


@register("OIP-INFER-ID", GROUP, Level.MUST, "A request's id comes back.", source=INFERENCE, roles=["echo"])
def id_echoed(target: Target) -> None:
    request = valid_request(target.echo())
    for id in ("a", "request 42", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"):
        request.id = id
        came = target.infer(request).id
        if came != id:
            raise Failed(f"the response has id {came!r}; expected {id!r}")


@register(
    "OIP-INFER-ID-ANY-TEXT", GROUP, Level.SHOULD, "An id may be long, and of any letters.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def id_of_any_text(target: Target) -> None:
    request = valid_request(target.echo())
    for id in ("Ω漢字 \n\t\"'", "x" * 2_000):
        request.id = id
        came = target.infer(request).id
        if came != id:
            raise Failed(f"the response has id {came[:40]!r}; expected {id[:40]!r}")


@register(
    "OIP-INFER-ID-ABSENT", GROUP, Level.SHOULD, "A response has an id only if the request had one.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def id_absent(target: Target) -> None:
    came = target.infer(valid_request(target.echo())).id
    if came:
        raise Failed(f"the response has id {came!r}; expected none, as the request had none")


@register(
    "OIP-INFER-MODEL-NAME", GROUP, Level.MUST, "A response names the model that was used.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def model_name(target: Target) -> None:
    model = target.echo()
    came = target.infer(valid_request(model)).model_name
    if came != model.name:
        raise Failed(f"the response has model_name {came!r}; expected {model.name!r}")


@register(
    "OIP-INFER-MODEL-VERSION", GROUP, Level.SHOULD, "A response names the version that was used, one of those listed.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def model_version(target: Target) -> str:
    model = target.echo()
    if not model.versions:
        raise Skipped(f"ModelMetadata of {model.name!r} lists no versions")
    came = target.infer(valid_request(model)).model_version
    if came not in model.versions:
        raise Failed(f"the response has model_version {came!r}; expected one of {', '.join(model.versions)}")
    return came


@register(
    "OIP-INFER-VERSION", GROUP, Level.MUST, "A version that is asked for is the one that answers.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def version(target: Target) -> None:
    model = target.echo()
    if not model.versions:
        raise Skipped(f"ModelMetadata of {model.name!r} lists no versions")
    request = valid_request(model)
    for asked in model.versions:
        request.model_version = asked
        came = target.infer(request).model_version
        if came != asked:
            raise Failed(f"version {asked!r} was asked for and {came!r} answered")


@register(
    "OIP-INFER-VERSION-UNKNOWN", GROUP, Level.MUST,
    "A request for a version that is not there is an error, where models have versions.", source=INFERENCE,
    roles=["echo"],
)  # fmt: skip
def unknown_version(target: Target) -> str:
    model = target.echo()
    if not model.versions:
        raise Skipped(f"ModelMetadata of {model.name!r} lists no versions")
    request = valid_request(model)
    request.model_version = UNKNOWN_VERSION
    return target.attempt(request).refused("a version that is not there")


@register(
    "OIP-INFER-OUTPUTS-ALL", GROUP, Level.MUST, "A request that names no outputs is answered with all of them.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def all_outputs(target: Target) -> None:
    model = target.pair()
    _expect_outputs(target.answer(valid_request(model)), {spec.name for spec in model.outputs})


@register(
    "OIP-INFER-OUTPUTS-SUBSET", GROUP, Level.MUST, "A request that names outputs is answered with those alone.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def some_outputs(target: Target) -> None:
    model = target.pair()
    sent = model.examples()
    for spec in model.outputs:
        answered = target.answer(infer_request(model.name, sent, outputs=[spec.name]))
        _expect_outputs(answered, {spec.name})
        expect_same(f"output {spec.name!r}", answered[spec.name], model.echoed(sent)[spec.name])


@register(
    "OIP-INFER-OUTPUTS-NAMED-ALL", GROUP, Level.MUST,
    "Outputs named in another order are answered, each with its own data.",
    source=INFERENCE, roles=["echo"],
)  # fmt: skip
def reversed_outputs(target: Target) -> None:
    model = target.pair()
    sent = model.examples()
    names = [spec.name for spec in reversed(model.outputs)]
    answered = target.answer(infer_request(model.name, sent, outputs=names))
    _expect_outputs(answered, set(names))
    for name, tensor in model.echoed(sent).items():
        expect_same(f"output {name!r}", answered[name], tensor)


@register(
    "OIP-INFER-ADD", GROUP, Level.MUST, "The model that was asked for computes: the sum of two inputs is their sum.",
    source=INFERENCE, roles=["add"],
)  # fmt: skip
def add(target: Target) -> None:
    _add(target, backwards=False)


@register(
    "OIP-INFER-INPUTS-BY-NAME", GROUP, Level.MUST, "Inputs are told apart by their names, in whatever order they come.",
    source=INFERENCE, roles=["add"],
)  # fmt: skip
def inputs_by_name(target: Target) -> None:
    if len(target.add().outputs) == 1:
        raise Skipped("the adder has no output with the difference, and a sum is the same in either order")
    _add(target, backwards=True)


@register(
    "OIP-INFER-PARAMETERS-UNKNOWN", GROUP, Level.SHOULD, "Parameters that a server does not know change nothing.",
    source=oip("Parameters"), roles=["echo"],
)  # fmt: skip
def unknown_parameters(target: Target) -> None:
    model = target.echo()
    sent = model.examples()
    request = infer_request(model.name, sent, outputs=[spec.name for spec in model.outputs])
    for parameters in (request.parameters, request.inputs[0].parameters, request.outputs[0].parameters):
        parameters["somebody_elses_flag"].bool_param = True
        parameters["somebody_elses_number"].int64_param = -1
        parameters["somebody_elses_text"].string_param = "text"
    answered = target.answer(request)
    for name, tensor in model.echoed(sent).items():
        expect_same(f"output {name!r}", answered.get(name), tensor)


def _add(target: Target, *, backwards: bool) -> None:
    model = target.add()
    dtype = numpy_dtype(model.inputs[0].datatype)
    shape = model.inputs[0].sized()
    count = math.prod(shape)
    # Small enough for every datatype, and no difference below 0.
    first, second = (np.arange(count) % 20 + 30).astype(dtype), (np.arange(count) % 7 + 1).astype(dtype)
    arrays = dict(zip((spec.name for spec in model.inputs), (first, second), strict=True))
    sent = {name: Tensor(model.inputs[0].datatype, shape, to_raw(array)) for name, array in arrays.items()}
    if backwards:
        sent = dict(reversed(sent.items()))
    answered = target.answer(infer_request(model.name, sent))
    wanted = (("sum", first + second), ("difference", first - second))
    for spec, (what, array) in zip(model.outputs, wanted, strict=False):
        expected = Tensor(spec.datatype, shape, to_raw(array.astype(dtype)))
        expect_same(f"the {what}, output {spec.name!r},", answered.get(spec.name), expected)


def _expect_outputs(answered: Mapping[str, Tensor], expected: set[str]) -> None:
    if set(answered) != expected:
        raise Failed(f"the outputs are {sorted(answered)}; expected {sorted(expected)}")
