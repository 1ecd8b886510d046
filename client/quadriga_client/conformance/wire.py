"""Bare calls to the server under test: no retry, no conveniences, every status a value; runs in the kit's process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message

from quadriga_client.conformance.outcomes import Failed, ServerGone, Unsupported
from quadriga_client.rpcs import METHODS, channel_options
from quadriga_proto.conventions import MAX_MESSAGE_BYTES

OK: Final = "OK"
UNIMPLEMENTED: Final = "UNIMPLEMENTED"
SERVICE: Final = "inference.GRPCInferenceService"
#: Codes that say that the request is at fault, or what it asks for is not there: not the server's own failure.
CALLERS_FAULT: Final = frozenset(
    {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "ALREADY_EXISTS", "UNIMPLEMENTED"}
)
#: Codes of calls whose connection is lost, among other things.
_LOST: Final = frozenset({"UNAVAILABLE", "CANCELLED"})
#: Seconds to find out whether a server is there at all.
_PROBE_SECONDS: Final = 5.0

AnyMessage = TypeVar("AnyMessage", bound=Message)
Raw = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Reply:
    """How a unary call ended.

    Attributes:
        method: That was called.
        code: Name of the gRPC status code.
        details: The status message.
        data: The response's bytes; empty where the code is not OK.
    """

    method: str
    code: str
    details: str
    data: bytes

    def __str__(self) -> str:
        """The end in a few words, for messages of the kit."""
        return self.code if self.code == OK or not self.details else f"{self.code} ({self.details[:200]})"

    def read(self, kind: type[AnyMessage]) -> AnyMessage:
        """The response of a call that had to be answered.

        Raises:
            Unsupported: The server does not have the rpc.
            Failed: It ended otherwise, or the response is no such message.
        """
        if self.code == UNIMPLEMENTED:
            raise Unsupported(f"{self.method} answered {self}")
        if self.code != OK:
            raise Failed(f"{self.method} answered {self}; expected OK")
        return parse(kind, self.data, self.method)

    def refused(self, what: str) -> str:
        """The code of a call that had to be refused.

        Raises:
            Failed: It was answered with OK.
        """
        if self.code == OK:
            raise Failed(f"{self.method} answered OK to {what}; expected an error status")
        return self.code


class Wire:
    """One plaintext connection to a server.

    Attributes:
        timeout: Seconds per call.
    """

    def __init__(self, url: str, timeout: float) -> None:
        """Prepares a connection to `url`, HOST:PORT; `connect` opens it."""
        self.timeout = timeout
        self._channel = grpc.insecure_channel(url, channel_options(url, MAX_MESSAGE_BYTES, None))

    def connect(self) -> None:
        """Waits for a connection.

        Raises:
            ServerGone: None can be had.
        """
        try:
            grpc.channel_ready_future(self._channel).result(min(_PROBE_SECONDS, self.timeout))
        except grpc.FutureTimeoutError:
            raise ServerGone("no connection to the server can be had") from None

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def call(
        self,
        method: str,
        request: Message | bytes = b"",
        *,
        service: str = SERVICE,
        timeout: float | None = None,
    ) -> Reply:
        """Makes one unary call and waits for its end.

        Raises:
            ServerGone: The connection is lost and cannot be had again.
        """
        data = request if isinstance(request, bytes) else request.SerializeToString()
        call = self._channel.unary_unary(f"/{service}/{method}", _same, _same)
        try:
            return Reply(method, OK, "", call(data, timeout=timeout or self.timeout))
        except grpc.RpcError as error:
            return self._ended(method, error)

    def start(self, method: str, request: Message) -> "grpc.Future[bytes]":
        """Starts one unary call and returns it, to be waited for or cancelled."""
        call = self._channel.unary_unary(f"/{SERVICE}/{method}", _same, _same)
        future: grpc.Future[bytes] = call.future(request.SerializeToString(), timeout=self.timeout)
        return future

    def end_of(self, method: str, future: "grpc.Future[bytes]") -> Reply:
        """Waits for a started call's end.

        Raises:
            ServerGone: The connection is lost and cannot be had again.
        """
        try:
            return Reply(method, OK, "", future.result())
        except grpc.RpcError as error:
            return self._ended(method, error)

    def stream(self, method: str, requests: Iterable[Message], kind: type[AnyMessage]) -> "Stream[AnyMessage]":
        """Opens a stream in both directions; `requests` ending is the half-close."""
        return Stream(
            self, method, self._channel.stream_stream(f"/{SERVICE}/{method}", _serialized, _same), requests, kind
        )

    def watch(self, service: str, method: str, request: Message, kind: type[AnyMessage]) -> AnyMessage:
        """The first message of a stream from the server, which is cancelled then.

        Raises:
            Unsupported: The server does not have the rpc.
            Failed: It ended without a message.
            ServerGone: The connection is lost and cannot be had again.
        """
        call = self._channel.unary_stream(f"/{service}/{method}", _serialized, _same)(request, timeout=self.timeout)
        try:
            first = next(iter(call), None)
        except grpc.RpcError as error:
            return self._ended(method, error).read(kind)
        finally:
            call.cancel()
        if first is None:
            raise Failed(f"{method} ended with OK and without a message; expected one at once")
        return parse(kind, first, method)

    def ask(self, service: str, method: str, request: Message, kind: type[AnyMessage]) -> AnyMessage:
        """The answer to the only message of a stream in both directions.

        Raises:
            Unsupported: The server does not have the rpc.
            Failed: It ended without an answer.
            ServerGone: The connection is lost and cannot be had again.
        """
        opened = self._channel.stream_stream(f"/{service}/{method}", _serialized, _same)
        try:
            answers = list(opened(iter((request,)), timeout=self.timeout))
        except grpc.RpcError as error:
            return self._ended(method, error).read(kind)
        if len(answers) != 1:
            raise Failed(f"{method} answered {len(answers)} messages to one; expected one")
        return parse(kind, answers[0], method)

    def _ended(self, method: str, error: grpc.RpcError) -> Reply:
        """The status of a call that failed; finds out whether the server is still there."""
        call = cast("grpc.Call", error)
        reply = Reply(method, call.code().name, call.details() or "", b"")
        if reply.code in _LOST:
            self._probe()
        return reply

    def _probe(self) -> None:
        """Finds out whether the server is still there, by a call: a channel is told late of a connection's end.

        Raises:
            ServerGone: It is not.
        """
        self.connect()
        try:
            self._channel.unary_unary(f"/{SERVICE}/ServerLive", _same, _same)(b"", timeout=_PROBE_SECONDS)
        except grpc.RpcError as error:
            if cast("grpc.Call", error).code().name in _LOST:
                self.connect()


_Opener: TypeAlias = "grpc.StreamStreamMultiCallable[Message, bytes]"


class Stream(Iterator[AnyMessage]):
    """A stream in both directions; iterating gives the messages of the server until it ends with OK."""

    def __init__(
        self, wire: Wire, method: str, opened: _Opener, requests: Iterable[Message], kind: type[AnyMessage]
    ) -> None:
        self._wire = wire
        self._method = method
        self._kind = kind
        self._call = opened(iter(requests), timeout=wire.timeout)

    def __next__(self) -> AnyMessage:
        """The next message.

        Raises:
            StopIteration: The stream ended with OK.
            Unsupported: The server does not have the rpc.
            Failed: The stream ended with another status, or the message is not of the expected kind.
            ServerGone: The connection is lost and cannot be had again.
        """
        try:
            data: bytes = next(self._call)
        except grpc.RpcError as error:
            return self._wire._ended(self._method, error).read(self._kind)
        return parse(self._kind, data, self._method)

    def cancel(self) -> None:
        """Ends the stream from this side."""
        self._call.cancel()


def parse(kind: type[AnyMessage], data: bytes, method: str) -> AnyMessage:
    """A message.

    Raises:
        Failed: The bytes are none of that kind.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Failed(f"the response of {method} is no {kind.DESCRIPTOR.name}: {error}") from None


def methods() -> Sequence[str]:
    """The rpcs of the inference service by name."""
    return list(METHODS)


def _same(data: bytes) -> bytes:
    return data


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()
