"""Whether requests are traced: the seam between a request's path and OpenTelemetry. Server process.

It is decided once, at the start. Without tracing the handler and the caller of a request are what they would be if
there were none, and OpenTelemetry is not imported. With it `spans` puts its own in their places, and `otlp` sends.
"""

from typing import Protocol

from quadriga.config import ServerConfig
from quadriga.errors import ConfigError
from quadriga.service import InferCaller, MakeCaller
from quadriga.transports import Handler


class Tracing(Protocol):
    """What becomes of requests' traces."""

    @property
    def caller(self) -> MakeCaller:
        """Makes who waits for an admitted request."""

    def handler(self, method: str, handler: Handler) -> Handler:
        """Stands before the handler of an rpc, by its name "SERVICE/METHOD"."""

    async def close(self, seconds: float) -> None:
        """Sends what there still is, for at most so many seconds."""


class Untraced:
    """Nothing; a `Tracing`."""

    @property
    def caller(self) -> MakeCaller:
        """See `Tracing.caller`."""
        return InferCaller

    def handler(self, method: str, handler: Handler) -> Handler:
        """See `Tracing.handler`: the handler itself."""
        return handler

    async def close(self, seconds: float) -> None:
        """See `Tracing.close`."""


def make_tracing(config: ServerConfig) -> Tracing:
    """The tracing that the configuration asks for.

    Raises:
        ConfigError: OpenTelemetry is not installed, or a variable of its own is wrong.
    """
    if config.trace_sample is None:
        return Untraced()
    try:
        from quadriga.otlp import Pipeline
        from quadriga.spans import SpanTracing
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"trace_sample is {config.trace_sample:g}, which needs OpenTelemetry ({error.name} is missing): "
            "pip install 'quadriga[otel]'"
        ) from None
    pipeline = Pipeline(config.trace_protocol, config.trace_endpoint)
    return SpanTracing(pipeline.tracer, config.trace_sample, pipeline.close)
