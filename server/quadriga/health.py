"""grpc.health.v1 for the server ("") and for each model by its name. Server process."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from grpc_health.v1 import health, health_pb2

SERVER = ""


class Health:
    """Which services answer now, for Check and Watch.

    Attributes:
        servicer: The gRPC servicer, to be added to a grpc.aio server.
    """

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self._updates: set[asyncio.Task[None]] = set()
        self.set(SERVER, serving=False)

    def set(self, service: str, *, serving: bool) -> None:
        """Changes what is reported for a service, and tells those who watch it."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        self._start(self.servicer.set(service, status))

    def drain(self) -> None:
        """Reports NOT_SERVING for everything from now on, whatever is set later."""
        self._start(self.servicer.enter_graceful_shutdown())

    def _start(self, update: Coroutine[Any, Any, None]) -> None:
        # The servicer's setters are coroutines, which only wait for each other's short lock.
        task = asyncio.create_task(update)
        self._updates.add(task)
        task.add_done_callback(self._updates.discard)
