"""The seam between the gRPC server that carries the calls and the service that answers them. Server process.

A transport hands every call to one callback, and the service answers it from any later callback on the same loop: no
task, future or lock per call is asked of either side. What a transport needs for itself (grpc.aio wants a coroutine) it
keeps to itself, so another transport can be added without touching the service.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import NamedTuple, Protocol

from quadriga.access import Guard
from quadriga.config import ServerConfig
from quadriga.errors import ConfigError
from quadriga.health import Health
from quadriga.transports.pending_bytes import PendingBytes
from quadriga.units import SECOND_NS

log = logging.getLogger("quadriga.transports")


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


class Status(NamedTuple):
    """How a call or a stream ends when it fails.

    Attributes:
        code: Name of the gRPC code.
        message: For the caller.
        trailers: Metadata that goes with it.
    """

    code: str
    message: str
    trailers: Mapping[str, str]


class Stream(Protocol):
    """One stream of requests and responses, as a transport drives it.

    Attributes:
        full: Whether it has as much in hand as it may: no message is to be read now.
        empty: Whether it has nothing in hand.
        status: With which it has to end at once; None: it goes on.
    """

    @property
    def full(self) -> bool: ...  # noqa: D102

    @property
    def empty(self) -> bool: ...  # noqa: D102

    @property
    def status(self) -> Status | None: ...  # noqa: D102

    def take(self, message: bytes) -> None:
        """Takes the next request."""

    def next_response(self) -> bytes | None:
        """The next response to send; None: there is none yet."""

    def cancel(self) -> None:
        """Gives up what is in hand: the caller has gone, or the stream has ended."""


#: Opens a stream: its text metadata, its deadline (as `Call.expires_ns`), and what to call when a response is there.
StreamHandler = Callable[[Mapping[str, str], int, Callable[[], None]], Stream]


class Services(NamedTuple):
    """What a transport serves.

    Attributes:
        unary: Handlers of unary rpcs, by service name and method name.
        streams: Handlers of rpcs that are streams both ways, likewise.
        health: Served beside them as grpc.health.v1.
        guard: Who may call what; None: everybody everything.
        pending: What all calls and streams have in hand.
    """

    unary: Mapping[str, Mapping[str, Handler]]
    streams: Mapping[str, Mapping[str, StreamHandler]]
    health: Health
    guard: Guard | None
    pending: PendingBytes


class Transport(Protocol):
    """A gRPC server."""

    async def start(self) -> int:
        """Listens; returns the port.

        Raises:
            ConfigError: The address cannot be had.
        """

    def drain(self) -> None:
        """Takes nothing new of the streams, each of which ends when all that was taken of it is answered.

        New calls are the handlers' to refuse; `stop` follows at once.
        """

    async def stop(self, grace_seconds: float) -> None:
        """After `drain`: lets the calls in hand end within the grace, their responses arrive, and cancels the rest."""


def expiry(remaining: float | None) -> int:
    """A deadline as `Call.expires_ns` has it, from the seconds that remain; None: there is no deadline."""
    return 0 if remaining is None else time.monotonic_ns() + int(remaining * SECOND_NS)


def text_metadata(pairs: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """A call's text metadata by key, without what is binary."""
    return {key: value for key, value in pairs or () if isinstance(value, str)}


def handle(handler: Handler, call: Call) -> None:
    """Has a handler answer a call, and ends the call where the handler has a bug."""
    try:
        handler(call)
    except Exception:
        log.exception("a handler failed; this is a bug")
        call.fail("INTERNAL", "internal error; the server's log has more")


def make_transport(config: ServerConfig, services: Services) -> Transport:
    """The transport that the configuration names; "auto" is the fastest one installed that has what is asked for.

    Args:
        config: Address, choice, TLS and limits.
        services: What to serve.

    Raises:
        ConfigError: The transport that was asked for is not installed, or a file of TLS cannot be used.
    """
    chosen = config.transport
    installed = find_spec("pygrpc_native") is not None
    if chosen == "auto":
        chosen = "native" if installed and not config.only_on_grpcio else "grpcio"
    if chosen == "native":
        if not installed:
            raise ConfigError(
                "transport is 'native', which is not installed: pip install 'quadriga[fast]', or use grpcio"
            )
        from quadriga.transports.native import NativeTransport

        return NativeTransport(config, services)
    from quadriga.transports.grpcio import GrpcioTransport

    return GrpcioTransport(config, services)
