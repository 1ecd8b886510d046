"""Requests as OpenTelemetry's spans, made after the fact from the times that are measured anyway. Server process.

    inference.GRPCInferenceService/ModelInfer   from the call's arrival to its response
      queue          until its batch is formed
      batch          its batch's rows are copied into shared memory and sent off
      worker queue   its batch waits for the worker to end the one before
      compute        its batch in the worker: the backend, and the copy of its outputs
      response       its rows are taken out, encoded and handed over

`TracedCall` stands between the service and a call that is traced, `TracedCaller` remembers what the service and the
scheduler know of it. Calls that are not traced pass by both. Names of attributes are those of OpenTelemetry's
semantic conventions for gRPC, release candidate of 2026; those beginning with "quadriga." are our own.
"""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from quadriga.errors import RequestError
from quadriga.plans import Plan
from quadriga.requests import Caller, Course, Output
from quadriga.service import InferCaller, MakeCaller
from quadriga.transports import Call, Handler
from quadriga.unary import parse
from quadriga_proto.inference_pb2 import ModelInferRequest

log = logging.getLogger("quadriga.spans")

#: Of the conventions: the codes that are a server's fault; a span that ends with another is no error.
FAULTS: Final = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_TRACEPARENT: Final = "traceparent"
_CONTEXTS: Final = TraceContextTextMapPropagator()


class TracedCall:
    """A call whose end makes its spans; see `Call`.

    Attributes:
        request: See `Call`; a stream forgets it with the answer.
        method: "SERVICE/METHOD".
        parent: What its spans belong under.
        arrived_ns: Monotonic clock.
        plan: What it asks for, once that is known.
        course: How it came to its outputs, once there are any.
    """

    __slots__ = ("_call", "_end", "arrived_ns", "course", "method", "parent", "plan", "request")

    def __init__(self, call: Call, method: str, parent: Context, end: "Callable[[TracedCall, str, str], None]") -> None:
        """Wraps a call; `end` is told how it ended, by the name of its gRPC code and a message."""
        self.request = call.request
        self.method = method
        self.parent = parent
        self.arrived_ns = time.monotonic_ns()
        self.plan: Plan | None = None
        self.course: Course | None = None
        self._call = call
        self._end = end

    @property
    def expires_ns(self) -> int:
        """See `Call`."""
        return self._call.expires_ns

    @property
    def cancelled(self) -> bool:
        """See `Call`."""
        return self._call.cancelled

    def metadata(self) -> Mapping[str, str]:
        """See `Call.metadata`."""
        return self._call.metadata()

    def respond(self, response: bytes) -> None:
        """See `Call.respond`."""
        self._call.respond(response)
        self._end(self, "OK", "")

    def fail(self, code: str, message: str, trailers: Mapping[str, str] | None = None) -> None:
        """See `Call.fail`."""
        self._call.fail(code, message, trailers)
        self._end(self, code, message)


class TracedCaller(InferCaller):
    """The caller of a traced request: leaves with its call what the spans tell."""

    __slots__ = ("_traced",)

    def __init__(self, call: TracedCall, plan: Plan) -> None:
        super().__init__(call, plan)
        self._traced = call
        call.plan = plan

    def answer(self, outputs: Sequence[Output], course: Course) -> None:
        """See `InferCaller.answer`."""
        self._traced.course = course
        super().answer(outputs, course)


