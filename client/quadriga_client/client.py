"""The synchronous client; runs in the user's process. Safe to share between threads."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, overload

import grpc
from google.protobuf.message import Message

from quadriga_client import retry as retries
from quadriga_client.errors import ClientClosedError, Metadata, QuadrigaClientError, error_of
from quadriga_client.images import Images
from quadriga_client.operations import Operations, Result, Steps
from quadriga_client.repository import Config, Files
from quadriga_client.requests import Inputs, Parameters
from quadriga_client.results import Classification, InferResult, ModelMetadata, ModelStatus, ServerMetadata
from quadriga_client.retry import Deadline, RetryPolicy
from quadriga_client.rpcs import METHODS, Rpc, open_channel, serialize
from quadriga_client.statistics import ModelStatistics
from quadriga_client.tls import TlsOptions
from quadriga_client.tokens import token_metadata
from quadriga_proto.conventions import MAX_MESSAGE_BYTES

#: Seconds for a method, all its calls and attempts included, where neither client nor call says otherwise.
DEFAULT_TIMEOUT: Final = 60.0
DEFAULT_RETRY: Final = RetryPolicy()


class Client:
    """A connection to an inference server, Quadriga or any other that speaks the Open Inference Protocol.

    The connection is made by the first call. Every method takes `timeout`: the seconds for all that it does; None is
    the client's own timeout. Every method raises `RpcFailed`'s subclasses for what the server or the network refuses,
    and `ClientClosedError` after `close`.

    Attributes:
        url: Where it leads, as it was given.
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
        """Prepares a connection.

        Args:
            url: HOST:PORT, or one of gRPC's schemes (`unix:`, `dns:`).
            tls: Switches TLS on.
            retry: When a failed call is tried again.
            timeout: Seconds for a method that is given none; None is no end.
            max_message_bytes: The largest request and response.
            metadata: Key and value pairs that go with each call.
            token: Bearer token that goes with each call.
            token_over_plaintext: Lets the token go to another machine without TLS, where others may read it.

        Raises:
            InputError: The URL is none, a file of `tls` cannot be read, or the token is none or may not go there.
        """
        call_token = token_metadata(url, token, encrypted=tls is not None, over_plaintext=token_over_plaintext)
        self.url = url
        self._channel = open_channel(url, max_message_bytes, tls)
        self._stubs: Mapping[str, Callable[..., Any]] = {
            name: self._channel.unary_unary(
                method.path, request_serializer=serialize, response_deserializer=method.parse
            )
            for name, method in METHODS.items()
        }
        self._retry = retry
        self._timeout = timeout
        self._call_metadata = (*metadata, *call_token)
        self._operations = Operations()
        self._closed = False

    def infer(
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
        """Runs a model.

        Args:
            model: Its name.
            inputs: An array for a model with one input, or arrays by input name; shapes as the model's metadata has
                them, with the batch dimension where it has one. An array of another dtype than the model's is
                converted where numpy calls that a cast of the same kind (float64 to float32, integers to floats).
            version: Empty is the newest that is ready.
            outputs: Names of those wanted; empty is all.
            timeout: Seconds; None is the client's.
            request_id: Comes back in the answer.
            parameters: Of the request, by name.

        Raises:
            InputError: No request can be made of the arguments.
            ResponseError: The answer contradicts the protocol.
        """
        steps = self._operations.infer(
            model, inputs, version=version, outputs=outputs, request_id=request_id, parameters=parameters
        )
        return self._run(steps, timeout)

    def classify(
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
        """Names what images show.

        Each image is resized to the model's height and width, bilinear and without regard to its proportions, and
        scaled to 0 to 1. More images than the model takes at once become several requests.

        Args:
            model: A model whose one input is an image, NHWC or NCHW.
            images: One or several: paths, encoded bytes, Pillow's images, arrays of uint8 (0 to 255) or floats (0 to
                1) with the shape rows x columns or rows x columns x channels; or an array of four dimensions.
            top_k: How many classes of each image.
            version: Empty is the newest that is ready.
            timeout: Seconds for all requests; None is the client's.
            request_id: Of every request.
            parameters: Of every request, by name.

        Returns:
            For each image its classes, the most probable first. Scores that are log-probabilities or logits are
            made probabilities; `quadriga_client.classification` says how they are told apart.

        Raises:
            ImageError: An image is missing, cannot be read or holds something else than pixels.
            InputError: The model does not take one image.
            MissingPackageError: An image has to be decoded or resized, and Pillow is not installed.
            ResponseError: The model's answer is no row of scores per image.
        """
        steps = self._operations.classify(
            model, images, top_k=top_k, version=version, request_id=request_id, parameters=parameters
        )
        return self._run(steps, timeout)

    @overload
    def metadata(self, *, timeout: float | None = None) -> ServerMetadata: ...
    @overload
    def metadata(self, model: str, version: str = "", *, timeout: float | None = None) -> ModelMetadata: ...
    def metadata(
        self, model: str = "", version: str = "", *, timeout: float | None = None
    ) -> ModelMetadata | ServerMetadata:
        """A model's inputs, outputs and properties; without a model, the server's name, version and extensions."""
        return self._run(self._operations.metadata(model, version), timeout)

    def ready(self, model: str = "", version: str = "", *, timeout: float | None = None) -> bool:
        """Whether a model can answer now, false for one that is not known; without a model, whether the server can."""
        return self._run(self._operations.ready(model, version), timeout)

    def live(self, *, timeout: float | None = None) -> bool:
        """Whether the server's process answers; `Unavailable` is raised where nobody does."""
        return self._run(self._operations.live(), timeout)

    def status(self, *, timeout: float | None = None) -> list[ModelStatus]:
        """Every version that the server knows, with its state, and its metadata where it is ready."""
        return self._run(self._operations.status(), timeout)

    def repository_index(self, *, timeout: float | None = None) -> list[ModelStatus]:
        """Every model in the server's repositories, loaded or not, without metadata: one call."""
        return self._run(self._operations.repository_index(), timeout)

    def load_model(
        self, model: str, *, config: Config | None = None, files: Files | None = None, timeout: float | None = None
    ) -> None:
        """Has the server load a model, or load it anew; returns when it serves.

        For servers under explicit model control. What served before goes on until then, and where the load fails.

        Args:
            model: Its name.
            config: In the place of the model's own configuration.
            files: By "<version>/<name>": the model is made of these alone, and needs `config` too.
            timeout: Seconds; None is the client's. The server goes on loading when they have passed.

        Raises:
            InputError: No request can be made of the arguments.
        """
        return self._run(self._operations.load_model(model, config, files), timeout)

    def unload_model(self, model: str, *, timeout: float | None = None) -> None:
        """Has the server unload a model; returns when no new request is taken. One that is not loaded is no error."""
        return self._run(self._operations.unload_model(model), timeout)

    def statistics(self, model: str = "", version: str = "", *, timeout: float | None = None) -> list[ModelStatistics]:
        """Counts and durations of a model's versions since they were loaded; without a model, of all."""
        return self._run(self._operations.statistics(model, version), timeout)

    def close(self) -> None:
        """Ends the connection; calls in other threads end with `Cancelled`. A second time does nothing."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Steps[Result], timeout: float | None) -> Result:
        deadline = Deadline(self._timeout if timeout is None else timeout)
        try:
            rpc = next(steps)
            while True:
                try:
                    response = self._call(rpc, deadline)
                except QuadrigaClientError as error:
                    rpc = steps.throw(error)
                else:
                    rpc = steps.send(response)
        except StopIteration as end:
            result: Result = end.value
            return result

    def _call(self, rpc: Rpc, deadline: Deadline) -> Message:
        return retries.call(lambda remaining: self._attempt(rpc, remaining), self._retry, deadline)

    def _attempt(self, rpc: Rpc, timeout: float | None) -> Message:
        if self._closed:
            raise ClientClosedError("the client is closed; make another one")
        try:
            response: Message = self._stubs[rpc.method](rpc.request, timeout=timeout, metadata=self._call_metadata)
        except grpc.RpcError as error:
            raise error_of(error) from error
        return response
