"""The transport on pygrpc-native: HTTP/2 and gRPC run in Rust threads, outside the interpreter's lock. Server process.

    Rust threads    frames, flow control, deadlines, cancellation
    receiving       one thread: waits for calls, and wakes the event loop once for all that came together; while many
                    are refused it lets them gather
    event loop      answers each call by its number

Unary methods of the service run here; all else (streams, health, reflection, methods that are not served) goes to a
grpcio server behind it, on a Unix socket.
"""

import asyncio
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import grpc
from pygrpc_native import EVENT_CALL, NativeGrpcFront

from quadriga.access import Guard
from quadriga.addresses import join_address, listen
from quadriga.config import ServerConfig
from quadriga.errors import Overloaded, ShuttingDown
from quadriga.transports import Call, Handler, Services, expiry, handle, text_metadata
from quadriga.transports.delivery import delivered
from quadriga.transports.gathering import Gathering
from quadriga.transports.grpcio import (
    LAST_RESPONSE_SECONDS,
    add_streams_and_standard_services,
    interceptors,
    message_options,
    metadata_options,
)
from quadriga.transports.in_hand import CallsInHand
from quadriga.transports.streams import StreamsInHand
from quadriga.unary import fail

#: Calls that are received at a time.
MOST_CALLS: Final = 64
#: Calls that the event loop begins in one turn. With all that have come, a flood would make turns so long that workers
#: wait for their next batch.
TURN_CALLS: Final = 128
#: One is enough for what two cores' worth of Python can answer; more would take those cores.
IO_THREADS: Final = 1
_CODES: Final[dict[str, int]] = {code.name: code.value[0] for code in grpc.StatusCode}
_MS_PER_SECOND: Final = 1_000
_DRAIN_LOOK_SECONDS: Final = 0.01
#: Some two seconds in which callers are refused: from then on what they have under way hides nothing else.
_MOST_CROWDED_LOOKS: Final = 200

_Metadata = Sequence[tuple[str, str | bytes]]
_Details = tuple[_Metadata, str, float | None]
_Event = tuple[int, int, int, bytes | None, bytes | str | None, _Details | None]


class NativeCall:
    """A call that waits for its answer in Rust.

    Attributes:
        number: By which Rust knows it.
        counted: Its bytes among those in hand; none once it has ended.
    """

    __slots__ = ("_details", "_transport", "cancelled", "counted", "expires_ns", "number", "request")

    def __init__(self, transport: "NativeTransport", number: int, request: bytes, details: _Details) -> None:
        self.request = request
        self.number = number
        self.counted = 0
        self.cancelled = False
        self._transport = transport
        self._details = details
        self.expires_ns = expiry(details[2])

    def metadata(self) -> Mapping[str, str]:
        """See `Call.metadata`."""
        return text_metadata(self._details[0])

    def respond(self, response: bytes) -> None:
        """See `Call.respond`."""
        self._transport.respond(self, response)

    def fail(self, code: str, message: str, trailers: Mapping[str, str] | None = None) -> None:
        """See `Call.fail`."""
        self._transport.fail(self, code, message, trailers)