class SpanTracing:
    """Makes the spans of requests; a `Tracing`."""

    def __init__(self, tracer: Tracer, sample: float, close: Callable[[float], Awaitable[None]]) -> None:
        """Traces for good or not at all: where a caller says whether it traces, that decides.

        Args:
            tracer: Takes the spans, and samples none out.
            sample: The part of the other requests that is traced, 0 to 1.
            close: See `Tracing.close`.
        """
        self._tracer = tracer
        self._sample = sample
        self._close = close

    @property
    def caller(self) -> MakeCaller:
        """See `Tracing.caller`."""
        return make_caller

    def handler(self, method: str, handler: Handler) -> Handler:
        """See `Tracing.handler`."""

        def infer(call: Call) -> None:
            parent = self._parent(call.metadata())
            handler(call if parent is None else TracedCall(call, method, parent, self._record))

        return infer

    async def close(self, seconds: float) -> None:
        """See `Tracing.close`."""
        await self._close(seconds)

    def _parent(self, metadata: Mapping[str, str]) -> Context | None:
        """What a call's spans belong under, possibly nothing; None: it is not traced."""
        if _TRACEPARENT in metadata:
            context = _CONTEXTS.extract(metadata)
            parent = trace.get_current_span(context).get_span_context()
            if parent.is_valid:  # else it is as if there were none
                return context if parent.trace_flags.sampled else None
        return Context() if random.random() < self._sample else None

    def _record(self, call: TracedCall, code: str, message: str) -> None:
        """Makes the spans of a call that has ended; whatever goes wrong, the call has its answer."""
        try:
            self._make_spans(call, code, message, time.monotonic_ns())
        except Exception:
            log.exception("the spans of a request cannot be made; this is a bug")

    def _make_spans(self, call: TracedCall, code: str, message: str, ended_ns: int) -> None:
        epoch_ns = time.time_ns() - time.monotonic_ns()
        span = self._tracer.start_span(
            call.method, call.parent, SpanKind.SERVER, _attributes(call, code), start_time=call.arrived_ns + epoch_ns
        )
        if call.course is not None:
            below = trace.set_span_in_context(span, call.parent)
            for name, begin_ns, end_ns in phases(call.course, ended_ns):
                phase = self._tracer.start_span(name, below, start_time=begin_ns + epoch_ns)
                phase.end(end_ns + epoch_ns)
        if code in FAULTS:
            span.set_status(Status(StatusCode.ERROR, message))
        span.end(ended_ns + epoch_ns)


def make_caller(call: Call, plan: Plan) -> Caller:
    """Who waits for an admitted request, traced or not."""
    return TracedCaller(call, plan) if isinstance(call, TracedCall) else InferCaller(call, plan)


def phases(course: Course, ended_ns: int) -> Iterator[tuple[str, int, int]]:
    """The phases of an answered request, one after the other: name, begin and end on the monotonic clock."""
    begin_ns = course.arrived_ns
    sent_ns = course.popped_ns + course.phases.assembly_ns
    started_ns = sent_ns + course.phases.waiting_ns
    for name, end_ns in (
        ("queue", course.popped_ns),
        ("batch", sent_ns),
        ("worker queue", started_ns),
        ("compute", started_ns + course.phases.compute_ns),
        ("response", ended_ns),
    ):
        yield name, begin_ns, end_ns
        begin_ns = end_ns


def _attributes(call: TracedCall, code: str) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "rpc.system.name": "grpc",
        "rpc.method": call.method,
        "rpc.response.status_code": code,
    }
    if code in FAULTS:
        attributes["error.type"] = code
    if (plan := call.plan) is not None:
        model = plan.model
        attributes |= {
            "quadriga.model.name": model.name,
            "quadriga.model.version": model.version_text,
            "quadriga.model.backend": model.backend,
            "quadriga.model.device": model.device,
            "quadriga.request.rows": plan.rows,
        }
        if plan.id:
            attributes["quadriga.request.id"] = plan.id
    elif name := _asked_for(call.request):
        attributes["quadriga.model.name"] = name
    if call.course is not None:
        attributes["quadriga.batch.rows"] = call.course.batch_rows
    return attributes


def _asked_for(encoded: bytes) -> str:
    """The model that a request names which was refused before that was of use; empty where it cannot be read."""
    try:
        return str(parse(encoded, ModelInferRequest).model_name)
    except RequestError:
        return ""
