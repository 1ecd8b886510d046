"""The calls of a grpcio server that have begun and not ended, for a drain. Server process."""

import asyncio
from typing import Any


class CallsInHand:
    """How many calls of the service are in hand, for a drain that waits for them and for nothing else."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def begin(self) -> None:
        """Counts a call that arrived."""
        if self._count == 0:
            self._none.clear()
        self._count += 1

    def end(self, ctx: Any) -> None:  # noqa: ANN401 - grpc.aio's callback
        """Counts its end, which is when all of its response is sent; grpc.aio's callback for it."""
        self._count -= 1
        if self._count == 0:
            self._none.set()

    async def ended(self) -> None:
        """Waits until none is in hand."""
        await self._none.wait()
