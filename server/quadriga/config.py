"""Settings of the server, with their defaults and limits. Runs in the server process; `model_config` has a model's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from quadriga.addresses import DEFAULT_GRPC_PORT, DEFAULT_HOST, DEFAULT_HTTP_PORT
from quadriga.errors import ConfigError
from quadriga.limits import check_choice, check_range

DEFAULT_DRAIN_SECONDS: Final = 10.0
DEFAULT_POLL_SECONDS: Final = 5.0
_PORTS: Final = (0, 65_535)

ModelControl = Literal["none", "poll", "explicit"]
Transport = Literal["auto", "native", "grpcio"]
Templates = Literal["on", "off"]
LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """What `quadriga serve` was asked to do.

    Attributes:
        repositories: Folders of models in Triton's layout.
        files: Single model files to serve besides.
        host: Address that both ports listen on.
        grpc_port: 0 takes a free one.
        http_port: 0 takes a free one.
        model_control: Which models are served: all, following their files or not, or those that are asked for.
        load_models: With explicit control, the models to load at the start; "*" is all of them.
        poll_seconds: Between two looks at the repositories, with `model_control` "poll".
        transport: Which gRPC server carries the service.
        templates: Whether processes with an imported framework are kept, from which workers are forked.
        log_format: Lines for people or JSON for programs.
        log_level: The least grave records that are shown; "debug" shows what frameworks print in workers.
        drain_seconds: How long the requests in hand may take when the server stops.

    Raises:
        ConfigError: A value is out of range, a path is not there, or two settings contradict each other.
    """

    repositories: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    host: str = DEFAULT_HOST
    grpc_port: int = DEFAULT_GRPC_PORT
    http_port: int = DEFAULT_HTTP_PORT
    model_control: ModelControl = "none"
    load_models: tuple[str, ...] = ()
    poll_seconds: float = DEFAULT_POLL_SECONDS
    transport: Transport = "auto"
    templates: Templates = "on"
    log_format: LogFormat = "console"
    log_level: LogLevel = "info"
    drain_seconds: float = DEFAULT_DRAIN_SECONDS

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError("host is empty; expected an address such as 127.0.0.1, or 0.0.0.0 for all")
        check_range("grpc_port", self.grpc_port, _PORTS)
        check_range("http_port", self.http_port, _PORTS)
        if self.grpc_port == self.http_port != 0:
            raise ConfigError(f"grpc_port and http_port are both {self.grpc_port}; expected two different ports")
        check_choice("model_control", self.model_control, get_args(ModelControl))
        check_choice("transport", self.transport, get_args(Transport))
        check_choice("templates", self.templates, get_args(Templates))
        check_choice("log_format", self.log_format, get_args(LogFormat))
        check_choice("log_level", self.log_level, get_args(LogLevel))
        if not 0 < self.poll_seconds < float("inf"):
            raise ConfigError(f"poll_seconds is {self.poll_seconds}; expected a number above 0")
        if not 0 <= self.drain_seconds < float("inf"):
            raise ConfigError(f"drain_seconds is {self.drain_seconds}; expected 0 or more")
        if self.load_models and self.model_control != "explicit":
            names = ", ".join(self.load_models)
            raise ConfigError(f"load_models names {names}, but model_control is {self.model_control!r}, not 'explicit'")
        self._check_paths()

    def _check_paths(self) -> None:
        if not self.repositories and not self.files:
            raise ConfigError("nothing to serve: give a model repository or a model file")
        for repository in self.repositories:
            if not repository.is_dir():
                problem = "is not a folder" if repository.exists() else "does not exist"
                raise ConfigError(f"model repository {repository} {problem}")
        for file in self.files:
            if not file.exists():
                raise ConfigError(f"model file {file} does not exist")
