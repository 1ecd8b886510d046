"""Where spans go: to an OTLP receiver, in batches, by threads of OpenTelemetry's own. Server process.

OpenTelemetry's own variables hold (`OTEL_EXPORTER_OTLP_*`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
`OTEL_BSP_*`); what the server's configuration says comes first. A receiver that cannot be reached is told of in one
line; spans are dropped until it answers, and requests never wait for it.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Tracer

from quadriga import __version__
from quadriga.config import TraceProtocol
from quadriga.errors import ConfigError

log = logging.getLogger("quadriga.otlp")

#: In which the end of the server sends what is left, if the drain took all of its own time.
LEAST_FLUSH_SECONDS: Final = 1.0
_PROTOCOLS: Final[dict[str, Literal["grpc", "http"]]] = {"grpc": "grpc", "http/protobuf": "http"}
_PROTOCOL_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP_PATH: Final = "/v1/traces"


class Pipeline:
    """From ended spans to the receiver.

    Attributes:
        tracer: Takes spans.
    """

    def __init__(self, protocol: TraceProtocol, endpoint: str) -> None:
        """Prepares; the receiver is called when there are spans.

        Args:
            protocol: "auto" is what the environment says, else gRPC.
            endpoint: URL of the receiver, to which HTTP adds a path where it has none; empty: the environment's.

        Raises:
            ConfigError: One of OpenTelemetry's variables is wrong.
        """
        try:
            self._sender = Sender(make_exporter(protocol, endpoint))
            self._provider = TracerProvider(ALWAYS_ON, own_resource(), shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(self._sender))
        except (ValueError, OSError, RuntimeError, LookupError) as error:
            raise ConfigError(f"traces cannot be sent, by OpenTelemetry's variables (OTEL_*): {error}") from None
        self.tracer: Tracer = self._provider.get_tracer("quadriga", __version__)

    async def close(self, seconds: float) -> None:
        """Sends what is left, for at most so many seconds; at once where the receiver does not answer anyway."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop may not have waited
                loop.call_soon_threadsafe(ended.set)

        if self._sender.failing:
            self._sender.shutdown()
        threading.Thread(target=shut_down, name="quadriga-traces", daemon=True).start()
        try:
            async with asyncio.timeout(max(seconds, LEAST_FLUSH_SECONDS)):
                await ended.wait()
        except TimeoutError:
            log.warning("the last traces were not taken in time, and are lost")
            self._sender.shutdown()


class Sender:
    """A `SpanExporter` whose complaints are one line per outage, of a receiver or of a queue that is full.

    Attributes:
        failing: Whether the receiver did not take the last spans.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        """Sends by `exporter`, and listens to what OpenTelemetry logs."""
        self.failing = False
        self._exporter = exporter
        self._closed = False
        self._told: set[str] = set()
        logger = logging.getLogger("opentelemetry")
        logger.propagate = False
        logger.handlers = [_Complaints(self)]

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter.export`."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS and self.failing:
            self.failing = False
            log.info("traces are taken again")
        return result

    def shutdown(self) -> None:
        """See `SpanExporter.shutdown`; a second time it does nothing."""
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()

    def complained(self, record: logging.LogRecord) -> None:
        """Passes on what is news of what OpenTelemetry says."""
        if self._closed:
            return
        text = " ".join(record.getMessage().split())
        if not record.name.startswith("opentelemetry.exporter"):
            if record.msg not in self._told:
                self._told.add(str(record.msg))
                log.warning("OpenTelemetry: %s", text)
        elif not self.failing:
            self.failing = True
            log.warning("traces are not taken, and dropped until they are: %s", text)


class _Complaints(logging.Handler):
    """Hands OpenTelemetry's warnings and errors to a sender."""

    def __init__(self, sender: Sender) -> None:
        super().__init__(logging.WARNING)
        self._sender = sender

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        self._sender.complained(record)


def make_exporter(protocol: TraceProtocol, endpoint: str) -> SpanExporter:
    """The exporter of a protocol to an endpoint; see `Pipeline`.

    Raises:
        ConfigError: The environment names a protocol that there is not.
        ValueError: Another of its variables is wrong.
    """
    chosen = _protocol_of_environment() if protocol == "auto" else protocol
    if chosen == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return GrpcExporter(endpoint or None)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    if endpoint and urlsplit(endpoint).path in ("", "/"):
        endpoint = endpoint.rstrip("/") + _HTTP_PATH
    return HttpExporter(endpoint or None)


def _protocol_of_environment() -> Literal["grpc", "http"]:
    variable = next((name for name in _PROTOCOL_VARIABLES if os.environ.get(name)), "")
    if not variable:
        return "grpc"
    if (chosen := _PROTOCOLS.get(os.environ[variable])) is None:
        raise ConfigError(f"{variable} is {os.environ[variable]!r}; expected one of {', '.join(_PROTOCOLS)}")
    return chosen


def own_resource() -> Resource:
    """What spans say of the server: its name and version, or what the environment has, and what else that has."""
    own = {SERVICE_NAME: "quadriga", SERVICE_VERSION: __version__}
    return Resource.create({**own, **OTELResourceDetector().detect().attributes})
