"""The transport on grpcio's asyncio server. Server process."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from quadriga.addresses import join_address, listen
from quadriga.health import Health
from quadriga.transports import Handler
from quadriga_proto.conventions import MAX_MESSAGE_BYTES
from quadriga_proto.pool import POOL

log = logging.getLogger("quadriga.grpc")

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Two servers on one port would share its calls at random: a port in use is an error instead.
    ("grpc.so_reuseport", 0),
)
_NS: Final = 1_000_000_000
#: When the server stops: for those who watch the health to hear of it, before their streams are cut off.
LAST_RESPONSE_SECONDS: Final = 2.0


class GrpcioCall:
    """A call that a coroutine of grpc.aio waits for."""

    __slots__ = ("_context", "_future", "cancelled", "expires_ns", "failure", "request", "response")

    def __init__(self, request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        self.request = request
        self.response: bytes | None = None
        self.failure: tuple[str, str, Mapping[str, str]] | None = None
        self.cancelled = False
        self._context = context
        self._future: asyncio.Future[None] | None = None
        remaining = context.time_remaining()
        self.expires_ns = 0 if remaining is None else time.monotonic_ns() + int(remaining * _NS)

    def metadata(self) -> Mapping[str, str]:
        """See `Call.metadata`."""
        pairs = self._context.invocation_metadata() or ()
        return {key: value for key, value in pairs if isinstance(value, str)}

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
                self.cancelled = True
                raise
        if self.response is not None:
            return self.response
        if self.failure is None:
            raise RuntimeError("a call ended without a response and without a failure")
        code, message, trailers = self.failure
        await self._context.abort(grpc.StatusCode[code], message, tuple(trailers.items()))
        raise AssertionError("abort raises")

    def _end(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class CallsInHand:
    """How many unary calls have begun and not ended, for a drain that waits for them and for nothing else."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def begin(self) -> None:
        """Counts a call that arrived."""
        if self._count == 0:
            self._none.clear()
        self._count += 1

    def end(self, ctx: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        """Counts its end, which is when all of its response is sent; grpc.aio's callback for it."""
        self._count -= 1
        if self._count == 0:
            self._none.set()

    async def ended(self) -> None:
        """Waits until none is in hand."""
        await self._none.wait()


class GrpcioTransport:
    """grpc.aio carrying the service, health and reflection."""

    def __init__(self, host: str, port: int, handlers: Mapping[str, Mapping[str, Handler]], health: Health) -> None:
        """Prepares a server for an address."""
        self._host = host
        self._port = port
        self._calls = CallsInHand()
        self._server = grpc.aio.server(options=_OPTIONS)
        for service, methods in handlers.items():
            self._server.add_generic_rpc_handlers((_generic_handler(service, methods, self._calls),))
        add_standard_services(self._server, tuple(handlers), health)

    async def start(self) -> int:
        """See `Transport.start`."""
        # gRPC's core prints its own lines when it cannot bind, and does not say why: a plain socket tries first.
        listen(self._host, self._port, "--grpc-port").close()
        port = self._server.add_insecure_port(join_address(self._host, self._port))
        await self._server.start()
        return port

    async def stop(self, grace_seconds: float) -> None:
        """See `Transport.stop`."""
        stopping = asyncio.create_task(self._server.stop(grace_seconds))
        ended = asyncio.create_task(self._calls.ended())
        await asyncio.wait((stopping, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        # Streams that watch the health have no end of their own, and are no reason to wait.
        await self._server.stop(min(grace_seconds, LAST_RESPONSE_SECONDS))
        await stopping


def _generic_handler(service: str, methods: Mapping[str, Handler], calls: CallsInHand) -> grpc.GenericRpcHandler:
    """The methods of a service, without (de)serialisers: messages stay bytes on this side of the seam."""
    table: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: grpc.unary_unary_rpc_method_handler(_coroutine(handler, calls)) for name, handler in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, table)


def _coroutine(handler: Handler, calls: CallsInHand) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def serve(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        calls.begin()
        context.add_done_callback(calls.end)  # type: ignore[arg-type]  # the stub has a class for any callable
        call = GrpcioCall(request, context)
        try:
            handler(call)
        except Exception:
            log.exception("a handler failed; this is a bug")
            call.fail("INTERNAL", "internal error; the server's log has more")
        return await call.finished()

    return serve


def add_standard_services(server: grpc.aio.Server, services: tuple[str, ...], health: Health) -> None:
    """Adds grpc.health.v1, and reflection that describes it and `services`."""
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    # Reflection looks every service up in one pool; health's own file is registered in protobuf's default one.
    POOL.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    POOL.AddSerializedFile(reflection._reflection_pb2.DESCRIPTOR.serialized_pb)
    names = (*services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=POOL)
