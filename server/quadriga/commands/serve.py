"""`quadriga serve`: reads the flags, runs the server, prints what it serves. Server process."""

import asyncio
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_args

import click

from quadriga.commands.console import output_console
from quadriga.commands.table import ModelRow, model_table
from quadriga.config import (
    GROUPS,
    ConfineWorkers,
    LogFormat,
    LogLevel,
    ModelControl,
    ServerConfig,
    Templates,
    TraceProtocol,
    Transport,
)
from quadriga.errors import ConfigError
from quadriga.logs import configure_logging
from quadriga.model_version import ModelVersion
from quadriga.registry import ModelRegistry
from quadriga.server import Addresses, Server
from quadriga.specs import ANY, TensorSpec

_DEFAULTS: Final = {field.name: field.default for field in fields(ServerConfig)}
#: Whether it can be read is for whoever reads it to say.
_FILE: Final = click.Path(path_type=Path, readable=False)


@click.command(context_settings={"auto_envvar_prefix": "QUADRIGA", "show_default": True})
@click.argument("files", nargs=-1, type=_FILE)
@click.option(
    "--repository", "repositories", multiple=True, type=_FILE, envvar="QUADRIGA_REPOSITORY",
    help="Folder of models in Triton's layout. Repeatable.",
)  # fmt: skip
@click.option(
    "--model-name", default=_DEFAULTS["model_name"], show_default=False,
    help="What the one of FILES is called. Without it: as it is.",
)  # fmt: skip
@click.option("--host", default=_DEFAULTS["host"], help="Address to listen on; 0.0.0.0 is every one of this machine.")
@click.option("--grpc-port", type=int, default=_DEFAULTS["grpc_port"], help="0 takes a free one.")
@click.option("--http-port", type=int, default=_DEFAULTS["http_port"], help="0 takes a free one.")
@click.option(
    "--model-control", type=click.Choice(get_args(ModelControl)), default=_DEFAULTS["model_control"],
    help="Whether models change after the start: never, as their files do, or by request, beginning with --load-model.",
)  # fmt: skip
@click.option(
    "--load-model", "load_models", multiple=True, envvar="QUADRIGA_LOAD_MODEL",
    help="With explicit control: a model to load, or '*'. Repeatable.",
)  # fmt: skip
@click.option(
    "--poll-seconds", type=float, default=_DEFAULTS["poll_seconds"], help="Between two looks at the repositories."
)
@click.option(
    "--transport", type=click.Choice(get_args(Transport)), default=_DEFAULTS["transport"],
    help="Which gRPC server to use.",
)  # fmt: skip
@click.option(
    "--templates", type=click.Choice(get_args(Templates)), default=_DEFAULTS["templates"],
    help="Keep processes with a framework imported, for workers that start in a fraction of the time.",
)  # fmt: skip
@click.option(
    "--confine-workers", type=click.Choice(get_args(ConfineWorkers)), default=_DEFAULTS["confine_workers"],
    help="Keep workers from files, network and processes that their model does not need: as far as the kernel can, "
    "or no start without.",
)  # fmt: skip
@click.option(
    "--worker-read", type=_FILE, multiple=True, envvar="QUADRIGA_WORKER_READ",
    help="With confined workers: a further file or folder that they may read. Repeatable.",
)  # fmt: skip
@click.option(
    "--worker-memory-bytes", type=int, default=_DEFAULTS["worker_memory_bytes"],
    help="Of each worker's own, beside shared memory and mapped files; 0 is any.",
)  # fmt: skip
@click.option(
    "--allow-client-shm", is_flag=True, default=_DEFAULTS["allow_client_shm"],
    help="Let clients keep tensors in shared memory. They can then read and write all of /dev/shm that the server can.",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(get_args(LogFormat)), default=_DEFAULTS["log_format"],
    help="Of the log on stderr.",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(get_args(LogLevel)), default=_DEFAULTS["log_level"],
    help="The least grave lines to show; debug shows what frameworks print in workers.",
)  # fmt: skip
@click.option(
    "--trace-sample", type=float, default=_DEFAULTS["trace_sample"], show_default="none at all",
    help="The part of the requests to trace, 0 to 1, where callers do not say whether; needs quadriga[otel].",
)  # fmt: skip
@click.option(
    "--trace-endpoint", default=_DEFAULTS["trace_endpoint"],
    help="URL of the OTLP receiver. Without it: OpenTelemetry's variables, else localhost.",
)  # fmt: skip
@click.option(
    "--trace-protocol", type=click.Choice(get_args(TraceProtocol)), default=_DEFAULTS["trace_protocol"],
    help="How to send traces; auto is what OpenTelemetry's variables say, else gRPC.",
)  # fmt: skip
@click.option(
    "--drain-seconds", type=float, default=_DEFAULTS["drain_seconds"], help="For requests in hand at the stop."
)
@click.option("--tls-certificate", type=_FILE, help="PEM file; switches TLS of the gRPC port on.")
@click.option("--tls-key", type=_FILE, help="PEM file of the certificate's key.")
@click.option("--tls-client-ca", type=_FILE, help="PEM file; clients must show a certificate that it has signed.")
@click.option(
    "--token-file", type=_FILE,
    help="Bearer tokens, one a line; read anew when it changes. Rpcs that are not --open need one.",
)  # fmt: skip
@click.option(
    "--open", "open_groups", type=click.Choice(GROUPS), multiple=True, envvar="QUADRIGA_OPEN",
    help="Rpcs that need no token; the others are closed where there is no --token-file. Repeatable. "
    "Without it: health where there is a --token-file, else all.",
)  # fmt: skip
@click.option("--max-message-bytes", type=int, default=_DEFAULTS["max_message_bytes"], help="The largest request.")
@click.option(
    "--max-pending-bytes", type=int, default=_DEFAULTS["max_pending_bytes"],
    help="Of requests in hand and of streams' answers, all together; 0 is a quarter of the memory.",
)  # fmt: skip
@click.option("--max-metadata-bytes", type=int, default=_DEFAULTS["max_metadata_bytes"], help="Of one request.")
@click.option("--max-streams", type=int, default=_DEFAULTS["max_streams"], help="Calls at once on one connection.")
@click.option(
    "--max-connections", type=int, default=_DEFAULTS["max_connections"],
    help="At once; 0 is any number. A further one is closed. grpcio only.",
)  # fmt: skip
@click.option(
    "--keepalive-seconds", type=float, default=_DEFAULTS["keepalive_seconds"],
    help="Until a silent connection is pinged.",
)  # fmt: skip
@click.option(
    "--keepalive-timeout-seconds", type=float, default=_DEFAULTS["keepalive_timeout_seconds"],
    help="Until a connection that does not answer the ping is closed.",
)  # fmt: skip
@click.option(
    "--min-ping-seconds", type=float, default=_DEFAULTS["min_ping_seconds"],
    help="Between two pings of an idle client; one that pings more often is cut off. grpcio only.",
)  # fmt: skip
@click.option(
    "--max-connection-idle-seconds", type=float, default=_DEFAULTS["max_connection_idle_seconds"],
    help="Until a connection without calls is closed; 0 is never. grpcio only.",
)  # fmt: skip
@click.option(
    "--max-connection-age-seconds", type=float, default=_DEFAULTS["max_connection_age_seconds"],
    help="Until a connection takes no new calls; 0 is never. grpcio only.",
)  # fmt: skip
def serve(**options: Any) -> None:  # noqa: ANN401 - click passes what the decorators above declare
    """Serve models from repositories, or single FILES: a model (.onnx, .keras, .pt, a SavedModel) or a model's folder.

    Each option is also an environment variable: --grpc-port is QUADRIGA_GRPC_PORT.
    """
    configure_logging(options["log_format"], options["log_level"])
    try:
        config = ServerConfig(**options)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(run(config))
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


