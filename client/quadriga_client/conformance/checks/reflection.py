"""Checks of server reflection, by which tools such as grpcurl learn the service."""

from typing import Any

from google.protobuf import descriptor_pb2

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import REFLECTION
from quadriga_client.conformance.grpc_messages import (
    HEALTH,
    REFLECTION_PACKAGES,
    ServerReflectionRequest,
    ServerReflectionResponse,
)
from quadriga_client.conformance.outcomes import Failed, Level, Unsupported
from quadriga_client.conformance.target import UNKNOWN_MODEL, Target
from quadriga_client.conformance.wire import OK, SERVICE

GROUP = "reflection"
#: The rpcs that the Open Inference Protocol requires.
_REQUIRED = {"ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"}


@register(
    "REFLECTION-LIST", GROUP, Level.SHOULD, "The inference service is listed.", source=REFLECTION
)  # fmt: skip
def lists(target: Target) -> str:
    services = _services(target)
    if SERVICE not in services:
        raise Failed(f"the services are {', '.join(services)}; expected {SERVICE} among them")
    return ", ".join(services)


@register(
    "REFLECTION-DESCRIBE", GROUP, Level.SHOULD, "The inference service is described, with the protocol's rpcs.",
    source=REFLECTION,
)  # fmt: skip
def describes(target: Target) -> None:
    answer = _ask(target, ServerReflectionRequest(file_containing_symbol=SERVICE))
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(file)
        for file in answer.file_descriptor_response.file_descriptor_proto
    ]
    methods = {method.name for file in files for service in file.service for method in service.method}
    if missing := _REQUIRED - methods:
        raise Failed(f"the description of {SERVICE} lacks {', '.join(sorted(missing))}")


@register(
    "REFLECTION-UNKNOWN", GROUP, Level.SHOULD,
    "A symbol that is not there is an error response, on a stream that ends OK.",
    source=REFLECTION,
)  # fmt: skip
def unknown(target: Target) -> str:
    answer = _ask(target, ServerReflectionRequest(file_containing_symbol=f"{UNKNOWN_MODEL}.Nothing"))
    if not answer.HasField("error_response"):
        raise Failed("a symbol that is not there was answered without an error_response")
    return f"error_code {answer.error_response.error_code}"


@register(
    "REFLECTION-HEALTH", GROUP, Level.MAY, "Where health is answered, its service is listed.", source=REFLECTION
)  # fmt: skip
def lists_health(target: Target) -> None:
    services = _services(target)
    if target.wire.call("Check", service=HEALTH).code != OK:
        raise Unsupported("grpc.health.v1 is not answered")
    if HEALTH not in services:
        raise Failed(f"{HEALTH} is answered but not among {', '.join(services)}")


def _services(target: Target) -> list[str]:
    answer = _ask(target, ServerReflectionRequest(list_services=""))
    return [service.name for service in answer.list_services_response.service]


def _ask(target: Target, request: Any) -> Any:  # noqa: ANN401 - classes made at run time
    """The answer of whichever version of reflection the server has.

    Raises:
        Unsupported: It has none.
    """
    for package in REFLECTION_PACKAGES:
        try:
            return target.wire.ask(
                f"{package}.ServerReflection", "ServerReflectionInfo", request, ServerReflectionResponse
            )
        except Unsupported as unsupported:
            last = unsupported
    raise last
