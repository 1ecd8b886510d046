"""Connections of the HTTP port, bounded in time and number. Server process.

uvicorn waits for a request as long as its client likes. A client that sends a byte now and then would keep a connection
for good, and a thousand of them the descriptors that gRPC and new workers need.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

#: From a connection's begin, or the answer before, to the end of the next answer.
REQUEST_SECONDS: Final = 10.0
#: At once. The one that has waited for its answer for longest makes room for a further one.
MOST_CONNECTIONS: Final = 256


class BoundedConnection(H11Protocol):
    """A connection that is closed when a request takes too long, or when it stands in the way of newer ones."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **options)
        self._expiry: asyncio.TimerHandle | None = None
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._begin_request()
        if len(self.connections) > MOST_CONNECTIONS:
            oldest = min(self.connections, key=lambda each: getattr(each, "_since", 0.0))
            # It leaves the set when the loop tells it so; until then, the next one must not find it again.
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._expiry is not None:
            self._expiry.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """See `H11Protocol`."""
        self._begin_request()
        super().on_response_complete()

    def _begin_request(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._since = self.loop.time()
        self._expiry = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)
