"""One HTTP/2 connection for one unary rpc of gRPC, as cheap as Python can be. Generator processes, one thread.

A general client spends its time on what a load generator does not need: header tables, messages as objects, an event
loop per call. Here requests are frames that lie ready, into which a stream's number is written; of answers only the
frames' headers and the status are looked at. RFC 9113 has the frames, gRPC's doc/PROTOCOL-HTTP2.md their use.
"""

import select
import socket
import time
from collections import deque
from typing import Final

from quadriga_client.load.dialing import dial
from quadriga_client.load.errors import ConnectionLost, LoadError, ProtocolError
from quadriga_client.load.frame_writer import FrameWriter
from quadriga_client.load.frames import (
    ACK,
    CANCEL,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FIRST_TABLE_BYTES,
    FIRST_WINDOW,
    GOAWAY,
    HAS_PRIORITY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_STREAM,
    LARGEST_WINDOW,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    NO_TABLE,
    PADDED,
    PING,
    PREFACE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameReader,
    frame,
    number_frame,
    settings_frame,
    unpadded,
)
from quadriga_client.load.headers import (
    DEADLINE_EXCEEDED,
    UNAVAILABLE,
    Heads,
    code_of_reset,
    request_block,
)
from quadriga_client.load.streams import Ended as Ended
from quadriga_client.load.streams import Stream, Template
from quadriga_client.load.target import LoadTarget

#: Until a connection stands and both sides know the other's settings.
CONNECT_SECONDS: Final = 10.0
#: Of what a server gives as its reason to go, in bytes.
MOST_REASON: Final = 200


