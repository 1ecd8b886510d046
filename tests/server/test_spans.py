"""Which calls are traced, and the spans that are made of those: their times, their attributes, and nobody's harm."""

import logging
import random
import subprocess
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from quadriga.counters import Phases
from quadriga.plans import Plan
from quadriga.requests import Course
from quadriga.service import InferCaller
from quadriga.spans import SpanTracing, TracedCall, make_caller, phases
from quadriga.transports import Call
from quadriga_proto.inference_pb2 import ModelInferRequest

METHOD = "s.S/M"
TRACE = "0af7651916cd43dd8448eb211c80319c"
COURSE = Course(100, 130, 8, Phases(assembly_ns=20, waiting_ns=5, infer_ns=40, output_ns=4))


class FakeCall:
    """Remembers how it ended."""

    expires_ns = 17
    cancelled = False

    def __init__(self, traceparent: str = "", request: bytes = b"") -> None:
        self.request = request
        self.ended = ""
        self._metadata = {"traceparent": traceparent} if traceparent else {}

    def metadata(self) -> Mapping[str, str]:
        return self._metadata

    def respond(self, response: bytes) -> None:
        self.ended = "OK"

    def fail(self, code: str, message: str, trailers: Mapping[str, str] | None = None) -> None:
        self.ended = code


class Traced:
    """Tracing into memory, in front of a handler that keeps its calls."""

    def __init__(self, sample: float) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.calls: list[Call] = []

        async def close(seconds: float) -> None:
            raise AssertionError("not asked for")

        tracing = SpanTracing(self._provider.get_tracer("test"), sample, close)
        self.infer = tracing.handler(METHOD, self.calls.append)

    def take(self, call: FakeCall) -> TracedCall | None:
        """What the handler is given for a call: itself, or a traced one."""
        self.infer(call)
        given = self.calls.pop()
        assert given is call or isinstance(given, TracedCall)
        return None if given is call else cast("TracedCall", given)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


def parent(flags: str) -> str:
    return f"00-{TRACE}-b7ad6b7169203331-{flags}"


@pytest.mark.parametrize(
    ("sample", "traceparent", "traced"),
    [
        (0.0, "", False),
        (1.0, "", True),
        (0.0, parent("01"), True),
        (1.0, parent("00"), False),
        (1.0, "nonsense", True),
        (0.0, "nonsense", False),
        (0.0, f"00-{'0' * 32}-b7ad6b7169203331-01", False),
    ],
)
def test_the_caller_decides_and_else_the_sample(sample: float, traceparent: str, traced: bool) -> None:
    assert (Traced(sample).take(FakeCall(traceparent)) is not None) is traced


def test_the_sample_is_a_part_of_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([0.0, 0.24, 0.25, 0.9])
    monkeypatch.setattr(random, "random", lambda: next(numbers))
    tracing = Traced(0.25)
    assert [tracing.take(FakeCall()) is not None for _ in range(4)] == [True, True, False, False]


def test_phases_follow_each_other_to_the_nanosecond() -> None:
    assert list(phases(COURSE, 250)) == [
        ("queue", 100, 130),
        ("batch", 130, 150),
        ("worker queue", 150, 155),
        ("compute", 155, 199),
        ("response", 199, 250),
    ]


def test_the_metrics_queue_is_both_waits() -> None:
    timings = COURSE.timings()
    assert (timings.queue_ns, timings.batch_ns, timings.compute_ns) == (35, 20, 44)


def test_an_answer_is_told_with_its_phases_under_the_callers_trace() -> None:
    tracing = Traced(0.0)
    call = FakeCall(parent("01"))
    traced = tracing.take(call)
    assert traced is not None
    traced.plan = plan(id="r1")
    traced.course = COURSE
    traced.respond(b"")
    assert call.ended == "OK"
    *below, own = tracing.spans
    assert [span.name for span in below] == ["queue", "batch", "worker queue", "compute", "response"]
    assert (own.name, own.kind.name, own.status.status_code.name) == (METHOD, "SERVER", "UNSET")
    assert own.parent is not None
    assert (f"{own.parent.trace_id:032x}", f"{own.parent.span_id:016x}") == (TRACE, "b7ad6b7169203331")
    assert all(span.parent == own.context for span in below)
    begins = [span.start_time - (below[0].start_time or 0) for span in below if span.start_time is not None]
    assert begins == [0, 30, 50, 55, 99]
    assert own.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "OK",
        "quadriga.model.name": "m",
        "quadriga.model.version": "3",
        "quadriga.model.backend": "onnx",
        "quadriga.model.device": "cuda:0",
        "quadriga.request.id": "r1",
        "quadriga.request.rows": 2,
        "quadriga.batch.rows": 8,
    }


@pytest.mark.parametrize(
    ("code", "status"),
    [("UNAVAILABLE", "ERROR"), ("INTERNAL", "ERROR"), ("NOT_FOUND", "UNSET"), ("CANCELLED", "UNSET")],
)
def test_what_is_the_servers_fault_is_an_error(code: str, status: str) -> None:
    tracing = Traced(1.0)
    call = FakeCall(request=ModelInferRequest(model_name="missing").SerializeToString())
    traced = tracing.take(call)
    assert traced is not None
    traced.fail(code, "why")
    assert call.ended == code
    (span,) = tracing.spans
    assert span.attributes is not None
    assert span.attributes["rpc.response.status_code"] == code
    assert span.attributes["quadriga.model.name"] == "missing"
    assert span.status.status_code.name == status
    assert (span.status.description, span.attributes.get("error.type")) == (
        ("why", code) if status == "ERROR" else (None, None)
    )


def test_a_request_that_cannot_be_read_has_no_model() -> None:
    tracing = Traced(1.0)
    traced = tracing.take(FakeCall(request=b"\xff"))
    assert traced is not None
    traced.fail("INVALID_ARGUMENT", "")
    assert "quadriga.model.name" not in (tracing.spans[0].attributes or {})


def test_a_call_has_its_answer_whatever_becomes_of_its_spans(caplog: pytest.LogCaptureFixture) -> None:
    tracing = Traced(1.0)
    call = FakeCall()
    traced = tracing.take(call)
    assert traced is not None
    traced.plan = cast("Plan", SimpleNamespace())
    with caplog.at_level(logging.ERROR):
        traced.respond(b"")
    assert call.ended == "OK"
    assert "the spans of a request cannot be made" in caplog.text


def test_a_call_that_is_not_traced_has_the_usual_caller() -> None:
    call = FakeCall(parent("00"))
    assert type(make_caller(call, plan())) is InferCaller


def test_a_traced_call_is_the_call_to_the_service() -> None:
    call = FakeCall(parent("01"), b"bytes")
    traced = Traced(0.0).take(call)
    assert traced is not None
    assert (traced.request, traced.expires_ns, traced.cancelled) == (b"bytes", 17, False)
    assert traced.metadata() == call.metadata()
    call.cancelled = True
    assert traced.cancelled


def test_without_tracing_opentelemetry_is_not_imported() -> None:
    code = (
        "import sys, quadriga.server, quadriga.commands.serve; from quadriga.tracing import Untraced;"
        "handler = object(); assert Untraced().handler('m', handler) is handler;"
        "assert Untraced().caller is quadriga.service.InferCaller;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def plan(id: str = "") -> Plan:
    model: Any = SimpleNamespace(name="m", version_text="3", backend="onnx", device="cuda:0")
    fields: dict[str, Any] = dict.fromkeys(Plan._fields)
    return Plan(**{**fields, "model": model, "id": id, "rows": 2})
