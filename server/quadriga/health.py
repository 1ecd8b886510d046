"""grpc.health.v1 for the server ("") and for each model by its name. Server process.

grpcio-health-checking has a servicer of its own, which is not used: it can forget no name, and once one of several
watchers of a name has gone the others hear of nothing any more.
"""

import asyncio
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVER = ""
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING

Context = grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]


class Health:
    """Which services answer now, for Check and Watch.

    Attributes:
        servicer: The gRPC servicer, to be added to a grpc.aio server.
    """

    def __init__(self) -> None:
        self.servicer = HealthServicer(self)
        self._statuses: dict[str, int] = {SERVER: _NOT_SERVING}
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._draining = False

    @property
    def services(self) -> list[str]:
        """The names that are known or watched."""
        return sorted({*self._statuses, *self._watchers})

    def status(self, service: str) -> int:
        """A service's status; SERVICE_UNKNOWN for a name that is not known."""
        return self._statuses.get(service, int(_UNKNOWN))

    def set(self, service: str, *, serving: bool) -> None:
        """Changes what is reported for a service, and tells those who watch it."""
        if not self._draining:
            self._statuses[service] = _SERVING if serving else _NOT_SERVING
            self._tell(service)

    def forget(self, service: str) -> None:
        """A model has gone: its name is as unknown as any other from now on, also to those who watch it."""
        if not self._draining and self._statuses.pop(service, None) is not None:
            self._tell(service)

    def drain(self) -> None:
        """Reports NOT_SERVING for everything from now on, whatever is set later."""
        self._draining = True
        for service in self._statuses:
            self._statuses[service] = _NOT_SERVING
            self._tell(service)

    def watch(self, service: str) -> asyncio.Event:
        """An event that is set at every change of a service, until `unwatch`."""
        changed = asyncio.Event()
        self._watchers.setdefault(service, set()).add(changed)
        return changed

    def unwatch(self, service: str, changed: asyncio.Event) -> None:
        """Ends a watch."""
        self._watchers[service].discard(changed)
        if not self._watchers[service]:
            del self._watchers[service]

    def _tell(self, service: str) -> None:
        for changed in self._watchers.get(service, ()):
            changed.set()


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the package has no types
    """Check and Watch as grpc.aio calls them."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """A service's status now; NOT_FOUND for a name that is not known."""
        status = self._health.status(request.service)
        if status == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no service or model of that name is known")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """A service's status now and whenever it changes, until the caller goes."""
        changed = self._health.watch(request.service)
        told = None
        try:
            while True:
                changed.clear()
                status = self._health.status(request.service)
                if status != told:
                    told = status
                    await context.write(health_pb2.HealthCheckResponse(status=status))
                    continue  # it may have changed meanwhile
                await changed.wait()
        finally:
            self._health.unwatch(request.service, changed)
