"""Traces of a real server, as a real OTLP receiver gets them: over gRPC from one transport, over HTTP from the other.

The receivers get nothing before the server ends: OpenTelemetry is told to wait for an hour, so that what arrives is
what the end sends.
"""

import itertools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from oip import SERVICE, error_of, infer_request, rpc
from otlp_receivers import Received, Receiver, grpc_receiver, http_receiver
from running_server import RunningServer, wait_for, write_fake

from quadriga import __version__
from quadriga_proto import inference_pb2 as pb

PHASES = ["queue", "batch", "worker queue", "compute", "response"]
MODEL = {"quadriga.model.name": "echo", "quadriga.model.version": "1", "quadriga.model.backend": "fake"}
ANSWERED, REFUSED, FAILED, STREAMED, UNSAMPLED = ("0" * 31 + digit for digit in "12345")
CALLER = "00f067aa0ba902b7"
ROWS = np.ones((3, 4), np.float32)


@pytest.fixture(scope="module")
def receiver(start: Callable[..., RunningServer], transport: str, tmp_path_factory: pytest.TempPathFactory) -> Receiver:
    """What a server has sent that has served the requests below and has ended."""
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "echo")
    write_fake(repository, "raising", {"raise_on": 13})
    with grpc_receiver() if transport == "native" else http_receiver() as receiver:
        env = {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_SERVICE_NAME": "shop"}
        flags = ["--repository", str(repository), "--trace-sample", "0"]
        if transport == "native":
            flags += ["--trace-endpoint", receiver.endpoint]
            env["OTEL_EXPORTER_OTLP_HEADERS"] = "tenant=blue"
        else:
            env |= {
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_HEADERS": "tenant=blue",
            }
        server = start(*flags, env=env)
        send_requests(server)
        assert receiver.spans == []
        assert server.stop() == 0
    return receiver


def send_requests(server: RunningServer) -> None:
    """One of each kind."""
    with grpc.insecure_channel(server.grpc) as channel:
        for metadata in (traceparent(ANSWERED), traceparent(UNSAMPLED, sampled="00"), (("traceparent", "x"),), ()):
            request = infer_request("echo", x=ROWS)
            request.id = "r7"
            rpc(channel, "ModelInfer", request, metadata=metadata)
        refused = infer_request("echo", y=ROWS)
        assert error_of(channel, "ModelInfer", refused, metadata=traceparent(REFUSED))[0] == "INVALID_ARGUMENT"
        failed = infer_request("raising", x=np.full((1, 4), 13, np.float32))
        assert error_of(channel, "ModelInfer", failed, metadata=traceparent(FAILED))[0] == "INTERNAL"
        streams = channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            pb.ModelInferRequest.SerializeToString,
            pb.ModelStreamInferResponse.FromString,
        )
        answers = list(streams(iter([infer_request("echo", x=ROWS)]), metadata=traceparent(STREAMED), timeout=30))
        assert [answer.error_message for answer in answers] == [""]


def traceparent(trace: str, sampled: str = "01") -> tuple[tuple[str, str], ...]:
    """The metadata of a caller that traces."""
    return (("traceparent", f"00-{trace}-{CALLER}-{sampled}"), ("tracestate", "vendor=a1"))


def server_span(trace: dict[str, Received], method: str = "ModelInfer") -> Received:
    return trace[f"{SERVICE}/{method}"]


def test_only_callers_that_trace_are_traced_where_no_others_are_sampled(receiver: Receiver) -> None:
    assert {span.trace for span in receiver.spans} == {ANSWERED, REFUSED, FAILED, STREAMED}


def test_an_answer_is_a_span_under_its_callers_with_one_for_each_phase(receiver: Receiver) -> None:
    trace = receiver.trace(ANSWERED)
    span = server_span(trace)
    assert trace.keys() == {span.name, *PHASES}
    assert (span.parent, span.kind, span.state, span.error) == (CALLER, 2, "vendor=a1", None)
    phases = [trace[name] for name in PHASES]
    assert {phase.parent for phase in phases} == {span.id}
    for before, after in itertools.pairwise(phases):
        assert before.begin <= before.end == after.begin
    assert span.begin <= phases[0].begin
    assert phases[-1].end == span.end


def test_its_attributes_say_what_ran_and_how_it_ended(receiver: Receiver) -> None:
    attributes = server_span(receiver.trace(ANSWERED)).attributes
    assert attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": f"{SERVICE}/ModelInfer",
        "rpc.response.status_code": "OK",
        **MODEL,
        "quadriga.model.device": "cpu",
        "quadriga.request.id": "r7",
        "quadriga.request.rows": 3,
        "quadriga.batch.rows": 3,
    }


def test_a_refusal_that_is_the_callers_doing_is_no_error(receiver: Receiver) -> None:
    (span,) = receiver.trace(REFUSED).values()
    assert span.error is None
    assert span.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert span.attributes["quadriga.model.name"] == "echo"
    assert "error.type" not in span.attributes


def test_a_failure_of_the_model_is_an_error(receiver: Receiver) -> None:
    (span,) = receiver.trace(FAILED).values()
    assert span.attributes["rpc.response.status_code"] == span.attributes["error.type"] == "INTERNAL"
    assert span.error is not None
    assert "'raising' failed" in span.error


def test_a_request_of_a_stream_has_the_streams_parent(receiver: Receiver) -> None:
    trace = receiver.trace(STREAMED)
    assert server_span(trace, "ModelStreamInfer").parent == CALLER
    assert set(PHASES) < trace.keys()


def test_opentelemetrys_variables_hold(receiver: Receiver) -> None:
    assert receiver.headers["tenant"] == "blue"
    resource = server_span(receiver.trace(ANSWERED)).resource
    assert (resource["service.name"], resource["service.version"]) == ("shop", __version__)


@pytest.fixture
def nobodys_port() -> Iterator[int]:
    """Bound, but without anybody who listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_receiver_that_is_not_there_costs_a_line_and_no_request(
    start: Callable[..., RunningServer], repository: Path, transport: str, nobodys_port: int
) -> None:
    protocol = "grpc" if transport == "grpcio" else "http"
    flags = (
        "--trace-sample",
        "1",
        "--trace-protocol",
        protocol,
        "--trace-endpoint",
        f"http://127.0.0.1:{nobodys_port}",
    )
    env = {"OTEL_BSP_SCHEDULE_DELAY": "20"}
    server = start("--repository", str(repository), *flags, env=env)
    with grpc.insecure_channel(server.grpc) as channel:
        rpc(channel, "ModelInfer", infer_request("echo", x=ROWS))
        wait_for(lambda: "traces are not taken" in server.log, "the line of the log")
        for _ in range(20):
            rpc(channel, "ModelInfer", infer_request("echo", x=ROWS))
    assert server.stop() == 0
    assert server.log.count("traces are not taken") == 1
    assert "Traceback" not in server.log
    assert str(nobodys_port) in server.log
