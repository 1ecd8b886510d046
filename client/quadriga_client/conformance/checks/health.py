"""Checks of ServerLive, ServerReady and ModelReady."""

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import UNWRITTEN, oip
from quadriga_client.conformance.outcomes import Failed, Level, Skipped
from quadriga_client.conformance.target import UNKNOWN_MODEL, UNKNOWN_VERSION, Target, valid_request
from quadriga_client.conformance.wire import OK, Reply
from quadriga_proto import inference_pb2 as pb

GROUP = "oip.health"


@register("OIP-HEALTH-LIVE", GROUP, Level.MUST, "ServerLive answers OK, with live true.", source=oip("Server Live"))
def live(target: Target) -> None:
    if not target.wire.call("ServerLive").read(pb.ServerLiveResponse).live:
        raise Failed("ServerLive answered live=false; expected true from a server that answers")


@register("OIP-HEALTH-READY", GROUP, Level.MUST, "ServerReady answers OK.", source=oip("Server Ready"))
def ready(target: Target) -> str:
    return f"ready={target.wire.call('ServerReady').read(pb.ServerReadyResponse).ready}"


@register(
    "OIP-HEALTH-READY-SERVING", GROUP, Level.SHOULD, "A server that answers inference requests says that it is ready.",
    source=oip("Server Ready"), roles=["echo"],
)  # fmt: skip
def ready_when_serving(target: Target) -> None:
    target.infer(valid_request(target.echo()))
    if not target.wire.call("ServerReady").read(pb.ServerReadyResponse).ready:
        raise Failed("ServerReady answered ready=false after an inference was answered; expected true")


@register(
    "OIP-HEALTH-MODEL-READY", GROUP, Level.MUST, "ModelReady says true of a model that answers.",
    source=oip("Model Ready"), roles=["echo"],
)  # fmt: skip
def model_ready(target: Target) -> None:
    model = target.echo()
    target.infer(valid_request(model))
    _expect_ready(_ask(target, model.name))


@register(
    "OIP-HEALTH-MODEL-READY-VERSION", GROUP, Level.MUST, "ModelReady says true of a version that ModelMetadata lists.",
    source=oip("Model Ready"), roles=["echo"],
)  # fmt: skip
def listed_version_ready(target: Target) -> None:
    model = target.echo()
    if not model.versions:
        raise Skipped(f"ModelMetadata of {model.name!r} lists no versions")
    _expect_ready(_ask(target, model.name, model.versions[-1]))


@register(
    "OIP-HEALTH-MODEL-UNKNOWN", GROUP, Level.MUST, "ModelReady does not say true of a model that is not there.",
    source=oip("Model Ready"),
)  # fmt: skip
def unknown_model(target: Target) -> str:
    return _expect_not_ready(_ask(target, UNKNOWN_MODEL), "a model that is not there")


@register(
    "OIP-HEALTH-MODEL-VERSION-UNKNOWN", GROUP, Level.MUST,
    "ModelReady does not say true of a version that is not there, where models have versions.",
    source=oip("Model Ready"), roles=["echo"],
)  # fmt: skip
def unknown_version(target: Target) -> str:
    model = target.echo()
    if not model.versions:
        raise Skipped(f"ModelMetadata of {model.name!r} lists no versions")
    return _expect_not_ready(_ask(target, model.name, UNKNOWN_VERSION), "a version that is not there")


@register(
    "OIP-HEALTH-MODEL-NAME-EMPTY", GROUP, Level.SHOULD, "ModelReady does not say true of a model without a name.",
    source=oip("Model Ready"),
)  # fmt: skip
def empty_name(target: Target) -> str:
    return _expect_not_ready(_ask(target, ""), "a model without a name")


@register(
    "OIP-HEALTH-UNKNOWN-FIELDS", GROUP, Level.SHOULD, "Fields that a message does not have are left alone.",
    source="protobuf, proto3 language guide: unknown fields",
)  # fmt: skip
def unknown_fields(target: Target) -> None:
    # Field 15 of wire type 2, holding "new": what a client of a later protocol might send.
    reply = target.wire.call("ServerLive", b"\x7a\x03new")
    if reply.code != OK:
        raise Failed(f"ServerLive with a field of number 15 answered {reply}; expected OK")


@register(
    "OIP-HEALTH-AFTER-REFUSALS", GROUP, Level.SHOULD, "Asking for what is not there leaves the server live.",
    source=UNWRITTEN,
)  # fmt: skip
def live_after_refusals(target: Target) -> None:
    for name in (UNKNOWN_MODEL, "../" + UNKNOWN_MODEL, "a/b", "\x00", "x" * 10_000):
        _ask(target, name)
    live(target)


def _ask(target: Target, name: str, version: str = "") -> Reply:
    return target.wire.call("ModelReady", pb.ModelReadyRequest(name=name, version=version))


def _expect_ready(reply: Reply) -> None:
    if not reply.read(pb.ModelReadyResponse).ready:
        raise Failed("ModelReady answered ready=false; expected true")


def _expect_not_ready(reply: Reply, what: str) -> str:
    if reply.code == OK and reply.read(pb.ModelReadyResponse).ready:
        raise Failed(f"ModelReady answered ready=true for {what}; expected false or an error status")
    return "OK, ready=false" if reply.code == OK else reply.code
