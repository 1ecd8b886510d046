"""The settings of a server: their limits, and those that contradict each other."""

from pathlib import Path
from typing import Any

import pytest

from quadriga.config import ServerConfig, Transport
from quadriga.errors import ConfigError
from quadriga_proto.conventions import DEFAULT_GRPC_PORT


def test_a_repository_is_enough(tmp_path: Path) -> None:
    config = ServerConfig(repositories=(tmp_path,))
    assert (config.host, config.grpc_port, config.model_control) == ("127.0.0.1", DEFAULT_GRPC_PORT, "none")


def test_a_file_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.touch()
    assert ServerConfig(files=(file,)).files == (file,)


def test_a_folder_can_be_named(tmp_path: Path) -> None:
    assert ServerConfig(files=(tmp_path,), model_name="my net").model_name == "my net"


@pytest.mark.parametrize("count", [0, 2])
def test_a_name_is_for_one_model(tmp_path: Path, count: int) -> None:
    with pytest.raises(ConfigError, match=f"model_name is 'net' and {count} model files are given; expected one"):
        ServerConfig(repositories=(tmp_path,), files=(tmp_path,) * count, model_name="net")


@pytest.mark.parametrize("name", ["a/b", "a\n"])
def test_a_name_that_no_model_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="expected printable characters without '/'"):
        ServerConfig(files=(tmp_path,), model_name=name)


def test_nothing_to_serve_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to serve"):
        ServerConfig()


def test_both_ports_may_be_free_ones(tmp_path: Path) -> None:
    config = ServerConfig(repositories=(tmp_path,), grpc_port=0, http_port=0)
    assert config.grpc_port == config.http_port == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grpc_port": 65_536}, "grpc_port is 65536; expected 0 to 65535"),
        ({"http_port": -1}, "http_port is -1; expected 0 to 65535"),
        ({"grpc_port": 9000, "http_port": 9000}, "both 9000; expected two different ports"),
        ({"host": ""}, "host is empty"),
        ({"trace_sample": 1.5}, "trace_sample is 1.5; expected a part of all requests, 0 to 1"),
        ({"trace_sample": float("nan")}, "trace_sample is nan; expected a part of all requests, 0 to 1"),
        ({"trace_sample": 0.5, "trace_protocol": "udp"}, "trace_protocol"),
        ({"trace_sample": 0.5, "trace_endpoint": "collector:4317"}, "expected a URL such as http://collector:4317"),
        ({"trace_endpoint": "http://collector:4317"}, "trace_endpoint is given without trace_sample"),
        ({"trace_protocol": "http"}, "trace_protocol is given without trace_sample"),
        ({"model_control": "always"}, "model_control is 'always'; expected one of none, poll, explicit"),
        ({"transport": "quic"}, "transport is 'quic'; expected one of auto, native, grpcio"),
        ({"log_format": "xml"}, "log_format is 'xml'; expected one of console, json"),
        ({"poll_seconds": 0.0}, "poll_seconds is 0.0; expected a number above 0"),
        ({"poll_seconds": float("nan")}, "poll_seconds is nan"),
        ({"drain_seconds": -0.5}, "drain_seconds is -0.5; expected 0 or more"),
        ({"drain_seconds": float("inf")}, "drain_seconds is inf"),
        ({"load_models": ("digits",)}, "load_models names digits, but model_control is 'none', not 'explicit'"),
        ({"tls_certificate": Path("a.pem")}, "tls_certificate is given without tls_key"),
        ({"tls_key": Path("a.pem")}, "tls_key is given without tls_certificate"),
        ({"tls_client_ca": Path("a.pem")}, "tls_client_ca is given without tls_certificate and tls_key"),
        ({"max_connections": -1}, "max_connections is -1; expected 0 to 1000000"),
        ({"open_groups": ("health", "all")}, "open_groups is 'all'; expected one of health, inference, metadata"),
        ({"max_pending_bytes": -1}, "max_pending_bytes is -1; expected 0 to 1125899906842624"),
        ({"max_message_bytes": 0}, "max_message_bytes is 0; expected 1 to 2147483647"),
        ({"max_metadata_bytes": 100}, "max_metadata_bytes is 100; expected 1024 to 1048576"),
        ({"max_streams": 0}, "max_streams is 0; expected 1 to 1000000"),
        ({"keepalive_seconds": 0.0}, "keepalive_seconds is 0.0; expected 0.001 to 2000000"),
        ({"keepalive_timeout_seconds": float("inf")}, "keepalive_timeout_seconds is inf"),
        ({"min_ping_seconds": float("nan")}, "min_ping_seconds is nan"),
        ({"max_connection_idle_seconds": -1.0}, "max_connection_idle_seconds is -1.0; expected 0 (never) to"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ServerConfig(repositories=(tmp_path,), **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_models_are_named_with_explicit_control(tmp_path: Path) -> None:
    config = ServerConfig(repositories=(tmp_path,), model_control="explicit", load_models=("*",))
    assert config.load_models == ("*",)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing, file = tmp_path / "missing", tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match=f"model repository {missing} does not exist"):
        ServerConfig(repositories=(tmp_path, missing))
    with pytest.raises(ConfigError, match=f"model repository {file} is not a folder"):
        ServerConfig(repositories=(file,))
    with pytest.raises(ConfigError, match=f"model file {missing} does not exist"):
        ServerConfig(files=(missing,))


@pytest.mark.parametrize(
    "settings",
    [
        {"tls_certificate": Path("a.pem"), "tls_key": Path("b.pem")},
        {"max_connections": 1},
        {"min_ping_seconds": 1.0},
        {"max_connection_idle_seconds": 1.0},
        {"max_connection_age_seconds": 1.0},
    ],
)
def test_what_grpcio_alone_has_is_refused_on_native(tmp_path: Path, settings: dict[str, Any]) -> None:
    setting = next(iter(settings))
    transports: tuple[Transport, ...] = ("auto", "grpcio")
    for transport in transports:
        assert ServerConfig(repositories=(tmp_path,), transport=transport, **settings).only_on_grpcio == setting
    with pytest.raises(ConfigError, match=f"transport is 'native', which has no {setting}; use auto or grpcio"):
        ServerConfig(repositories=(tmp_path,), transport="native", **settings)
