"""Settings of the server, with their defaults and limits. Runs in the server process; `model_config` has a model's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from quadriga.addresses import DEFAULT_HOST
from quadriga.errors import ConfigError
from quadriga.limits import check_choice, check_range
from quadriga_proto.conventions import DEFAULT_GRPC_PORT, DEFAULT_HTTP_PORT, MAX_MESSAGE_BYTES

DEFAULT_DRAIN_SECONDS: Final = 10.0
DEFAULT_POLL_SECONDS: Final = 5.0
#: Request metadata, headers included; what gRPC's own servers end at.
DEFAULT_METADATA_BYTES: Final = 16_384
#: Calls at once on one connection. A client has further ones wait.
DEFAULT_STREAMS: Final = 1_024
#: gRPC's own defaults: a silent connection is pinged after two hours, and clients may ping every five minutes.
DEFAULT_KEEPALIVE_SECONDS: Final = 7_200.0
DEFAULT_KEEPALIVE_TIMEOUT_SECONDS: Final = 20.0
DEFAULT_MIN_PING_SECONDS: Final = 300.0
_PORTS: Final = (0, 65_535)
_MESSAGE_BYTES: Final = (1, MAX_MESSAGE_BYTES)
_PENDING_BYTES: Final = (0, 2**50)
#: Less would refuse what gRPC itself sends along; more is not metadata.
_METADATA_BYTES: Final = (1_024, 1_048_576)
#: No Python with NumPy comes up with less.
_WORKER_BYTES: Final = (64 * 1024 * 1024, 2**50)
_STREAMS: Final = (1, 1_000_000)
_CONNECTIONS: Final = (0, 1_000_000)
#: gRPC counts milliseconds in 31 bits.
_MOST_SECONDS: Final = 2_000_000.0

ModelControl = Literal["none", "poll", "explicit"]
Transport = Literal["auto", "native", "grpcio"]
Templates = Literal["on", "off"]
#: Whether workers are confined to what their model needs: as far as the kernel can, or not served without.
ConfineWorkers = Literal["off", "on", "required"]
LogFormat = Literal["console", "json"]
#: How traces are sent; "auto" is what OpenTelemetry's own variables say, else gRPC.
TraceProtocol = Literal["auto", "grpc", "http"]
LogLevel = Literal["debug", "info", "warning", "error"]
#: Rpcs that are opened or closed together; `access` has which is which.
Group = Literal["health", "inference", "metadata", "model-control"]
GROUPS: Final[tuple[Group, ...]] = get_args(Group)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """What `quadriga serve` was asked to do.

    Attributes:
        repositories: Folders of models in Triton's layout.
        files: Models that are given by themselves: single files, or models' folders.
        model_name: What the one of `files` is called; empty: after its file or folder.
        host: Address that both ports listen on.
        grpc_port: 0 takes a free one.
        http_port: 0 takes a free one.
        model_control: Which models are served: all, following their files or not, or those that are asked for.
        load_models: With explicit control, the models to load at the start; "*" is all of them.
        poll_seconds: Between two looks at the repositories, with `model_control` "poll".
        transport: Which gRPC server carries the service.
        templates: Whether processes with an imported framework are kept, from which workers are forked.
        confine_workers: Whether workers are kept from files, network and processes that are not theirs.
        worker_read: Files and folders that confined workers may read beside their model's.
        worker_memory_bytes: What each worker may have of its own, as RLIMIT_DATA counts; 0: any.
        allow_client_shm: Whether clients may register shared memory, from which tensors are read and written.
        log_format: Lines for people or JSON for programs.
        log_level: The least grave records that are shown; "debug" shows what frameworks print in workers.
        trace_sample: The part of the requests that is traced, 0 to 1, where callers do not say whether they trace;
            None: none at all.
        trace_endpoint: URL of the OTLP receiver that traces are sent to; empty: OpenTelemetry's own variables say it.
        trace_protocol: How.
        drain_seconds: How long the requests in hand may take when the server stops.
        tls_certificate: PEM file of the gRPC port's certificate, and those it was signed with; None: no TLS.
        tls_key: PEM file of the key that belongs to it.
        tls_client_ca: PEM file of the authorities that must have signed clients' certificates; None: clients need none.
        token_file: File of the bearer tokens that open what `open_groups` does not; None: no token opens anything.
        open_groups: Rpcs that need no token; empty: health where there is a token file, else all.
        max_message_bytes: The largest request.
        max_pending_bytes: Of requests in hand and of streams' answers, all together; 0: a quarter of the memory.
        max_metadata_bytes: Of one request, as HTTP/2 counts a list of headers.
        max_streams: Calls at once on one connection.
        max_connections: At once; 0: any number; grpcio alone has it.
        keepalive_seconds: After which a silent connection is pinged.
        keepalive_timeout_seconds: After which a connection that does not answer the ping is closed.
        min_ping_seconds: Between two pings of a client that has nothing else to send; grpcio alone has it.
        max_connection_idle_seconds: After which a connection without calls is closed; 0: never; grpcio alone has it.
        max_connection_age_seconds: After which a connection takes no new calls; 0: never; grpcio alone has it.

    Raises:
        ConfigError: A value is out of range, a path is not there, or two settings contradict each other.
    """

    repositories: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    model_name: str = ""
    host: str = DEFAULT_HOST
    grpc_port: int = DEFAULT_GRPC_PORT
    http_port: int = DEFAULT_HTTP_PORT
    model_control: ModelControl = "none"
    load_models: tuple[str, ...] = ()
    poll_seconds: float = DEFAULT_POLL_SECONDS
    transport: Transport = "auto"
    templates: Templates = "on"
    confine_workers: ConfineWorkers = "off"
    worker_read: tuple[Path, ...] = ()
    worker_memory_bytes: int = 0
    allow_client_shm: bool = False
    log_format: LogFormat = "console"
    log_level: LogLevel = "info"
    trace_sample: float | None = None
    trace_endpoint: str = ""
    trace_protocol: TraceProtocol = "auto"
    drain_seconds: float = DEFAULT_DRAIN_SECONDS
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    token_file: Path | None = None
    open_groups: tuple[Group, ...] = ()
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_pending_bytes: int = 0
    max_metadata_bytes: int = DEFAULT_METADATA_BYTES
    max_streams: int = DEFAULT_STREAMS
    max_connections: int = 0
    keepalive_seconds: float = DEFAULT_KEEPALIVE_SECONDS
    keepalive_timeout_seconds: float = DEFAULT_KEEPALIVE_TIMEOUT_SECONDS
    min_ping_seconds: float = DEFAULT_MIN_PING_SECONDS
    max_connection_idle_seconds: float = 0.0
    max_connection_age_seconds: float = 0.0

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
        check_choice("confine_workers", self.confine_workers, get_args(ConfineWorkers))
        check_choice("log_format", self.log_format, get_args(LogFormat))
        check_choice("log_level", self.log_level, get_args(LogLevel))
        if not 0 < self.poll_seconds < float("inf"):
            raise ConfigError(f"poll_seconds is {self.poll_seconds}; expected a number above 0")
        if not 0 <= self.drain_seconds < float("inf"):
            raise ConfigError(f"drain_seconds is {self.drain_seconds}; expected 0 or more")
        if self.load_models and self.model_control != "explicit":
            names = ", ".join(self.load_models)
            raise ConfigError(f"load_models names {names}, but model_control is {self.model_control!r}, not 'explicit'")
        self._check_tracing()
        self._check_access()
        self._check_limits()
        self._check_workers()
        self._check_paths()

    @property
    def tls(self) -> bool:
        """Whether the gRPC port speaks TLS."""
        return self.tls_certificate is not None

    @property
    def files_there(self) -> list[Path]:
        """Those of `files` that exist now."""
        return [file for file in self.files if file.exists()]

    @property
    def only_on_grpcio(self) -> str:
        """The first setting in force that the native transport does not have; empty where it has all."""
        grpcio_alone = {
            "tls_certificate": self.tls,
            "max_connections": self.max_connections > 0,
            "min_ping_seconds": self.min_ping_seconds != DEFAULT_MIN_PING_SECONDS,
            "max_connection_idle_seconds": self.max_connection_idle_seconds > 0,
            "max_connection_age_seconds": self.max_connection_age_seconds > 0,
        }
        return next((setting for setting, in_force in grpcio_alone.items() if in_force), "")

    def _check_tracing(self) -> None:
        check_choice("trace_protocol", self.trace_protocol, get_args(TraceProtocol))
        if self.trace_sample is not None and not 0 <= self.trace_sample <= 1:
            raise ConfigError(f"trace_sample is {self.trace_sample:g}; expected a part of all requests, 0 to 1")
        if self.trace_endpoint and not self.trace_endpoint.startswith(("http://", "https://")):
            raise ConfigError(
                f"trace_endpoint is {self.trace_endpoint!r}; expected a URL such as http://collector:4317, "
                "also for gRPC"
            )
        if self.trace_sample is None and (self.trace_endpoint or self.trace_protocol != "auto"):
            given = "trace_endpoint" if self.trace_endpoint else "trace_protocol"
            raise ConfigError(f"{given} is given without trace_sample; nothing would be traced")

    def _check_access(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            given, missing = ("tls_certificate", "tls_key") if self.tls_key is None else ("tls_key", "tls_certificate")
            raise ConfigError(f"{given} is given without {missing}; TLS needs both")
        if self.tls_client_ca is not None and not self.tls:
            raise ConfigError(
                "tls_client_ca is given without tls_certificate and tls_key; clients prove themselves by TLS"
            )
        for group in self.open_groups:
            check_choice("open_groups", group, GROUPS)

    def _check_limits(self) -> None:
        check_range("max_message_bytes", self.max_message_bytes, _MESSAGE_BYTES)
        check_range("max_pending_bytes", self.max_pending_bytes, _PENDING_BYTES)
        check_range("max_metadata_bytes", self.max_metadata_bytes, _METADATA_BYTES)
        check_range("max_streams", self.max_streams, _STREAMS)
        check_range("max_connections", self.max_connections, _CONNECTIONS)
        for key in ("keepalive_seconds", "keepalive_timeout_seconds", "min_ping_seconds"):
            if not 0.001 <= getattr(self, key) <= _MOST_SECONDS:
                raise ConfigError(f"{key} is {getattr(self, key)}; expected 0.001 to {_MOST_SECONDS:.0f}")
        for key in ("max_connection_idle_seconds", "max_connection_age_seconds"):
            if not 0 <= getattr(self, key) <= _MOST_SECONDS:
                raise ConfigError(f"{key} is {getattr(self, key)}; expected 0 (never) to {_MOST_SECONDS:.0f}")
        if self.transport == "native" and (setting := self.only_on_grpcio):
            raise ConfigError(f"transport is 'native', which has no {setting}; use auto or grpcio, or leave that away")

    def _check_workers(self) -> None:
        low, high = _WORKER_BYTES
        if self.worker_memory_bytes and not low <= self.worker_memory_bytes <= high:
            raise ConfigError(
                f"worker_memory_bytes is {self.worker_memory_bytes}; expected 0 (any), or {low} to {high}"
            )
        if self.worker_read and self.confine_workers == "off":
            raise ConfigError("worker_read is given, but confine_workers is 'off': workers read what the server does")
        for path in self.worker_read:
            if not path.exists():
                raise ConfigError(f"worker_read {path} does not exist")

    def _check_name(self) -> None:
        if len(self.files) != 1:
            raise ConfigError(
                f"model_name is {self.model_name!r} and {len(self.files)} model files are given; expected one to name"
            )
        if "/" in self.model_name or not self.model_name.isprintable():
            raise ConfigError(f"model_name is {self.model_name!r}; expected printable characters without '/'")

    def _check_paths(self) -> None:
        if not self.repositories and not self.files:
            raise ConfigError("nothing to serve: give a model repository or a model file")
        if self.model_name:
            self._check_name()
        for repository in self.repositories:
            if not repository.is_dir():
                problem = "is not a folder" if repository.exists() else "does not exist"
                raise ConfigError(f"model repository {repository} {problem}")
        for file in self.files:
            if not file.exists():
                raise ConfigError(f"model file {file} does not exist")