class NativeTransport:
    """The Rust server carrying the service, and grpcio behind it for all else."""

    def __init__(self, config: ServerConfig, services: Services) -> None:
        """Prepares a server for an address."""
        self._config = config
        methods = {
            f"/{service}/{name}": handler
            for service, table in services.unary.items()
            for name, handler in table.items()
        }
        self._paths = list(methods)
        self._handlers = [guarded(services.guard, path, handler) for path, handler in methods.items()]
        self._most_bytes = config.max_message_bytes
        self._pending = services.pending
        self._calls_behind = CallsInHand()
        self._streams = StreamsInHand(self._calls_behind)
        # The front counts metadata first; what it adds on the way must not tip the scales here.
        options = (*message_options(config), *metadata_options(2 * config.max_metadata_bytes))
        self._fallback = grpc.aio.server(options=options, interceptors=interceptors(services.guard))
        add_streams_and_standard_services(self._fallback, services, self._streams)
        self._front: NativeGrpcFront | None = None
        self._calls: dict[int, NativeCall] = {}
        self._events: deque[_Event] = deque()
        self._woken = False
        self._stopping = False
        self._refused = 0
        self._closing = asyncio.Lock()

    async def start(self) -> int:
        """See `Transport.start`."""
        config = self._config
        with listen(config.host, config.grpc_port, "--grpc-port") as probe:
            address = probe.getsockname()
        front = NativeGrpcFront(
            join_address(address[0], config.grpc_port),
            [(path, False) for path in self._paths],
            io_threads=IO_THREADS,
            call_details=True,
            metrics=True,
            keepalive_time_ms=int(config.keepalive_seconds * _MS_PER_SECOND),
            keepalive_timeout_ms=int(config.keepalive_timeout_seconds * _MS_PER_SECOND),
            max_concurrent_streams=config.max_streams,
            max_metadata_size=config.max_metadata_bytes,
        )
        # An abstract name: no file that could be left behind. Programs of this machine find it in /proc/net/unix; the
        # guard is there too, but not the front's limits on connections.
        name = f"quadriga-{os.getpid()}-{secrets.token_hex(16)}"
        self._fallback.add_insecure_port(f"unix-abstract:{name}")
        await self._fallback.start()
        front.set_fallback(f"\0{name}")
        front.start()
        self._front = front
        receive = (front, asyncio.get_running_loop())
        threading.Thread(target=self._receive, args=receive, name="quadriga-calls", daemon=True).start()
        return front.bound_port

    def drain(self) -> None:
        """See `Transport.drain`; from now on new calls are refused here."""
        self._stopping = True
        self._streams.drain()

    async def stop(self, grace_seconds: float) -> None:
        """See `Transport.stop`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                while self._calls:  # noqa: ASYNC110 - nothing on the hot path is there to tell of the last one
                    await asyncio.sleep(_DRAIN_LOOK_SECONDS)
                await self._calls_behind.ended()
                await self._sent()
                if self._front is not None:
                    await delivered(self._front.bound_port)
        for call in list(self._calls.values()):
            call.fail(ShuttingDown.code, "the server stopped before the request was answered")
        async with self._closing:
            if self._front is not None:
                # Those who watch the health are to hear of the end before it comes, through the front as well.
                last_words = min(grace_seconds, LAST_RESPONSE_SECONDS)
                await self._fallback.stop(last_words)
                with suppress(TimeoutError):
                    async with asyncio.timeout(last_words):
                        await delivered(self._front.bound_port)
                await asyncio.to_thread(self._front.close)
                self._front = None

    def respond(self, call: NativeCall, response: bytes) -> None:
        """Answers a call, unless its caller has gone."""
        if self._end(call) and self._front is not None:
            self._front.respond(call.number, response)

    def fail(self, call: NativeCall, code: str, message: str, trailers: Mapping[str, str] | None) -> None:
        """Ends a call with a status, unless its caller has gone."""
        self._refused += code == Overloaded.code  # as with all that is refused for the server's state
        if self._end(call) and self._front is not None:
            self._front.fail(call.number, _CODES[code], message, list(trailers.items()) if trailers else None)

    def _end(self, call: NativeCall) -> bool:
        """Gives a call's bytes back; returns whether its caller waits."""
        size, call.counted = call.counted, 0
        if self._calls.pop(call.number, None) is None:
            self._pending.drop(size)
            return False
        self._pending.now -= size
        return True

    async def _sent(self) -> None:
        """Waits until Rust has sent all responses, as far as the refusals of callers who try on let it see that."""
        crowded = 0
        while self._under_way() and crowded < _MOST_CROWDED_LOOKS:
            refused = self._refused
            await asyncio.sleep(_DRAIN_LOOK_SECONDS)
            crowded += self._refused > refused

    def _under_way(self) -> int:
        """Calls of the service that have begun and whose responses are not all sent, by the Rust server's own counts.

        Closing it cuts off a response on its way, and one that was handed over may be large and its client slow.
        """
        counts = self._front.metrics() if self._front is not None else None
        if counts is None:
            return 0
        methods = [counts["methods"][path] for path in self._paths]
        started: int = sum(method["started"] for method in methods)
        ended: int = sum(status["count"] for method in methods for status in method["status"].values())
        return started - ended

    def _receive(self, front: NativeGrpcFront, loop: asyncio.AbstractEventLoop) -> None:
        """Hands calls to the event loop; in a thread of its own, until the front is closed."""
        gathering = Gathering()
        while (events := front.recv_batch_details(MOST_CALLS)) is not None:
            self._events.extend(events)
            if not self._woken:  # else it has not looked yet
                self._woken = True
                try:
                    loop.call_soon_threadsafe(self._take, loop)
                except RuntimeError:  # the loop was closed without a stop
                    return
            seconds = gathering.seconds(time.monotonic_ns(), self._refused)
            if seconds and len(events) < MOST_CALLS:  # with more, enough have gathered
                time.sleep(seconds)

    def _take(self, loop: asyncio.AbstractEventLoop) -> None:
        self._woken = False
        for _ in range(min(len(self._events), TURN_CALLS)):
            kind, call_id, method, request, _, details = self._events.popleft()
            if kind != EVENT_CALL or request is None or details is None:
                self._cancel(call_id)
            else:
                self._begin(NativeCall(self, call_id, request, details), self._handlers[method])
        if self._events and not self._woken:
            self._woken = True
            loop.call_soon(self._take, loop)

    def _begin(self, call: NativeCall, handler: Handler) -> None:
        size = len(call.request)
        refusal = self._pending.refusal(size)
        self._calls[call.number] = call
        call.counted = size
        self._pending.now += size
        if self._stopping:
            call.fail(ShuttingDown.code, str(ShuttingDown()))
        elif size > self._most_bytes:
            text = f"the request has {size} bytes, more than the {self._most_bytes} that this server takes"
            call.fail("RESOURCE_EXHAUSTED", text)
        elif refusal is not None:
            fail(call, refusal)
        else:
            handle(handler, call)

    def _cancel(self, call_id: int) -> None:
        """The caller has gone, or its deadline has passed."""
        call = self._calls.pop(call_id, None)
        if call is not None:
            self._pending.abandon(call.counted)
            call.cancelled = True


def guarded(guard: Guard | None, path: str, handler: Handler) -> Handler:
    """A handler behind the guard, or the handler itself where its rpc is open."""
    if guard is None or guard.is_open(path):
        return handler

    def check(call: Call) -> None:
        error = guard.refusal(path, call.metadata())
        if error is None:
            handler(call)
        else:
            call.fail(error.code, str(error))

    return check
