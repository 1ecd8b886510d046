"""The transport on grpcio's asyncio server. Server process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from quadriga.access import Guard
from quadriga.addresses import join_address, listen
from quadriga.config import ServerConfig
from quadriga.transports import Handler, Services, expiry, handle, text_metadata
from quadriga.transports.delivery import delivered
from quadriga.transports.in_hand import CallsInHand
from quadriga.transports.interceptor import GuardInterceptor
from quadriga.transports.pending_bytes import PendingBytes
from quadriga.transports.streams import StreamsInHand
from quadriga.transports.tls import ServerCertificates, TlsFiles
from quadriga.unary import fail
from quadriga_proto.conventions import MAX_MESSAGE_BYTES
from quadriga_proto.pool import POOL

_MS_PER_SECOND: Final = 1_000
#: When the server stops: for those who watch the health to hear of it, before their streams are cut off. Callers who
#: know other servers are refused meanwhile, and their clients try for less than a second.
LAST_RESPONSE_SECONDS: Final = 0.2


class GrpcioCall:
    """A call that a coroutine of grpc.aio waits for."""

    __slots__ = (
        "_context",
        "_counted",
        "_future",
        "_pending",
        "cancelled",
        "expires_ns",
        "failure",
        "request",
        "response",
    )

    def __init__(
        self, request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]", pending: PendingBytes
    ) -> None:
        """Counts its bytes among those in hand, until it has ended and its response is sent."""
        self.request = request
        self._pending = pending
        self._counted = len(request)
        pending.now += self._counted
        self.response: bytes | None = None
        self.failure: tuple[str, str, Mapping[str, str]] | None = None
        self.cancelled = False
        self._context = context
        self._future: asyncio.Future[None] | None = None
        self.expires_ns = expiry(context.time_remaining())

    def metadata(self) -> Mapping[str, str]:
        """See `Call.metadata`."""
        return text_metadata(self._context.invocation_metadata())

    def respond(self, response: bytes) -> None:
        """See `Call.respond`."""
        self.response = response
        self._end()

    def fail(self, code: str, message: str, trailers: Mapping[str, str] | None = None) -> None:
        """See `Call.fail`."""
        self.failure = (code, message, trailers or {})
        self._end()

    async def finished(self) -> bytes:
        """The response, once there is one; fails the call with its status when it failed."""
        if self.response is None and self.failure is None:
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            except asyncio.CancelledError:
                if self.response is None and self.failure is None:
                    self.cancelled = True
                    self._pending.abandon(self._counted)
                raise
        if self.response is not None:
            return self.response
        if self.failure is None:
            raise RuntimeError("a call ended without a response and without a failure")
        code, message, trailers = self.failure
        await self._context.abort(grpc.StatusCode[code], message, tuple(trailers.items()))
        raise AssertionError("abort raises")

    def close(self) -> None:
        """Gives its bytes back, once its coroutine has ended; those of one whose caller has gone when it is failed."""
        if not self.cancelled:
            self._pending.now -= self._counted
            self._counted = 0

    def _end(self) -> None:
        if self.cancelled:
            self._pending.drop(self._counted)
            self._counted = 0
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class GrpcioTransport:
    """grpc.aio carrying the service, health and reflection."""

    def __init__(self, config: ServerConfig, services: Services) -> None:
        """Prepares a server for an address.

        Raises:
            ConfigError: A file of TLS cannot be used.
        """
        self._host = config.host
        self._port = config.grpc_port
        self._certificates = certificates_of(config)
        self._calls = CallsInHand()
        self._streams = StreamsInHand(self._calls)
        options = (*message_options(config), *connection_options(config))
        self._server = grpc.aio.server(options=options, interceptors=interceptors(services.guard))
        for service, methods in services.unary.items():
            self._server.add_generic_rpc_handlers((_unary_methods(service, methods, self._calls, services.pending),))
        add_streams_and_standard_services(self._server, services, self._streams)

    async def start(self) -> int:
        """See `Transport.start`."""
        # gRPC's core prints its own lines when it cannot bind, and does not say why: a plain socket tries first.
        listen(self._host, self._port, "--grpc-port").close()
        address = join_address(self._host, self._port)
        if self._certificates is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, self._certificates.credentials())
        await self._server.start()
        self._port = port
        return port

    def drain(self) -> None:
        """See `Transport.drain`."""
        self._streams.drain()

    async def stop(self, grace_seconds: float) -> None:
        """See `Transport.stop`."""
        # grpcio's own stop comes last. It closes each connection with its last call, although the client may not have
        # all of the response; and it says CANCELLED of a call that comes in that moment, where the service says why.
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self._calls.ended()
                await delivered(self._port)
        # Streams that watch the health have no end of their own, and are no reason to wait.
        await self._server.stop(min(grace_seconds, LAST_RESPONSE_SECONDS))


def _unary_methods(
    service: str, methods: Mapping[str, Handler], calls: CallsInHand, pending: PendingBytes
) -> grpc.GenericRpcHandler:
    """The methods of a service, without (de)serialisers: messages stay bytes on this side of the seam."""
    table: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: grpc.unary_unary_rpc_method_handler(_coroutine(handler, calls, pending))
        for name, handler in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, table)


def _coroutine(handler: Handler, calls: CallsInHand, pending: PendingBytes) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def serve(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        calls.begin(context)
        refusal = pending.refusal(len(request))
        call = GrpcioCall(request, context, pending)
        try:
            if refusal is None:
                handle(handler, call)
            else:
                fail(call, refusal)
            return await call.finished()
        finally:
            call.close()

    return serve


def add_streams_and_standard_services(server: grpc.aio.Server, services: Services, streams: StreamsInHand) -> None:
    """Adds the rpcs that are streams, grpc.health.v1, and reflection that describes them and the unary rpcs."""
    for service, methods in services.streams.items():
        table: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.stream_stream_rpc_method_handler(streams.serve(handler)) for name, handler in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, table),))
    health_pb2_grpc.add_HealthServicer_to_server(services.health.servicer, server)
    # Reflection looks every service up in one pool; health's own file is registered in protobuf's default one.
    POOL.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    POOL.AddSerializedFile(reflection._reflection_pb2.DESCRIPTOR.serialized_pb)
    names = (*services.unary, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=POOL)


def interceptors(guard: Guard | None) -> tuple[grpc.aio.ServerInterceptor, ...]:
    """What stands before every call of a server; nothing where everything is open."""
    return () if guard is None else (GuardInterceptor(guard),)


def certificates_of(config: ServerConfig) -> ServerCertificates | None:
    """The certificates that the configuration names; None where there is no TLS.

    Raises:
        ConfigError: They cannot be used.
    """
    if config.tls_certificate is None or config.tls_key is None:
        return None
    return ServerCertificates(TlsFiles(config.tls_certificate, config.tls_key, config.tls_client_ca))


def message_options(config: ServerConfig) -> tuple[tuple[str, int], ...]:
    """What a server needs to take messages up to the limit, and to send any."""
    return (
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    )


def metadata_options(most_bytes: int) -> tuple[tuple[str, int], ...]:
    """The limit of a call's metadata: gRPC has two, and refuses at random what lies between them."""
    return (("grpc.max_metadata_size", most_bytes), ("grpc.absolute_max_metadata_size", most_bytes))


def connection_options(config: ServerConfig) -> tuple[tuple[str, int], ...]:
    """The limits of connections, and what keeps them alive."""
    milliseconds = {
        "grpc.keepalive_time_ms": config.keepalive_seconds,
        "grpc.keepalive_timeout_ms": config.keepalive_timeout_seconds,
        "grpc.http2.ping_timeout_ms": config.keepalive_timeout_seconds,
        "grpc.http2.min_ping_interval_without_data_ms": config.min_ping_seconds,
        "grpc.max_connection_idle_ms": config.max_connection_idle_seconds,
        "grpc.max_connection_age_ms": config.max_connection_age_seconds,
    }
    most_connections = ("grpc.max_allowed_incoming_connections", config.max_connections)
    return (
        # Two servers on one port would share its calls at random: a port in use is an error instead.
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", config.max_streams),
        # A client that is gone holds a connection, whether or not it had calls.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        *metadata_options(config.max_metadata_bytes),
        *((most_connections,) if config.max_connections else ()),
        *((name, int(seconds * _MS_PER_SECOND)) for name, seconds in milliseconds.items() if seconds),
    )
