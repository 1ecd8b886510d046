"""The guard in front of a grpcio server: its own rpcs, its streams, health and reflection. Server process."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from quadriga.access import Guard
from quadriga.errors import RequestError


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
        pairs = handler_call_details.invocation_metadata or ()
        metadata = {key: value for key, value in pairs if isinstance(value, str)}
        error = self._guard.refusal(path, metadata)
        return method if error is None else _refused(method, error)


def _text(path: str | bytes) -> str:
    return path.decode(errors="replace") if isinstance(path, bytes) else path


def _refused(method: "grpc.RpcMethodHandler[Any, Any]", error: RequestError) -> "grpc.RpcMethodHandler[Any, Any]":
    """A method of the same kind that ends every call with an error's status."""

    async def refuse(request: object, context: Any) -> None:  # noqa: ANN401 - of grpc.aio, which has no class for all
        await context.abort(grpc.StatusCode[error.code], str(error))

    if method.request_streaming and method.response_streaming:
        return grpc.stream_stream_rpc_method_handler(refuse)
    if method.request_streaming:
        return grpc.stream_unary_rpc_method_handler(refuse)
    if method.response_streaming:
        return grpc.unary_stream_rpc_method_handler(refuse)
    return grpc.unary_unary_rpc_method_handler(refuse)
