"""ModelStreamInfer: a stream as a row of ModelInfer calls, answered in the order of their requests. Server process.

Each message becomes a `Call` of its own, so that the service knows nothing of streams. What an answer needs to travel
on a stream is put around the encoded response, whose fields protobuf lets stand in any order. Field numbers are from
`inference.proto`. A transport reads messages while the stream is not `full`, and sends what `next_response` gives.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from google.protobuf.message import DecodeError

from quadriga.responses import varint
from quadriga.transports import Handler, Status, handle
from quadriga.transports.pending_bytes import PendingBytes
from quadriga.unary import fail
from quadriga_proto.inference_pb2 import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse

#: What one stream may have in hand, requests that wait and answers that are not sent yet: as many as fill a large
#: model's queue, or few large ones. Beyond, messages stay in the connection, whose flow control holds the client back.
MOST_CALLS: Final = 256
MOST_BYTES: Final = 64 * 1024 * 1024
#: Metadata of the stream, "true": the first error ends it, with the error's own status.
STATUS_KEY: Final = "triton_grpc_error"
#: Parameter of each answer: none follows for the same request.
FINAL_PARAMETER: Final = "triton_final_response"
_INFER_RESPONSE: Final = b"\x12"  # field 2, length-delimited


def _final_flag() -> bytes:
    response = ModelInferResponse()
    response.parameters[FINAL_PARAMETER].bool_param = True
    return response.SerializeToString()


_FINAL: Final = _final_flag()


class StreamCall:
    """One request of a stream; see `Call`."""

    __slots__ = ("_stream", "answer", "failure", "request")

    def __init__(self, stream: "InferStream", request: bytes) -> None:
        self.request = request
        self.answer: bytes | None = None
        self.failure: Status | None = None
        self._stream = stream

    @property
    def expires_ns(self) -> int:
        """See `Call`: the stream's deadline is that of its requests."""
        return self._stream.expires_ns

    @property
    def cancelled(self) -> bool:
        """See `Call`."""
        return self._stream.cancelled

    @property
    def size(self) -> int:
        """The bytes that it holds: its request's, then its answer's."""
        return len(self.request) if self.answer is None else len(self.answer)

    def metadata(self) -> Mapping[str, str]:
        """See `Call.metadata`."""
        return self._stream.metadata

    def respond(self, response: bytes) -> None:
        """See `Call.respond`: takes its place among the stream's answers."""
        length = varint(len(response) + len(_FINAL))
        self._stream.answered(self, b"".join((_INFER_RESPONSE, length, response, _FINAL)))

    def fail(self, code: str, message: str, trailers: Mapping[str, str] | None = None) -> None:
        """See `Call.fail`: an answer like others, which says which request it is about."""
        self.failure = Status(code, message, trailers or {})
        response = ModelStreamInferResponse(error_message=message)
        try:
            request = ModelInferRequest.FromString(self.request)
            response.infer_response.id = request.id
            response.infer_response.model_name = request.model_name
            response.infer_response.model_version = request.model_version
        except DecodeError:
            pass  # the message says so itself, and there is nothing to tell of the request
        self._stream.answered(self, response.SerializeToString())


class InferStream:
    """The requests of one stream that are in hand, in order; see `transports.Stream`.

    Attributes:
        metadata: The stream's.
        expires_ns: Its deadline on the monotonic clock; 0: none.
        cancelled: Whether its caller has gone.
        status: With which it has to end, once an error has come to its turn; None: it goes on.
    """

    def __init__(
        self,
        infer: Handler,
        pending: PendingBytes,
        metadata: Mapping[str, str],
        expires_ns: int,
        wake: Callable[[], None],
    ) -> None:
        """Opens a stream whose requests `infer` answers; `wake` is told when the next response is there."""
        self.metadata = metadata
        self.expires_ns = expires_ns
        self.cancelled = False
        self.status: Status | None = None
        self._infer = infer
        self._pending = pending
        self._wake = wake
        self._errors_end_it = metadata.get(STATUS_KEY) == "true"
        self._calls: deque[StreamCall] = deque()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """See `transports.Stream`."""
        return len(self._calls) >= MOST_CALLS or self._bytes >= MOST_BYTES

    @property
    def empty(self) -> bool:
        """See `transports.Stream`."""
        return not self._calls

    def take(self, message: bytes) -> None:
        """See `transports.Stream`."""
        call = StreamCall(self, message)
        self._calls.append(call)
        refusal = self._pending.refusal(call.size)
        self._count(call.size)
        if refusal is None:
            handle(self._infer, call)
        else:
            fail(call, refusal)

    def next_response(self) -> bytes | None:
        """See `transports.Stream`."""
        if self.status is not None or not self._calls or self._calls[0].answer is None:
            return None
        call = self._calls.popleft()
        self._count(-call.size)
        if self._errors_end_it and call.failure is not None:
            self.status = call.failure
            return None
        return call.answer

    def cancel(self) -> None:
        """See `transports.Stream`."""
        self.cancelled = True
        self._pending.abandon(self._bytes)
        for call in self._calls:
            if call.answer is not None:
                self._pending.drop(call.size)
        self._calls.clear()
        self._bytes = 0

    def answered(self, call: StreamCall, answer: bytes) -> None:
        """Takes a call's answer, which is sent when all before it are."""
        if call.answer is not None:
            return
        received = call.size
        call.answer = b"" if self.cancelled else answer
        call.request = b""  # it may be large, and the answers before it may take long
        if self.cancelled:
            self._pending.drop(received)
            return
        self._count(call.size - received)
        if self._calls[0] is call:
            self._wake()

    def _count(self, more: int) -> None:
        self._bytes += more
        self._pending.now += more
