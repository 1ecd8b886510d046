"""Every error that Quadriga raises on purpose, in the server process.

    QuadrigaError
    ├── ConfigError          startup, repository scan: the operator's mistake; one line on stderr, never a traceback
    └── RequestError         one call fails, the server goes on; `code` is the gRPC status, `reason` a metric label
        ├── InvalidInput       validation: what came and what was expected
        ├── ModelNotFound      lookup: no such model or version; NoVersionAvailable: none of them could be loaded
        ├── RegionNotFound     client shared memory: no region of that name is registered
        ├── RegionExists       client shared memory: the name is taken
        ├── RegionUnusable     client shared memory: it cannot be opened, or cannot hold an output
        ├── Unsupported        an rpc or a feature that is off or not served
        ├── Unauthenticated    access: no token, or not one of ours
        ├── AccessDenied       access: closed to everybody
        ├── ModelNotReady      lookup: known, but loading, failed or unloading
        ├── LoadFailed         load by request: the model cannot be loaded; ModelMissing: no repository has it
        ├── LoadingIsOff       load or unload by request, without explicit model control
        ├── Overloaded         admission: the model's queue is full
        ├── DeadlineExceeded   queue: nobody would see the answer any more
        ├── Cancelled          queue: the caller has gone
        ├── ShuttingDown       admission: the server drains
        ├── WorkerLost         worker: it was lost with this request, and so was the second one, which ran nothing else
        └── InferenceFailed    worker: the backend raised

Codes are names, not `grpc.StatusCode`, so that this file needs no grpc.
"""

import re
from reprlib import Repr
from typing import ClassVar, Final

# What a client sent is shown in part: a gRPC status message has to fit into a few kilobytes of trailing metadata.
_REPR: Final = Repr()
_REPR.maxstring = 100
_REPR.maxlist = 16
#: `repr`, of a bounded length.
shown: Final = _REPR.repr
#: Of a text that files or frameworks made, in characters; its middle is left out.
LONGEST_LINE: Final = 1_000
_BREAKS: Final = re.compile(r"[^\S ]+")


def one_line(text: str) -> str:
    """A text that files or frameworks made, as an operator can read it: one line of bounded length, printable alone."""
    if len(text) > LONGEST_LINE:
        text = f"{text[: LONGEST_LINE * 2 // 3]} ... {text[-LONGEST_LINE // 4 :]}"
    text = _BREAKS.sub(" ", text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class QuadrigaError(Exception):
    """Base of all errors below."""


class ConfigError(QuadrigaError):
    """A setting, file or repository that cannot be used; names it, what came and what was expected."""


class RequestError(QuadrigaError):
    """One request fails.

    Attributes:
        code: Name of the gRPC status that the caller receives.
        reason: Label of the refusal in metrics.
    """

    code: ClassVar[str] = "INTERNAL"
    reason: ClassVar[str] = "internal"


class InvalidInput(RequestError):
    """The request contradicts the protocol or the model's contract."""

    code, reason = "INVALID_ARGUMENT", "invalid_input"


class ModelNotFound(RequestError):
    """No model, or no version, of that name is known."""

    code, reason = "NOT_FOUND", "not_found"


class NoVersionAvailable(ModelNotFound):
    """The model is known, the request leaves the version to the server, and none of them could be loaded."""

    reason = "not_ready"


class RegionNotFound(RequestError):
    """No region of client shared memory is registered under that name."""

    code, reason = "NOT_FOUND", "region_not_found"


class RegionExists(RequestError):
    """A region of client shared memory is registered under that name already."""

    code, reason = "ALREADY_EXISTS", "region_exists"


class RegionUnusable(RequestError):
    """A region of client shared memory that cannot be opened, or cannot take what is to be written to it."""

    code, reason = "INTERNAL", "region_unusable"


class Unsupported(RequestError):
    """The protocol has it; this server does not, or it is switched off."""

    code, reason = "UNIMPLEMENTED", "unsupported"


class Unauthenticated(RequestError):
    """The rpc needs a token; none came, or one that is not known."""

    code, reason = "UNAUTHENTICATED", "unauthenticated"


class AccessDenied(RequestError):
    """The rpc is closed, and no token opens it."""

    code, reason = "PERMISSION_DENIED", "closed"


class ModelNotReady(RequestError):
    """The model is known and cannot answer now."""

    code, reason = "UNAVAILABLE", "not_ready"


class LoadFailed(RequestError):
    """The model that was to be loaded cannot be; what served before goes on."""

    code, reason = "INVALID_ARGUMENT", "load_failed"


class ModelMissing(RequestError):
    """The model that was to be loaded is in no repository."""

    code, reason = "INTERNAL", "model_missing"


class LoadingIsOff(RequestError):
    """Models are loaded and unloaded by request under explicit model control alone."""

    code, reason = "UNAVAILABLE", "loading_is_off"


class Overloaded(RequestError):
    """A queue is full; the same request may succeed later."""

    code, reason = "UNAVAILABLE", "overloaded"


class DeadlineExceeded(RequestError):
    """The deadline or the request's `timeout` passed before the request ran."""

    code, reason = "DEADLINE_EXCEEDED", "deadline"


class Cancelled(RequestError):
    """The caller cancelled before the request ran."""

    code, reason = "CANCELLED", "cancelled"


class ShuttingDown(RequestError):
    """The server has stopped taking new requests."""

    code, reason = "UNAVAILABLE", "shutting_down"

    def __init__(self, message: str = "the server is shutting down and takes no new requests") -> None:
        super().__init__(message)


class WorkerLost(RequestError):
    """Workers are lost while they run this request. A client that tried it again would cost more of them."""

    code, reason = "INTERNAL", "worker_lost"


class InferenceFailed(RequestError):
    """The backend raised while it ran the batch."""

    code, reason = "INTERNAL", "inference_failed"
