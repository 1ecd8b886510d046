"""Real receivers of OTLP on the loopback, over gRPC and HTTP, that keep the spans they are sent."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


class Received(NamedTuple):
    """One span.

    Attributes:
        trace: The id of its trace, in hexadecimal.
        id: Its own.
        parent: Its parent's; empty: none.
        name: Its name.
        kind: As in the proto; 2 is a server's.
        state: W3C's tracestate.
        begin: Nanoseconds since the epoch.
        end: Likewise.
        attributes: Its own.
        error: The message of its status where that is an error; None where it is not.
        resource: What it says of its service.
    """

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    state: str
    begin: int
    end: int
    attributes: dict[str, Any]
    error: str | None
    resource: dict[str, Any]


class Receiver:
    """What was sent.

    Attributes:
        endpoint: URL.
        headers: Of the last message: HTTP's, or gRPC's metadata.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.headers: dict[str, str] = {}
        self._spans: list[Received] = []
        self._lock = threading.Lock()

    @property
    def spans(self) -> list[Received]:
        """All spans so far."""
        with self._lock:
            return list(self._spans)

    def trace(self, id: str) -> dict[str, Received]:
        """The spans of one trace by name, none of which may be there twice."""
        found = [span for span in self.spans if span.trace == id]
        by_name = {span.name: span for span in found}
        assert len(by_name) == len(found), found
        return by_name

    def take(self, request: Any) -> None:
        """Keeps the spans of an ExportTraceServiceRequest."""
        with self._lock:
            for group in request.resource_spans:
                resource = _attributes(group.resource.attributes)
                for scope in group.scope_spans:
                    self._spans += [_received(span, resource) for span in scope.spans]


def _received(span: Any, resource: dict[str, Any]) -> Received:
    return Received(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        kind=span.kind,
        state=span.trace_state,
        begin=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        error=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
        resource=resource,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def grpc_receiver() -> Iterator[Receiver]:
    """Serves the collector's TraceService."""
    receiver = Receiver()

    class Service(TraceServiceServicer):  # type: ignore[misc]  # generated, without types
        def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
            receiver.headers = {key: str(value) for key, value in context.invocation_metadata()}
            receiver.take(request)
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    add_TraceServiceServicer_to_server(Service(), server)
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait()


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    """Takes POST /v1/traces in protobuf, and nothing else."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known = (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
            if known:
                receiver.headers = {key.lower(): value for key, value in self.headers.items()}
                receiver.take(ExportTraceServiceRequest.FromString(body))
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
