"""`quadriga health`: asks grpc.health.v1 once, as probes do. Runs in the command's own process."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import click
import grpc
from click.core import ParameterSource
from grpc_health.v1 import health_pb2, health_pb2_grpc

from quadriga.addresses import DEFAULT_HOST, join_address
from quadriga.commands.connection import Target, target_options
from quadriga_client.errors import QuadrigaClientError
from quadriga_client.rpcs import open_channel
from quadriga_proto.conventions import DEFAULT_GRPC_PORT, MAX_MESSAGE_BYTES, SERVICE

#: The server, and that it has something to answer with.
_BOTH: Final = ("", SERVICE)
_PORT_VARIABLE: Final = "QUADRIGA_GRPC_PORT"
_UNKNOWN: Final = "SERVICE_UNKNOWN"
_SILENT: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@click.command(context_settings={"show_default": True})
@click.argument("models", nargs=-1)
@target_options
def health(target: Target, models: tuple[str, ...]) -> None:
    """Ask a running server whether it serves: exit status 0 when it does, 1 when not.

    With MODELS, whether each of them does; without, whether the server is ready and any model can answer. Where no
    --url says otherwise it is the server of this machine, on the port that QUADRIGA_GRPC_PORT names.
    """
    source = click.get_current_context().get_parameter_source("url")
    if source is ParameterSource.DEFAULT:
        target = replace(target, url=join_address(DEFAULT_HOST, _port()))
    try:
        statuses = ask(target, models or _BOTH)
    except QuadrigaClientError as error:
        raise click.ClickException(str(error)) from None
    except grpc.RpcError as error:
        why = f"no server answers at {target.url}" if error.code() in _SILENT else f"{target.url}: {error.details()}"
        raise click.ClickException(f"{why} ({error.code().name})") from None
    for service, status in statuses.items():
        if status != "SERVING":
            raise click.ClickException(f"{target.url} {_problem(service, status)}")
    click.echo(f"{target.url} serves")


def ask(target: Target, services: Sequence[str]) -> dict[str, str]:
    """The status of each service, by its name.

    Raises:
        QuadrigaClientError: The target cannot be used.
        grpc.RpcError: The server does not answer.
    """
    with open_channel(target.url, MAX_MESSAGE_BYTES, target.tls_options()) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return {service: _status(stub, target, service) for service in services}


def _status(stub: health_pb2_grpc.HealthStub, target: Target, service: str) -> str:
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        response = stub.Check(request, timeout=target.timeout, metadata=target.call_metadata())
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return _UNKNOWN
        raise
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))


def _port() -> int:
    text = os.environ.get(_PORT_VARIABLE) or str(DEFAULT_GRPC_PORT)
    if not text.isdecimal():
        raise click.ClickException(f"{_PORT_VARIABLE} is {text!r}; expected a number")
    return int(text)


def _problem(service: str, status: str) -> str:
    if service == SERVICE:
        return "has no model that can answer; `quadriga status` has the reasons"
    return f"is not ready ({status})" if not service else f"does not serve model {service!r} ({status})"
