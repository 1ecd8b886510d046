"""Checks of the parameters, schedule and sequence extensions: request parameters with a meaning of their own."""

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import triton
from quadriga_client.conformance.outcomes import Level, Unsupported
from quadriga_client.conformance.target import Target, valid_request
from quadriga_client.conformance.tensors import expect_same, outputs_of
from quadriga_client.conformance.wire import OK
from quadriga_proto import inference_pb2 as pb

GROUP = "triton.parameters"
_SCHEDULE = triton("schedule_policy")


@register(
    "TRITON-PARAM-RESERVED", GROUP, Level.SHOULD, "Keys that start with triton_ are reserved, and refused.",
    source=triton("parameters"), roles=["echo"],
)  # fmt: skip
def reserved(target: Target) -> str:
    return _refused(target, "triton_conformance", "bool_param", True)


@register(
    "TRITON-PARAM-TIMEOUT", GROUP, Level.SHOULD, "A timeout that is long enough changes nothing.", source=_SCHEDULE,
    roles=["echo"],
)  # fmt: skip
def timeout(target: Target) -> None:
    _accepted(target, "timeout", "int64_param", 60_000_000)


@register(
    "TRITON-PARAM-TIMEOUT-TYPE", GROUP, Level.SHOULD, "A timeout that is no number is refused.", source=_SCHEDULE,
    roles=["echo"],
)  # fmt: skip
def timeout_type(target: Target) -> str:
    return _refused(target, "timeout", "string_param", "soon")


@register(
    "TRITON-PARAM-PRIORITY", GROUP, Level.SHOULD, "Priority 0, the default, changes nothing.", source=_SCHEDULE,
    roles=["echo"],
)  # fmt: skip
def priority(target: Target) -> None:
    _accepted(target, "priority", "uint64_param", 0)


@register(
    "TRITON-PARAM-PRIORITY-TYPE", GROUP, Level.SHOULD, "A priority that is no number is refused.", source=_SCHEDULE,
    roles=["echo"],
)  # fmt: skip
def priority_type(target: Target) -> str:
    return _refused(target, "priority", "string_param", "high")


@register(
    "TRITON-PARAM-PRIORITY-NEGATIVE", GROUP, Level.SHOULD, "A priority below 0 is refused.", source=_SCHEDULE,
    roles=["echo"],
)  # fmt: skip
def priority_negative(target: Target) -> str:
    return _refused(target, "priority", "int64_param", -1)


@register(
    "TRITON-PARAM-SEQUENCE-NONE", GROUP, Level.SHOULD, "sequence_id 0 is no sequence, and changes nothing.",
    source=triton("sequence"), roles=["echo"],
)  # fmt: skip
def no_sequence(target: Target) -> None:
    _accepted(target, "sequence_id", "int64_param", 0)


@register(
    "TRITON-PARAM-SEQUENCE-TYPE", GROUP, Level.SHOULD, "A sequence_id that is no number and no text is refused.",
    source=triton("sequence"), roles=["echo"],
)  # fmt: skip
def sequence_type(target: Target) -> str:
    return _refused(target, "sequence_id", "bool_param", True)


def _request(target: Target, key: str, field: str, value: object) -> pb.ModelInferRequest:
    request = valid_request(target.echo())
    setattr(request.parameters[key], field, value)
    return request


def _accepted(target: Target, key: str, field: str, value: object) -> None:
    model = target.echo()
    answered = target.answer(_request(target, key, field, value))
    for name, tensor in model.echoed(model.examples()).items():
        expect_same(f"output {name!r}", answered.get(name), tensor)


def _refused(target: Target, key: str, field: str, value: object) -> str:
    """The code of a request whose parameter is wrong.

    Raises:
        Unsupported: It was answered, by a server that does not advertise the extension.
    """
    reply = target.attempt(_request(target, key, field, value))
    if reply.code == OK and "parameters" not in target.extensions:
        outputs_of(reply.read(pb.ModelInferResponse))
        raise Unsupported(f"the parameter {key!r} is ignored, and 'parameters' is not advertised")
    return reply.refused(f"{key}={value!r}")
