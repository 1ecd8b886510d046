"""Every error that the client raises on purpose; runs in the user's process.

QuadrigaClientError
├── InputError                 arguments that no request can be made of; also a ValueError; nothing was sent
│   └── ImageError               an image that is missing, cannot be read or does not suit the model
├── MissingPackageError        an optional package is needed and not installed; also an ImportError
├── ClientClosedError          the client was closed before the call
├── ResponseError              the server answered OK with something that contradicts the protocol or the need
└── RpcFailed                  the call ended with a status; `code`, `message` and `trailing_metadata` are gRPC's
    ├── Cancelled                CANCELLED
    ├── InvalidArgument          INVALID_ARGUMENT     wrong input name, datatype, shape, byte count, batch size
    ├── DeadlineExceeded         DEADLINE_EXCEEDED    no answer within the timeout
    ├── NotFound                 NOT_FOUND            no such model or version
    ├── AlreadyExists            ALREADY_EXISTS
    ├── PermissionDenied         PERMISSION_DENIED
    ├── ResourceExhausted        RESOURCE_EXHAUSTED   a message above a size limit
    ├── FailedPrecondition       FAILED_PRECONDITION
    ├── Aborted                  ABORTED
    ├── OutOfRange               OUT_OF_RANGE
    ├── Unimplemented            UNIMPLEMENTED        the server does not serve this rpc
    ├── Internal                 INTERNAL             the model failed on this request
    ├── Unavailable              UNAVAILABLE          nobody answers; or not ready, overloaded, draining
    ├── DataLoss                 DATA_LOSS
    ├── Unauthenticated          UNAUTHENTICATED
    └── Unknown                  UNKNOWN, and codes that are not of gRPC

Failures of grpc and grpc.aio become errors of this tree at one place, `error_of`.
"""

from typing import ClassVar, Final, cast

import grpc

Metadata = tuple[tuple[str, str | bytes], ...]


class QuadrigaClientError(Exception):
    """Base of all errors below."""


class InputError(QuadrigaClientError, ValueError):
    """Arguments that no request can be made of; the message says what came and what was expected."""


class ImageError(InputError):
    """An image that is missing, cannot be read or does not suit the model."""


class MissingPackageError(QuadrigaClientError, ImportError):
    """An optional package is needed; the message has the command that installs it."""


class ClientClosedError(QuadrigaClientError):
    """The client was closed before the call."""


class ResponseError(QuadrigaClientError):
    """The server answered OK, and the answer contradicts the protocol or cannot serve the call's purpose."""


class RpcFailed(QuadrigaClientError):
    """A call ended with a status that is not OK.

    Attributes:
        code: gRPC's status.
        message: The server's sentence, or gRPC's own where no server was reached.
        trailing_metadata: Key and value pairs that came with the status; empty where none did.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(self, message: str, trailing_metadata: Metadata = ()) -> None:
        super().__init__(message)
        self.message = message
        self.trailing_metadata = trailing_metadata

    def trailer(self, key: str) -> str | None:
        """The first trailing value under a key, as text; None when there is none."""
        for name, value in self.trailing_metadata:
            if name == key:
                return value.decode(errors="replace") if isinstance(value, bytes) else value
        return None


class Cancelled(RpcFailed):
    """The call was cancelled, here or by the server."""

    code = grpc.StatusCode.CANCELLED


class InvalidArgument(RpcFailed):
    """The request contradicts the protocol or the model's contract."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceeded(RpcFailed):
    """No answer came within the timeout."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFound(RpcFailed):
    """No model, or no version of it, is known under that name."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(RpcFailed):
    """What was to be made is there."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(RpcFailed):
    """The caller may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhausted(RpcFailed):
    """A limit was reached; from gRPC itself, mostly the size of a message."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FailedPrecondition(RpcFailed):
    """The server is not in a state that allows the call."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(RpcFailed):
    """The call was given up because of another one."""

    code = grpc.StatusCode.ABORTED


class OutOfRange(RpcFailed):
    """Past the valid range."""

    code = grpc.StatusCode.OUT_OF_RANGE


class Unimplemented(RpcFailed):
    """The server does not serve this rpc or feature."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(RpcFailed):
    """The server or the model failed on this request."""

    code = grpc.StatusCode.INTERNAL


class Unavailable(RpcFailed):
    """Nobody answers at the address; or the model is not ready, overloaded, or the server drains. May work later."""

    code = grpc.StatusCode.UNAVAILABLE


class DataLoss(RpcFailed):
    """Data was lost or damaged."""

    code = grpc.StatusCode.DATA_LOSS


class Unauthenticated(RpcFailed):
    """The call carries no valid credentials."""

    code = grpc.StatusCode.UNAUTHENTICATED


class Unknown(RpcFailed):
    """The status says no more, or is not one of gRPC's."""

    code = grpc.StatusCode.UNKNOWN


_CLASSES: Final[dict[grpc.StatusCode, type[RpcFailed]]] = {cls.code: cls for cls in RpcFailed.__subclasses__()}


def error_of(failure: grpc.RpcError) -> RpcFailed:
    """What a failed call of grpc or grpc.aio raised, as one of the classes above."""
    # Both kinds of failure carry the call's end; grpc's stubs give their common base no methods.
    call = cast("grpc.Call", failure)
    pairs = tuple((str(key), value) for key, value in call.trailing_metadata() or ())
    code = call.code()
    message = call.details() or f"the call ended with {code.name if code else 'no status'} and no message"
    return _CLASSES.get(code, Unknown)(message, pairs)
