"""The rpcs LogSettings and TraceSetting against a real server."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import tritonclient.grpc
from oip import error_of, rpc
from running_server import RunningServer, wait_for

from quadriga_proto import inference_pb2 as pb


@pytest.fixture
def server(start: Callable[..., RunningServer], repository: Path) -> Iterator[RunningServer]:
    server = start("--repository", str(repository))
    yield server
    assert server.stop() == 0


@pytest.fixture
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


def test_the_log_is_switched_while_the_server_runs(server: RunningServer, channel: grpc.Channel) -> None:
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        before = client.get_log_settings(as_json=True)["settings"]
        assert before["log_info"] == {"bool_param": True}
        assert before["log_verbose_level"] == {"uint32_param": 0}
        assert before["log_format"] == {"string_param": "default"}
        after = client.update_log_settings({"log_info": False, "log_format": "ISO8601"}, as_json=True)["settings"]
        assert (after["log_info"], after["log_warning"]) == ({"bool_param": False}, {"bool_param": True})
    (worker,) = server.workers()
    worker.kill()
    line = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} (WARNING|ERROR) ", re.MULTILINE)
    wait_for(lambda: line.search(server.log), "the death of a worker in the log, with its date")
    wait_for(lambda: server.metric("quadriga_workers_up") == 1, "the worker to be replaced")
    assert not re.search(r"^\d{4}-.* INFO ", server.log, re.MULTILINE)


def test_a_change_is_made_whole_or_not_at_all(server: RunningServer, channel: grpc.Channel) -> None:
    request = pb.LogSettingsRequest()
    request.settings["log_info"].bool_param = False
    request.settings["log_file"].string_param = "server.log"
    code, message = error_of(channel, "LogSettings", request)
    assert (code, "log_file" in message) == ("INVALID_ARGUMENT", True)
    assert rpc(channel, "LogSettings", pb.LogSettingsRequest()).settings["log_info"].bool_param is True


def test_tracing_is_off_and_stays_off(server: RunningServer, channel: grpc.Channel) -> None:
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        assert client.get_trace_settings(as_json=True)["settings"]["trace_level"] == {"value": ["OFF"]}
        settings = client.update_trace_settings(settings={"trace_level": ["OFF"], "trace_rate": None}, as_json=True)
        assert settings["settings"]["trace_level"] == {"value": ["OFF"]}
    request = pb.TraceSettingRequest()
    request.settings["trace_level"].value.append("TIMESTAMPS")
    code, message = error_of(channel, "TraceSetting", request)
    assert (code, "trace_level" in message) == ("UNIMPLEMENTED", True)
