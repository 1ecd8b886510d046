"""`quadriga serve`: every flag is an environment variable, and arrives in the server's configuration."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from quadriga.cli import main
from quadriga.commands import serve as command
from quadriga.config import ServerConfig

#: Option, a value that is not its default, and what becomes of it; "explicit" alone goes with --load-model.
OPTIONS: Mapping[str, tuple[str, str, Any]] = {
    "--repository": ("repositories", os.pathsep.join(("one", "two")), (Path("one"), Path("two"))),
    "--model-name": ("model_name", "digits", "digits"),
    "--host": ("host", "0.0.0.0", "0.0.0.0"),
    "--grpc-port": ("grpc_port", "9001", 9001),
    "--http-port": ("http_port", "9000", 9000),
    "--model-control": ("model_control", "explicit", "explicit"),
    "--load-model": ("load_models", "a b", ("a", "b")),
    "--poll-seconds": ("poll_seconds", "0.25", 0.25),
    "--transport": ("transport", "grpcio", "grpcio"),
    "--templates": ("templates", "off", "off"),
    "--confine-workers": ("confine_workers", "on", "on"),
    "--worker-read": ("worker_read", os.pathsep.join(("one", "two")), (Path("one"), Path("two"))),
    "--worker-memory-bytes": ("worker_memory_bytes", "1000000000", 1_000_000_000),
    "--allow-client-shm": ("allow_client_shm", "1", True),
    "--log-format": ("log_format", "json", "json"),
    "--log-level": ("log_level", "debug", "debug"),
    "--trace-sample": ("trace_sample", "0.01", 0.01),
    "--trace-endpoint": ("trace_endpoint", "http://collector:4318", "http://collector:4318"),
    "--trace-protocol": ("trace_protocol", "http", "http"),
    "--drain-seconds": ("drain_seconds", "2.5", 2.5),
    "--tls-certificate": ("tls_certificate", "chain.pem", Path("chain.pem")),
    "--tls-key": ("tls_key", "key.pem", Path("key.pem")),
    "--tls-client-ca": ("tls_client_ca", "ca.pem", Path("ca.pem")),
    "--token-file": ("token_file", "tokens", Path("tokens")),
    "--open": ("open_groups", "health inference", ("health", "inference")),
    "--max-message-bytes": ("max_message_bytes", "1000", 1_000),
    "--max-pending-bytes": ("max_pending_bytes", "5000", 5_000),
    "--max-metadata-bytes": ("max_metadata_bytes", "2000", 2_000),
    "--max-streams": ("max_streams", "8", 8),
    "--max-connections": ("max_connections", "100", 100),
    "--keepalive-seconds": ("keepalive_seconds", "60", 60.0),
    "--keepalive-timeout-seconds": ("keepalive_timeout_seconds", "5", 5.0),
    "--min-ping-seconds": ("min_ping_seconds", "10", 10.0),
    "--max-connection-idle-seconds": ("max_connection_idle_seconds", "600", 600.0),
    "--max-connection-age-seconds": ("max_connection_age_seconds", "3600", 3_600.0),
}


def variable(option: str) -> str:
    return "QUADRIGA_" + option.removeprefix("--").replace("-", "_").upper()


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for option in OPTIONS:
        monkeypatch.delenv(variable(option), raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        Path(name).mkdir()
    Path("net.onnx").touch()  # what --model-name names


@pytest.fixture
def logging_configured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What logging was asked to be, instead of its becoming so."""
    configured: list[tuple[str, str]] = []
    monkeypatch.setattr(command, "configure_logging", lambda format, level: configured.append((format, level)))
    return configured


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch, logging_configured: list[tuple[str, str]]) -> list[ServerConfig]:
    """The configurations that servers would have been started with."""
    started: list[ServerConfig] = []

    async def run(config: ServerConfig) -> None:
        started.append(config)

    monkeypatch.setattr(command, "run", run)
    return started


def invoke(*arguments: str, env: Mapping[str, str] | None = None) -> None:
    result = CliRunner().invoke(main, ["serve", *arguments], env=dict(env or {}), catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_every_option_is_checked_here() -> None:
    options = [parameter for parameter in command.serve.params if isinstance(parameter, click.Option)]
    assert {option.opts[0] for option in options} == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_variable_is_a_flag(configs: list[ServerConfig], option: str) -> None:
    field, text, value = OPTIONS[option]
    env = {"QUADRIGA_REPOSITORY": "one", variable(option): text}
    if option == "--load-model":
        env["QUADRIGA_MODEL_CONTROL"] = "explicit"
    if option == "--worker-read":
        env[variable("--confine-workers")] = OPTIONS["--confine-workers"][1]
    if option.startswith("--tls"):
        env |= {variable(other): OPTIONS[other][1] for other in ("--tls-certificate", "--tls-key")}
    if option.startswith("--trace"):
        env[variable("--trace-sample")] = OPTIONS["--trace-sample"][1]
    invoke("net.onnx", "--repository", "one")
    invoke("net.onnx", env=env)
    default, set_by_variable = configs
    assert getattr(set_by_variable, field) == value
    assert getattr(default, field) != value


def test_all_variables_at_once_make_the_configuration(
    configs: list[ServerConfig], logging_configured: list[tuple[str, str]]
) -> None:
    invoke("net.onnx", env={variable(option): text for option, (_, text, _) in OPTIONS.items()})
    expected: dict[str, Any] = {field: value for field, _, value in OPTIONS.values()}
    expected["files"] = (Path("net.onnx"),)
    assert configs == [ServerConfig(**expected)]
    assert logging_configured == [("json", "debug")]


def test_a_flag_beats_its_variable(configs: list[ServerConfig]) -> None:
    env = {variable(option): text for option, (_, text, _) in OPTIONS.items()}
    invoke("net.onnx", "--grpc-port", "7", "--repository", "two", "--load-model", "c", env=env)
    (config,) = configs
    assert (config.grpc_port, config.http_port) == (7, 9000)
    assert config.repositories == (Path("two"),)
    assert config.load_models == ("c",)
