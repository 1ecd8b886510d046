"""Checks of grpc.health.v1, which probes and load balancers ask."""

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import HEALTH_V1
from quadriga_client.conformance.grpc_messages import (
    HEALTH,
    SERVICE_UNKNOWN,
    SERVING,
    SERVING_STATUSES,
    HealthCheckRequest,
    HealthCheckResponse,
)
from quadriga_client.conformance.outcomes import Failed, Level, Unsupported
from quadriga_client.conformance.target import UNKNOWN_MODEL, Target
from quadriga_client.conformance.wire import OK, Reply

GROUP = "health.v1"


@register(
    "HEALTH-CHECK", GROUP, Level.SHOULD, "Check of the server, the empty name, says SERVING.", source=HEALTH_V1
)  # fmt: skip
def check(target: Target) -> None:
    _expect("Check", _check(target, "").read(HealthCheckResponse).status, SERVING)


@register(
    "HEALTH-CHECK-UNKNOWN", GROUP, Level.SHOULD, "Check of a service that is not registered is NOT_FOUND.",
    source=HEALTH_V1,
)  # fmt: skip
def check_unknown(target: Target) -> None:
    check(target)
    reply = _check(target, UNKNOWN_MODEL)
    if reply.code != "NOT_FOUND":
        raise Failed(f"Check of an unknown service answered {reply}; expected NOT_FOUND")


@register(
    "HEALTH-CHECK-MODEL", GROUP, Level.MAY,
    "Check of a model's name says SERVING.", source="Quadriga's own", roles=["echo"]
)  # fmt: skip
def check_model(target: Target) -> None:
    model = target.echo()
    check(target)
    reply = _check(target, model.name)
    if reply.code != OK:
        raise Unsupported(f"Check of the model {model.name!r} answered {reply}")
    _expect("Check", reply.read(HealthCheckResponse).status, SERVING)


@register(
    "HEALTH-WATCH", GROUP, Level.SHOULD, "Watch of the server says SERVING at once.", source=HEALTH_V1
)  # fmt: skip
def watch(target: Target) -> None:
    _expect("Watch", _watch(target, ""), SERVING)


@register(
    "HEALTH-WATCH-UNKNOWN", GROUP, Level.SHOULD,
    "Watch of a service that is not registered says SERVICE_UNKNOWN, and goes on.",
    source=HEALTH_V1,
)  # fmt: skip
def watch_unknown(target: Target) -> None:
    _expect("Watch", _watch(target, UNKNOWN_MODEL), SERVICE_UNKNOWN)


def _check(target: Target, service: str) -> Reply:
    return target.wire.call("Check", HealthCheckRequest(service=service), service=HEALTH)


def _watch(target: Target, service: str) -> int:
    status: int = target.wire.watch(HEALTH, "Watch", HealthCheckRequest(service=service), HealthCheckResponse).status
    return status


def _expect(method: str, status: int, expected: int) -> None:
    if status != expected:
        shown = SERVING_STATUSES[status] if status < len(SERVING_STATUSES) else str(status)
        raise Failed(f"{method} says {shown}; expected {SERVING_STATUSES[expected]}")
