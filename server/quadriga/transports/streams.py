"""Streams on grpcio's asyncio server: one coroutine reads a stream's messages, one sends its answers. Server process.

Both transports use it, since the native one hands streams to a grpcio server.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from quadriga.errors import ShuttingDown
from quadriga.transports import Status, StreamHandler, expiry, text_metadata
from quadriga.transports.in_hand import CallsInHand

_Context = Any  # grpc.aio.ServicerContext, whose stub knows no streams


class StreamsInHand:
    """The streams of one server, so that a drain can end them."""

    def __init__(self, calls: CallsInHand) -> None:
        """Counts them as calls in hand."""
        self._calls = calls
        self._open: set[Conversation] = set()
        self._draining = False

    def drain(self) -> None:
        """Ends each stream when all that was taken of it is answered, and new ones at once."""
        self._draining = True
        for conversation in self._open:
            conversation.drain()

    def serve(self, handler: StreamHandler) -> Callable[[Any, _Context], Awaitable[None]]:
        """A method of grpc.aio that carries the streams of a handler."""

        async def serve(requests: object, context: _Context) -> None:
            self._calls.begin(context)
            conversation = Conversation(handler, context)
            self._open.add(conversation)
            if self._draining:
                conversation.drain()
            try:
                await conversation.run()
            finally:
                self._open.discard(conversation)

        return serve


class Conversation:
    """One stream on its context."""

    def __init__(self, handler: StreamHandler, context: _Context) -> None:
        self._context = context
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._draining = False
        metadata = text_metadata(context.invocation_metadata())
        self._stream = handler(metadata, expiry(context.time_remaining()), self._news.set)

    def drain(self) -> None:
        """Takes nothing more of it, and ends it when all that was taken is answered."""
        self._draining = True
        self._news.set()

    async def run(self) -> None:
        """Reads and sends until the stream ends."""
        reader = asyncio.create_task(self._read())
        reader.add_done_callback(lambda _: self._news.set())
        try:
            status = await self._send(reader)
        finally:
            self._stream.cancel()
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        if status is not None:
            await self._context.abort(grpc.StatusCode[status.code], status.message, tuple(status.trailers.items()))

    async def _read(self) -> bool:
        """Reads messages, while the stream has room; returns whether up to the client's last one.

        In a drain it ends with the next: that is not taken, and the stream's status says that it was not.
        """
        while True:
            while self._stream.full:
                self._room.clear()
                await self._room.wait()
            message = await self._context.read()
            if message is grpc.aio.EOF:
                return True
            if self._draining:
                return False
            self._stream.take(message)

    async def _send(self, reader: "asyncio.Task[bool]") -> Status | None:
        """Sends answers until the stream is over; returns the status it ends with, None is OK."""
        while True:
            self._news.clear()
            while (response := self._stream.next_response()) is not None:
                # One at a time: a client that does not read holds its own stream back.
                await self._context.write(response)
                self._room.set()
            if self._stream.status is not None:
                return self._stream.status
            if self._stream.empty:
                if reader.done() and reader.result():
                    return None
                if self._draining:
                    return Status(ShuttingDown.code, "the server is shutting down and has ended the stream", {})
            await self._news.wait()
