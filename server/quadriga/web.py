"""The HTTP port: /metrics for Prometheus, /healthz/live and /healthz/ready for probes. Server process.

/metrics?model=NAME has one model's metrics and the server's own. The page is rendered on the event loop; with many
models that takes tens of milliseconds in which no request is answered, which no load test should do to its server.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from quadriga.addresses import listen
from quadriga.web_connections import BoundedConnection

#: For HTTP answers in hand when the server stops: a client that does not read must not hold it up.
END_SECONDS: Final = 2


class WebServer:
    """uvicorn inside the server's own loop, without its signal handling."""

    def __init__(self, registry: Callable[[str], Awaitable[CollectorRegistry]], ready: Callable[[], bool]) -> None:
        """Serves metrics, `registry` of a model's name or of "" for all; `ready` says whether the server is."""
        self._registry = registry
        self._ready = ready
        routes = [
            Route("/metrics", self._metrics),
            Route("/healthz/live", self._live),
            Route("/healthz/ready", self._is_ready),
        ]
        config = uvicorn.Config(
            _AfterParsing(Starlette(routes=routes)),
            http=BoundedConnection,
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=END_SECONDS,
        )
        self._server = _Server(config)
        self._socket: socket.socket | None = None

    def bind(self, host: str, port: int) -> int:
        """Takes the address; returns the port.

        Raises:
            ConfigError: It cannot be had.
        """
        self._socket = listen(host, port, "--http-port")
        bound: int = self._socket.getsockname()[1]
        return bound

    async def serve(self) -> None:
        """Serves until `stop`."""
        if self._socket is None:
            raise RuntimeError("bind first")
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Makes `serve` return once the answers in hand are sent."""
        self._server.should_exit = True

    def close(self) -> None:
        """Frees the address, whether or not it was ever served."""
        if self._socket is not None:
            self._socket.close()

    async def _metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        registry = await self._registry(request.query_params.get("model", ""))
        return Response(encode(registry), media_type=content_type)

    async def _live(self, request: Request) -> Response:
        return PlainTextResponse("live\n")

    async def _is_ready(self, request: Request) -> Response:
        ready = self._ready()
        return PlainTextResponse("ready\n" if ready else "not ready\n", status_code=200 if ready else 503)


class _AfterParsing:
    """An application that is run once uvicorn has read all of the packet that brought the request.

    uvicorn starts it as soon as it has a request's head. Where what follows is broken, uvicorn refuses the request and
    closes the connection, and an answer that comes after that is logged as a fault of the application's, a traceback
    with it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)  # what closes the connection has been scheduled before what comes next
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the server process, which shuts its parts down in a written order."""
        yield
