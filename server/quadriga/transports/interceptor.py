"""The guard in front of a grpcio server: its own rpcs, its streams, health and reflection. Server process."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from quadriga.access import Guard
from quadriga.errors import RequestError
from quadriga.transports import text_metadata


class GuardInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls through to their method, or ends them with the guard's refusal."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """See `grpc.aio.ServerInterceptor`."""
        method = await continuation(handler_call_details)
        # An rpc that is not served is UNIMPLEMENTED, whoever asks.
        if method is None or self._guard.is_open(path := _text(handler_call_details.method)):
            return method
        error = self._guard.refusal(path, text_metadata(handler_call_details.invocation_metadata))
        return method if error is None else _refused(error)


def _text(path: str | bytes) -> str:
    return path.decode(errors="replace") if isinstance(path, bytes) else path


def _refused(error: RequestError) -> "grpc.RpcMethodHandler[Any, Any]":
    """A method that ends every call with an error's status.

    It is one of streams whatever was called: that makes no difference on the wire, and grpc.aio reads the message of a
    unary call, which may be large, before it calls the method.
    """

    async def refuse(request: object, context: Any) -> None:  # noqa: ANN401 - of grpc.aio, which has no class for all
        await context.abort(grpc.StatusCode[error.code], str(error))

    return grpc.stream_stream_rpc_method_handler(refuse)
