"""Between calls and messages: reading requests, failing calls, and rpcs that are answered at once. Server process."""

from collections.abc import Callable
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from quadriga.errors import InvalidInput, Overloaded, RequestError
from quadriga.transports import Call, Handler
from quadriga_proto.conventions import PUSHBACK_TRAILER

#: Of a status message, in bytes; the rest is cut off.
LONGEST_MESSAGE: Final = 2_000
_OVERLOAD_PUSHBACK: Final = {PUSHBACK_TRAILER: "50"}
RequestMessage = TypeVar("RequestMessage", bound=Message)


def unary(request_class: type[RequestMessage], answer: Callable[[RequestMessage], Message]) -> Handler:
    """A handler that parses the request, and turns what `answer` returns or raises into the call's end."""

    def handle(call: Call) -> None:
        try:
            call.respond(answer(parse(call.request, request_class)).SerializeToString())
        except RequestError as error:
            fail(call, error)

    return handle


def parse(data: bytes, request_class: type[RequestMessage]) -> RequestMessage:
    """The request message.

    Raises:
        InvalidInput: The bytes are no such message.
    """
    try:
        return request_class.FromString(data)
    except DecodeError as error:
        raise InvalidInput(f"the {len(data)} bytes received are not a {request_class.__name__}: {error}") from None


def fail(call: Call, error: RequestError) -> None:
    """Ends a call with an error's status."""
    trailers = _OVERLOAD_PUSHBACK if isinstance(error, Overloaded) else None
    # Clients refuse trailing metadata of more than 8 to 16 KiB, and gRPC writes three bytes for each one beyond ASCII.
    message = str(error).encode(errors="replace")
    if len(message) > LONGEST_MESSAGE:
        message = message[:LONGEST_MESSAGE] + b" ... (cut off)"
    call.fail(error.code, message.decode(errors="ignore"), trailers)
