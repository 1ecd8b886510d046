"""Where traces are sent, by flags and by OpenTelemetry's variables, and what is said of a receiver that fails."""

import asyncio
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from otlp_receivers import grpc_receiver

from quadriga.config import ServerConfig
from quadriga.errors import ConfigError
from quadriga.otlp import Pipeline, Sender, make_exporter, own_resource
from quadriga.tracing import Untraced, make_tracing


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variables of the machine's, and OpenTelemetry's log as it was."""
    for name in ("PROTOCOL", "ENDPOINT", "HEADERS", "TIMEOUT"):
        for signal in ("", "TRACES_"):
            monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{signal}{name}", raising=False)
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)
    logger = logging.getLogger("opentelemetry")
    kept = logger.handlers, logger.propagate
    yield
    logger.handlers, logger.propagate = kept


@pytest.mark.parametrize(
    ("protocol", "endpoint", "env", "goes_to"),
    [
        ("auto", "", {}, "localhost:4317"),
        ("http", "", {}, "http://localhost:4318/v1/traces"),
        ("grpc", "http://collector:1", {}, "collector:1"),
        ("http", "http://collector:1", {}, "http://collector:1/v1/traces"),
        ("http", "http://collector:1/", {}, "http://collector:1/v1/traces"),
        ("http", "https://collector/otlp", {}, "https://collector/otlp"),
        ("auto", "", {"PROTOCOL": "http/protobuf", "ENDPOINT": "http://e:2"}, "http://e:2/v1/traces"),
        ("auto", "", {"PROTOCOL": "http/protobuf", "TRACES_PROTOCOL": "grpc", "ENDPOINT": "http://e:2"}, "e:2"),
        ("grpc", "http://flag:1", {"PROTOCOL": "http/protobuf", "ENDPOINT": "http://e:2"}, "flag:1"),
    ],
)
def test_flags_come_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, protocol: Any, endpoint: str, env: dict[str, str], goes_to: str
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    exporter = make_exporter(protocol, endpoint)
    assert exporter._endpoint == goes_to
    exporter.shutdown()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json'; expected one of grpc, http/protobuf"),
        ("TIMEOUT", "soon", r"OpenTelemetry's variables \(OTEL_\*\): .*soon"),
    ],
)
def test_a_variable_that_is_wrong_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{variable}", value)
    with pytest.raises(ConfigError, match=message):
        Pipeline("auto", "")


def test_the_environment_may_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_resource().attributes["service.name"] == "quadriga"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,team=blue")
    attributes = own_resource().attributes
    assert (attributes["service.name"], attributes["team"]) == ("shop", "blue")


def test_without_a_sample_there_is_no_tracing(tmp_path: Path) -> None:
    assert isinstance(make_tracing(ServerConfig(repositories=(tmp_path,))), Untraced)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "quadriga.otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(ConfigError, match=r"resources is missing\): pip install 'quadriga\[otel\]'"):
        make_tracing(ServerConfig(repositories=(tmp_path,), trace_sample=0.5))


class FailingExporter:
    """Fails until it is mended, as OpenTelemetry's exporters do: with lines in their log."""

    def __init__(self) -> None:
        self.mended = False
        self.shut_down = 0

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        if self.mended:
            return SpanExportResult.SUCCESS
        log = logging.getLogger("opentelemetry.exporter.test")
        log.warning("Transient error, retrying in %d s", 1)
        log.error("Failed to export\nfor good")
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.shut_down += 1
        logging.getLogger("opentelemetry.exporter.test").warning("already shut down")


def test_an_outage_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    exporter = FailingExporter()
    sender = Sender(exporter)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert sender.export([]) is SpanExportResult.FAILURE
        assert sender.failing
        exporter.mended = True
        sender.export([])
        sender.export([])
        exporter.mended = False
        sender.export([])
        sender.shutdown()
        sender.shutdown()
    assert [record.getMessage() for record in caplog.records] == [
        "traces are not taken, and dropped until they are: Transient error, retrying in 1 s",
        "traces are taken again",
        "traces are not taken, and dropped until they are: Transient error, retrying in 1 s",
    ]
    assert exporter.shut_down == 1


def test_a_full_queue_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    sender = Sender(FailingExporter())
    for _ in range(3):
        logging.getLogger("opentelemetry.sdk._shared_internal.test").warning("Queue full, dropping %s.", "Span")
    assert [record.getMessage() for record in caplog.records] == ["OpenTelemetry: Queue full, dropping Span."]
    assert not sender.failing


def test_the_end_sends_what_is_left() -> None:
    with grpc_receiver() as receiver:
        pipeline = Pipeline("grpc", receiver.endpoint)
        pipeline.tracer.start_span("last").end()
        asyncio.run(pipeline.close(30))
        assert [span.name for span in receiver.spans] == ["last"]
