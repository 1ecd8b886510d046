"""The seam between the gRPC server that carries the calls and the service that answers them. Server process.

A transport hands every call to one callback, and the service answers it from any later callback on the same loop: no
task, future or lock per call is asked of either side. What a transport needs for itself (grpc.aio wants a coroutine) it
keeps to itself, so another transport can be added without touching the service.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Protocol

from quadriga.config import ServerConfig
from quadriga.errors import ConfigError
from quadriga.health import Health


class Call(Protocol):
    """One unary call.

    Attributes:
        request: The request message's bytes.
        expires_ns: The caller's deadline on the monotonic clock, in nanoseconds; 0: none.
        cancelled: Whether the caller has gone: an answer would reach nobody.
    """

    @property
    def request(self) -> bytes: ...  # noqa: D102

    @property
    def expires_ns(self) -> int: ...  # noqa: D102

    @property
    def cancelled(self) -> bool: ...  # noqa: D102

    def metadata(self) -> Mapping[str, str]:
        """The call's text metadata, by lower-case key."""

    def respond(self, response: bytes) -> None:
        """Ends the call with OK and a response message. Does nothing when the caller has gone."""

    def fail(self, code: str, message: str, trailers: Mapping[str, str] | None = None) -> None:
        """Ends the call with a status, by the name of its gRPC code. Does nothing when the caller has gone."""


#: Answers one call, now or later, exactly once.
Handler = Callable[[Call], None]


class Transport(Protocol):
    """A gRPC server."""

    async def start(self) -> int:
        """Listens; returns the port.

        Raises:
            ConfigError: The address cannot be had.
        """

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new call from now on, lets those in hand end within the grace, cancels the rest."""


def make_transport(config: ServerConfig, handlers: Mapping[str, Mapping[str, Handler]], health: Health) -> Transport:
    """The transport that the configuration names; "auto" is the fastest one installed.

    Args:
        config: Address and choice.
        handlers: By service name, by method name.
        health: Served beside them as grpc.health.v1.

    Raises:
        ConfigError: The transport that was asked for is not installed.
    """
    chosen = config.transport
    installed = find_spec("pygrpc_native") is not None
    if chosen == "auto":
        chosen = "native" if installed else "grpcio"
    if chosen == "native":
        if not installed:
            raise ConfigError(
                "transport is 'native', which is not installed: pip install 'quadriga[fast]', or use grpcio"
            )
        from quadriga.transports.native import NativeTransport

        return NativeTransport(config.host, config.grpc_port, handlers, health)
    from quadriga.transports.grpcio import GrpcioTransport

    return GrpcioTransport(config.host, config.grpc_port, handlers, health)
