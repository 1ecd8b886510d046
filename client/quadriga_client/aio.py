"""The asynchronous client: `Client` with coroutines; runs in the user's process. For one event loop."""
# A timeout here is a gRPC deadline, which the server learns; asyncio.timeout would only stop waiting.
# ruff: noqa: ASYNC109

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, overload

import grpc
from google.protobuf.message import Message

from quadriga_client import retry as retries
from quadriga_client.client import DEFAULT_RETRY, DEFAULT_TIMEOUT
from quadriga_client.errors import ClientClosedError, Metadata, QuadrigaClientError, error_of
from quadriga_client.images import Images
from quadriga_client.operations import Operations, Result, Steps
from quadriga_client.repository import Config, Files
from quadriga_client.requests import Inputs, Parameters
from quadriga_client.results import Classification, InferResult, ModelMetadata, ModelStatus, ServerMetadata
from quadriga_client.retry import Deadline, RetryPolicy
from quadriga_client.rpcs import METHODS, Rpc, channel_options, check_url, serialize
from quadriga_client.statistics import ModelStatistics
from quadriga_client.tls import TlsOptions
from quadriga_client.tokens import token_metadata
from quadriga_proto.conventions import MAX_MESSAGE_BYTES


class AsyncClient:
    """`Client`, with coroutines for methods: same names, arguments, results and errors.

    It may be made anywhere; the first call binds it to the event loop that runs then.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: TlsOptions | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        timeout: float | None = DEFAULT_TIMEOUT,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        metadata: Metadata = (),
        token: str | None = None,
        token_over_plaintext: bool = False,
    ) -> None:
        """See `Client`."""
        self.url = check_url(url)
        self._credentials = None if tls is None else tls.credentials()
        self._options = channel_options(url, max_message_bytes, tls)
        self._channel: grpc.aio.Channel | None = None
        self._stubs: Mapping[str, Callable[..., Any]] = {}
        self._retry = retry
        self._timeout = timeout
        call_token = token_metadata(url, token, encrypted=tls is not None, over_plaintext=token_over_plaintext)
        self._call_metadata = (*metadata, *call_token)
        self._operations = Operations()
        self._closed = False

    async def infer(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: str = "",
        outputs: Sequence[str] = (),
        timeout: float | None = None,
        request_id: str = "",
        parameters: "Parameters | None" = None,
    ) -> InferResult:
        """See `Client.infer`."""
        steps = self._operations.infer(
            model, inputs, version=version, outputs=outputs, request_id=request_id, parameters=parameters
        )
        return await self._run(steps, timeout)

    async def classify(
        self,
        model: str,
        images: Images,
        *,
        top_k: int = 5,
        version: str = "",
        timeout: float | None = None,
        request_id: str = "",
        parameters: "Parameters | None" = None,
    ) -> list[list[Classification]]:
        """See `Client.classify`; images are decoded and resized on the event loop's thread."""
        steps = self._operations.classify(
            model, images, top_k=top_k, version=version, request_id=request_id, parameters=parameters
        )
        return await self._run(steps, timeout)

    @overload
    async def metadata(self, *, timeout: float | None = None) -> ServerMetadata: ...
    @overload
    async def metadata(self, model: str, version: str = "", *, timeout: float | None = None) -> ModelMetadata: ...
    async def metadata(
        self, model: str = "", version: str = "", *, timeout: float | None = None
    ) -> ModelMetadata | ServerMetadata:
        """See `Client.metadata`."""
        return await self._run(self._operations.metadata(model, version), timeout)

    async def ready(self, model: str = "", version: str = "", *, timeout: float | None = None) -> bool:
        """See `Client.ready`."""
        return await self._run(self._operations.ready(model, version), timeout)

    async def live(self, *, timeout: float | None = None) -> bool:
        """See `Client.live`."""
        return await self._run(self._operations.live(), timeout)

    async def status(self, *, timeout: float | None = None) -> list[ModelStatus]:
        """See `Client.status`."""
        return await self._run(self._operations.status(), timeout)

    async def repository_index(self, *, timeout: float | None = None) -> list[ModelStatus]:
        """See `Client.repository_index`."""
        return await self._run(self._operations.repository_index(), timeout)

    async def load_model(
        self, model: str, *, config: Config | None = None, files: Files | None = None, timeout: float | None = None
    ) -> None:
        """See `Client.load_model`."""
        return await self._run(self._operations.load_model(model, config, files), timeout)

    async def unload_model(self, model: str, *, timeout: float | None = None) -> None:
        """See `Client.unload_model`."""
        return await self._run(self._operations.unload_model(model), timeout)

    async def statistics(
        self, model: str = "", version: str = "", *, timeout: float | None = None
    ) -> list[ModelStatistics]:
        """See `Client.statistics`."""
        return await self._run(self._operations.statistics(model, version), timeout)

    async def close(self) -> None:
        """Ends the connection; calls under way are cancelled. A second time does nothing."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close(None)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[Result], timeout: float | None) -> Result:
        deadline = Deadline(self._timeout if timeout is None else timeout)
        try:
            rpc = next(steps)
            while True:
                try:
                    response = await self._call(rpc, deadline)
                except QuadrigaClientError as error:
                    rpc = steps.throw(error)
                else:
                    rpc = steps.send(response)
        except StopIteration as end:
            result: Result = end.value
            return result

    async def _call(self, rpc: Rpc, deadline: Deadline) -> Message:
        return await retries.call_async(lambda remaining: self._attempt(rpc, remaining), self._retry, deadline)

    async def _attempt(self, rpc: Rpc, timeout: float | None) -> Message:
        if self._closed:
            raise ClientClosedError("the client is closed; make another one")
        if self._channel is None:
            self._connect()
        try:
            response: Message = await self._stubs[rpc.method](
                rpc.request, timeout=timeout, metadata=self._call_metadata
            )
        except grpc.RpcError as error:
            raise error_of(error) from error
        return response

    def _connect(self) -> None:
        """Makes the channel, which needs a running loop."""
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(self.url, self._options)
        else:
            channel = grpc.aio.secure_channel(self.url, self._credentials, self._options)
        self._stubs = {
            name: channel.unary_unary(method.path, request_serializer=serialize, response_deserializer=method.parse)
            for name, method in METHODS.items()
        }
        self._channel = channel
