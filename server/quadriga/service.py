"""Inference: from a call's bytes to an admitted request, and from outputs to the call's response. Server process.

This is the hot path's outer ring. It translates; validation, scheduling and computing are others'.
"""

import logging
import time
from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from quadriga.counters import ModelCounters
from quadriga.errors import InvalidInput, Overloaded, RequestError, Unsupported
from quadriga.model_version import ModelVersion
from quadriga.registry import ModelRegistry
from quadriga.requests import Output, Request, Timings
from quadriga.transports import Call
from quadriga_proto.inference_pb2 import ModelInferRequest, ModelInferResponse

log = logging.getLogger("quadriga.service")

#: Request parameter (bool): put the server's own timings into the response's parameters.
TIMINGS_PARAMETER: Final = "quadriga_timings"
#: Trailing metadata, in milliseconds, that gRPC's retry policy understands: when to try again after a full queue.
PUSHBACK_TRAILER: Final = "grpc-retry-pushback-ms"
_OVERLOAD_PUSHBACK: Final = {PUSHBACK_TRAILER: "50"}
_MICROSECOND_NS: Final = 1_000


class InferenceService:
    """ModelInfer.

    Attributes:
        refused: Requests that named no model that is served, by gRPC code and reason; others count at their model.
    """

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models
        self.refused = ModelCounters().refused

    def infer(self, call: Call) -> None:
        """Admits one ModelInfer call, or fails it."""
        arrived_ns = time.monotonic_ns()
        refused = self.refused
        try:
            request = parse(call.request)
            model = self._models.ready(request.model_name, request.model_version)
            refused = model.counters.refused
            self._submit(call, request, model, arrived_ns)
        except RequestError as error:
            refused[error.code, error.reason] += 1
            fail(call, error)

    def _submit(self, call: Call, request: ModelInferRequest, model: ModelVersion, arrived_ns: int) -> None:
        inputs = model.validator.inputs(request)
        wanted = model.validator.outputs(request)
        expires_ns, with_timings = call.expires_ns, False
        if request.parameters:
            expires_ns, with_timings = read_parameters(request, arrived_ns, expires_ns)
        expires_ns = earliest(expires_ns, model.default_expiry_ns(arrived_ns))
        caller = InferCaller(call, model, request.id, wanted, with_timings)
        model.scheduler.submit(Request(caller, inputs.data, inputs.shapes, inputs.rows, arrived_ns, expires_ns))


class InferCaller:
    """The caller of one admitted request: encodes its response."""

    __slots__ = ("_call", "_id", "_model", "_timings", "_wanted")

    def __init__(self, call: Call, model: ModelVersion, id: str, wanted: Sequence[int], timings: bool) -> None:
        self._call = call
        self._model = model
        self._id = id
        self._wanted = wanted
        self._timings = timings

    @property
    def cancelled(self) -> bool:
        """Whether the caller has gone."""
        return self._call.cancelled

    def answer(self, outputs: Sequence[Output], timings: Timings) -> None:
        """Responds with the outputs that were asked for."""
        response = ModelInferResponse(model_name=self._model.name, model_version=self._model.version_text, id=self._id)
        for index in self._wanted:
            spec, output = self._model.spec.outputs[index], outputs[index]
            response.outputs.add(name=spec.name, datatype=spec.datatype, shape=output.shape)
            response.raw_output_contents.append(output.raw.tobytes())
        if self._timings:
            for phase, nanoseconds in timings._asdict().items():
                response.parameters[f"quadriga_{phase}"].int64_param = nanoseconds
        self._call.respond(response.SerializeToString())

    def fail(self, error: RequestError) -> None:
        """Ends the call with the error's status."""
        fail(self._call, error)


def parse(data: bytes) -> ModelInferRequest:
    """The request message.

    Raises:
        InvalidInput: The bytes are no such message.
    """
    try:
        return ModelInferRequest.FromString(data)
    except DecodeError as error:
        raise InvalidInput(f"the {len(data)} bytes received are not a ModelInferRequest: {error}") from None


def fail(call: Call, error: RequestError) -> None:
    """Ends a call with an error's status."""
    trailers = _OVERLOAD_PUSHBACK if isinstance(error, Overloaded) else None
    call.fail(error.code, str(error), trailers)


def earliest(first_ns: int, second_ns: int) -> int:
    """The earlier of two instants, of which 0 means never."""
    if first_ns and second_ns:
        return min(first_ns, second_ns)
    return first_ns or second_ns


def read_parameters(request: ModelInferRequest, now_ns: int, expires_ns: int) -> tuple[int, bool]:
    """The request's own parameters: when it expires, and whether timings are wanted.

    Unknown keys are left alone, as the protocol has it: another server's clients send their own.

    Raises:
        InvalidInput: A reserved key, or a value of the wrong type.
        Unsupported: A feature that is not served.
    """
    with_timings = False
    for key, parameter in request.parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if key == "timeout":
            if kind != "int64_param" or parameter.int64_param < 0:
                raise InvalidInput(f"parameter 'timeout' is microseconds as a non-negative int64_param, got {kind}")
            if parameter.int64_param:
                expires_ns = earliest(expires_ns, now_ns + parameter.int64_param * _MICROSECOND_NS)
        elif key == TIMINGS_PARAMETER:
            if kind != "bool_param":
                raise InvalidInput(f"parameter {TIMINGS_PARAMETER!r} is a bool_param, got {kind}")
            with_timings = parameter.bool_param
        elif key.startswith("sequence_"):
            raise Unsupported(f"parameter {key!r}: stateful sequences are not served")
        elif key.startswith("triton_"):
            raise InvalidInput(f"parameter {key!r}: keys that start with 'triton_' are reserved")
    return expires_ns, with_timings