class Connection:
    """Sends requests and counts answers; never blocks after `open`, sends no more than windows and streams allow."""

    @classmethod
    def open(cls, target: LoadTarget, *, most_streams: int = LARGEST_STREAM) -> "Connection":
        """Connects, and waits until both sides know the other's settings.

        Args:
            target: What to send, and where to.
            most_streams: That may be under way at once, where the server allows more.

        Raises:
            LoadError: Nobody listens there, TLS fails, or the server does not speak HTTP/2.
        """
        connection = cls(dial(target, CONNECT_SECONDS), target, most_streams=most_streams)
        try:
            connection.greet(CONNECT_SECONDS)
        except BaseException:
            connection.close()
            raise
        return connection

    def __init__(self, connected: socket.socket, target: LoadTarget, *, most_streams: int = LARGEST_STREAM) -> None:
        """Takes over a connected socket that does not block."""
        self._socket = connected
        self._url = target.url
        self._timeout_ns = round(target.timeout * 1e9)
        block = request_block(target)
        self._templates = [Template(block, message) for message in target.requests]
        self._reader = FrameReader(connected)
        self._writer = FrameWriter(connected)
        self._heads = Heads()
        self._allowed_streams = self._most_streams = most_streams
        self._next_stream = 1
        self._streams: dict[int, Stream] = {}
        self._waiting: deque[Stream] = deque()
        self._ended: list[Ended] = []
        self._block: tuple[int, int, bytes] | None = None  # of headers that are to be continued: stream, flags, bytes
        self._unacknowledged = 0
        self._settings_missing = 2  # theirs, and their acknowledgement of ours
        self._forget_table = False
        self.going_away = False
        self._greeting()

    def fileno(self) -> int:
        """Of the socket."""
        return self._socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether bytes wait for the socket."""
        return self._writer.waits

    @property
    def accepts(self) -> bool:
        """Whether it may begin requests: the server has not said that it goes away, and there are numbers left."""
        return not self.going_away and self._next_stream <= LARGEST_STREAM

    @property
    def under_way(self) -> int:
        """Requests that have begun on the wire and not ended."""
        return len(self._streams)

    def send(self, request: int) -> None:
        """Queues `requests[request % len(requests)]`; `flush` sends it, as soon as windows and streams allow."""
        stream = Stream(request, time.monotonic_ns())
        if self._waiting or len(self._streams) >= self._most_streams or not self.accepts:
            self._waiting.append(stream)
        else:
            self._begin(stream)

    def flush(self) -> None:
        """Writes what the socket takes.

        Raises:
            ConnectionLost: It is broken.
        """
        try:
            self._writer.flush()
        except OSError as error:
            raise ConnectionLost(f"the connection to {self._url} broke: {error.strerror or error}") from error

    def receive(self) -> list[Ended]:
        """Reads what came; the requests that ended by it. What the server has to be told waits for `flush`.

        Raises:
            ConnectionLost: The server closed the connection; `abandon` has what was under way.
            ProtocolError: It does not keep to HTTP/2.
            LoadError: The server went away with an error.
        """
        try:
            while self._reader.read():
                self._take_frames()
                if not self._reader.expects_more:
                    break
        except EOFError as end:
            if not self._ended:
                raise ConnectionLost(f"the server at {self._url} closed the connection") from end
        except OSError as error:
            if not self._ended:
                raise ConnectionLost(f"the connection to {self._url} broke: {error.strerror or error}") from error
        except ProtocolError as error:
            raise ProtocolError(f"the server at {self._url} does not keep to HTTP/2: {error}") from error
        while self._waiting and len(self._streams) < self._most_streams and self.accepts:
            self._begin(self._waiting.popleft())
        ended, self._ended = self._ended, []
        return ended

    def expire(self, now_ns: int) -> list[Ended]:
        """Gives up what was sent longer ago than the timeout; these requests, as DEADLINE_EXCEEDED.

        Args:
            now_ns: `time.monotonic_ns`.
        """
        before = now_ns - self._timeout_ns
        late = []
        for number, stream in self._streams.items():  # in the order in which they were begun
            if stream.asked_ns > before:
                break
            late.append(number)
        ended = [Ended(self._streams[number].request, DEADLINE_EXCEEDED, 0) for number in late]
        for number in late:
            del self._streams[number]
            self._cancel(number)
        while self._waiting and self._waiting[0].asked_ns <= before:
            ended.append(Ended(self._waiting.popleft().request, DEADLINE_EXCEEDED, 0))
        return ended

    def abandon(self) -> list[Ended]:
        """Everything under way or waiting, as UNAVAILABLE, and what `receive` could not say: for a lost connection."""
        ended, self._ended = self._ended, []
        ended += [Ended(each.request, UNAVAILABLE, each.received) for each in (*self._streams.values(), *self._waiting)]
        self._streams.clear()
        self._waiting.clear()
        return ended

    def take_waiting(self) -> list[int]:
        """Takes back the requests that have not begun, for another connection to send."""
        waiting = [stream.request for stream in self._waiting]
        self._waiting.clear()
        return waiting

    def close(self) -> None:
        """Closes the socket; a server needs no more of a goodbye."""
        self._socket.close()

    def greet(self, seconds: float) -> None:
        """Waits until settings were exchanged and acknowledged.

        Raises:
            LoadError: They were not, in time.
        """
        end = time.monotonic() + seconds
        while self._settings_missing:
            self.flush()
            left = end - time.monotonic()
            if left <= 0:
                raise LoadError(f"the server at {self._url} did not answer with HTTP/2 settings within {seconds:.0f} s")
            select.select([self], [self] if self.wants_to_write else [], [], left)
            self.receive()
        self.flush()

    def _greeting(self) -> None:
        ours = {HEADER_TABLE_SIZE: 0, ENABLE_PUSH: 0, INITIAL_WINDOW_SIZE: LARGEST_WINDOW}
        self._writer.put(PREFACE + settings_frame(ours))
        self._writer.put(number_frame(WINDOW_UPDATE, 0, LARGEST_WINDOW - FIRST_WINDOW))

    def _begin(self, stream: Stream) -> None:
        number = self._next_stream
        self._next_stream = number + 2
        self._streams[number] = stream
        template = self._templates[stream.request % len(self._templates)]
        if self._writer.takes(len(template.body)) and not self._forget_table:
            self._writer.put_whole(template.head(number), template.body)
            return
        block = NO_TABLE + template.block if self._forget_table else template.block
        self._forget_table = False
        self._put_headers(number, block)
        self._writer.put_body(number, template.body)

    def _put_headers(self, number: int, block: bytes) -> None:
        self._writer.put(frame(HEADERS, END_HEADERS, number, block))

    def _take_frames(self) -> None:
        """Takes what `_reader` has; answers that are complete go to `_ended`."""
        streams, view = self._streams, self._reader.view
        for kind, flags, number, start, end in self._reader.frames():
            if kind == DATA:
                self._unacknowledged += end - start
                stream = streams.get(number)
                if flags & PADDED:
                    start, end = unpadded(view, PADDED, start, end)
                if stream is not None:
                    stream.received += end - start
                    if flags & END_STREAM:  # without a status
                        self._end(number, stream.code_without_status())
            elif kind == HEADERS and flags & ~END_STREAM == END_HEADERS and self._block is None:
                stream = streams.get(number)
                if stream is not None:
                    self._take_head(number, stream, bytes(view[start:end]), flags & END_STREAM)
            else:
                self._take_other(kind, flags, number, start, end)
        if self._unacknowledged > LARGEST_WINDOW // 2:
            self._writer.put(number_frame(WINDOW_UPDATE, 0, self._unacknowledged))
            self._unacknowledged = 0

    def _take_other(self, kind: int, flags: int, number: int, start: int, end: int) -> None:
        """Frames that seldom come."""
        view = self._reader.view
        if self._settings_missing == 2 and kind != SETTINGS:
            raise ProtocolError("it did not begin with settings")
        if self._block is not None or kind == CONTINUATION:
            self._continue(kind, flags, number, bytes(view[start:end]))
        elif kind == HEADERS:
            start, end = unpadded(view, flags & (PADDED | HAS_PRIORITY), start, end)
            self._block = (number, flags & END_STREAM, b"")
            self._continue(CONTINUATION, flags, number, bytes(view[start:end]))
        elif kind == RST_STREAM:
            if number in self._streams:
                self._end(number, code_of_reset(self._reader.number(start, end)))
        elif kind == WINDOW_UPDATE:
            self._writer.widen(number, self._reader.number(start, end) & LARGEST_WINDOW)
            self._writer.fill()
        elif kind == SETTINGS:
            self._take_settings(flags, bytes(view[start:end]))
        elif kind == PING and not flags & ACK:
            self._writer.put(frame(PING, ACK, 0, bytes(view[start:end])))
        elif kind == GOAWAY:
            last, error = self._reader.number(start, end), self._reader.number(start + 4, end)
            self._go_away(last, error, bytes(view[start + 8 : end]))
        elif kind == PUSH_PROMISE:
            raise ProtocolError("it pushes, though it was told not to")

    def _continue(self, kind: int, flags: int, number: int, piece: bytes) -> None:
        """A piece of headers, the first or a later one."""
        if self._block is None or kind != CONTINUATION or number != self._block[0]:
            raise ProtocolError("it broke off headers, or continued none")
        _, ends, before = self._block
        self._block = (number, ends, before + piece)
        if not flags & END_HEADERS:
            return
        block, self._block = self._block[2], None
        stream = self._streams.get(number)
        if stream is not None:
            self._take_head(number, stream, block, ends)

    def _take_head(self, number: int, stream: Stream, block: bytes, ends: int) -> None:
        """A complete header block: before an answer's data, or after it."""
        head = self._heads(block)
        if ends:
            self._end(number, stream.code_after(head))
        elif not head.interim:
            stream.code = head.code

    def _take_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            self._settings_missing -= self._settings_missing == 1
            return
        for key, value in self._writer.settle(payload):
            if key == MAX_CONCURRENT_STREAMS:
                self._most_streams = min(value, self._allowed_streams)
            elif key == HEADER_TABLE_SIZE:
                self._forget_table = value < FIRST_TABLE_BYTES
        self._settings_missing -= self._settings_missing == 2
        self._writer.fill()

    def _go_away(self, last: int, error: int, why: bytes) -> None:
        """The server takes no more; what it has not seen ends, the rest goes on."""
        if error != NO_ERROR:
            text = why[:MOST_REASON].decode(errors="replace")
            raise LoadError(f"the server at {self._url} ended the connection with error {error}: {text!r}")
        self.going_away = True
        for number in [number for number in self._streams if number > last]:
            self._end(number, UNAVAILABLE)

    def _end(self, number: int, code: int) -> None:
        stream = self._streams.pop(number)
        self._ended.append(Ended(stream.request, code, stream.received))
        if self._writer.drop_body(number):  # answered before it was all sent
            self._cancel(number)

    def _cancel(self, number: int) -> None:
        self._writer.drop_body(number)
        self._writer.put(number_frame(RST_STREAM, number, CANCEL))
