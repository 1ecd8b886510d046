"""From a function of messages to the handler of an rpc that is answered at once. Server process."""

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from quadriga.errors import InvalidInput, RequestError
from quadriga.service import fail
from quadriga.transports import Call, Handler

Request = TypeVar("Request", bound=Message)


def unary(request_class: type[Request], answer: Callable[[Request], Message]) -> Handler:
    """A handler that parses the request, and turns what `answer` returns or raises into the call's end."""

    def handle(call: Call) -> None:
        try:
            try:
                request = request_class.FromString(call.request)
            except DecodeError as error:
                raise InvalidInput(f"the bytes received are not a {request_class.__name__}: {error}") from None
            call.respond(answer(request).SerializeToString())
        except RequestError as error:
            fail(call, error)

    return handle