async def run(config: ServerConfig) -> None:
    """Builds and runs the server; prints the table and the ready line when it is ready."""
    await Server(config).run(announce)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed; None is asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def announce(server: Server, addresses: Addresses) -> None:
    """Prints what is served and where; programs wait for the line that starts with "ready"."""
    output_console().print(model_table(rows(server.models)))
    print(f"ready grpc={addresses.grpc} http={addresses.http}", flush=True)


def rows(models: ModelRegistry) -> list[ModelRow]:
    """The registry as the table shows it."""
    broken = [ModelRow(model=name, state="UNAVAILABLE", reason=reason) for name, reason in models.broken().items()]
    return [*map(row, models.all()), *broken]


def row(version: ModelVersion) -> ModelRow:
    """One version as the table shows it."""
    inputs = outputs = ""
    if version.loaded:
        inputs = describe(version.spec.inputs, version.spec.batches)
        outputs = describe(version.spec.outputs, version.spec.batches)
    return ModelRow(
        model=version.name,
        version=version.version_text,
        format=version.files.format,
        backend=version.backend,
        device=version.device,
        inputs=inputs,
        outputs=outputs,
        load_ms=(version.load_ns + version.warm_up_ns) / 1e6 if version.loaded else None,
        state=version.state,
        reason=version.reason,
    )


def describe(tensors: tuple[TensorSpec, ...], batches: bool) -> str:
    """Tensors in a table's cell: "image FP32[-1,32,32,3]"."""
    shapes = [(ANY, *tensor.shape) if batches else tensor.shape for tensor in tensors]
    return ", ".join(
        f"{tensor.name} {tensor.datatype}{list(shape)}".replace(", ", ",")
        for tensor, shape in zip(tensors, shapes, strict=True)
    )
