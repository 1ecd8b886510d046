"""The calls of a grpcio server that have begun and not ended, for a drain. Server process."""

import asyncio
from typing import Any


class CallsInHand:
    """How many calls of the service are in hand, for a drain that waits for them and for nothing else."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()
        self._draining = False

    def begin(self, context: Any) -> None:  # noqa: ANN401 - grpc.aio.ServicerContext, whose stub knows no streams
        """Counts a call that arrived, until all of its response is sent; no more, once there is a drain."""
        if self._draining:
            return
        self._count += 1
        self._none.clear()
        context.add_done_callback(self._end)

    def _end(self, context: Any) -> None:  # noqa: ANN401 - see `begin`
        self._count -= 1
        if self._count == 0:
            self._none.set()

    async def ended(self) -> None:
        """Waits for the end of those that are in hand; those that come from now on are refused, and do not count."""
        self._draining = True
        await self._none.wait()
