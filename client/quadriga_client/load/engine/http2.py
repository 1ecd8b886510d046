"""One HTTP/2 connection for one unary rpc of gRPC, as cheap as Python can be. Generator processes, one thread.

A general client spends its time on what a load generator does not need: header tables, messages as objects, an event
loop per call. Here requests are frames that lie ready, into which a stream's number is written; `answers.py` reads what
comes back. RFC 9113 has the frames, gRPC's doc/PROTOCOL-HTTP2.md their use.
"""

import math
import select
import socket
import time
from collections.abc import Sequence
from typing import Final

from quadriga_client.load.engine.answers import AnswerReader
from quadriga_client.load.engine.dialing import dial
from quadriga_client.load.engine.frame_writer import FrameWriter
from quadriga_client.load.engine.frames import (
    ACK,
    CANCEL,
    ENABLE_PUSH,
    END_HEADERS,
    FIRST_TABLE_BYTES,
    FIRST_WINDOW,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_STREAM,
    LARGEST_WINDOW,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    NO_TABLE,
    PING,
    PREFACE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameReader,
    frame,
    number_frame,
    number_in,
    settings_frame,
)
from quadriga_client.load.engine.stream_table import StreamTable
from quadriga_client.load.engine.streams import Ended, Stream, Template
from quadriga_client.load.errors import ConnectionLost, LoadError, ProtocolError, SentAway
from quadriga_client.load.target import LoadTarget

#: Until a connection stands and both sides know the other's settings.
CONNECT_SECONDS: Final = 10.0
#: Of what a server gives as its reason to go, in bytes.
MOST_REASON: Final = 200


class Connection:
    """Sends requests and counts answers; never blocks after `open`, sends no more than windows and streams allow.

    Attributes:
        accepts: Whether it may begin requests: the server has not said that it goes away, and there are numbers left.
    """

    @classmethod
    def open(
        cls, target: LoadTarget, templates: Sequence[Template], *, most_streams: int = LARGEST_STREAM
    ) -> "Connection":
        """Connects, and waits until both sides know the other's settings.

        Args:
            target: Where to.
            templates: Its requests.
            most_streams: That may be under way at once, where the server allows more.

        Raises:
            LoadError: Nobody listens there, TLS fails, or the server does not speak HTTP/2.
        """
        connection = cls(dial(target, CONNECT_SECONDS), target, templates, most_streams=most_streams)
        try:
            connection.greet(CONNECT_SECONDS)
        except BaseException:
            connection.close()
            raise
        return connection

    def __init__(
        self,
        connected: socket.socket,
        target: LoadTarget,
        templates: Sequence[Template],
        *,
        most_streams: int = LARGEST_STREAM,
    ) -> None:
        """Takes over a connected socket that does not block."""
        self.accepts = True
        self._socket = connected
        self._url = target.url
        self._templates = templates
        self._reader = FrameReader(connected)
        self._writer = FrameWriter(connected)
        self._allowed_streams = most_streams
        self._table = StreamTable(round(target.timeout * 1e9), most_streams)
        self._answers = AnswerReader(self._reader, self._writer, self._table)
        self._next_stream = 1
        self._settings_missing = 2  # theirs, and their acknowledgement of ours
        self._forget_table = False
        self._greeting()

    def fileno(self) -> int:
        """Of the socket."""
        return self._socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether to call `flush`, and then `receive`, as soon as the socket can be written."""
        return self._writer.waits or self._reader.wants_to_write

    @property
    def has_answered(self) -> bool:
        """Whether the server has answered a request here."""
        return self._answers.has_any

    @property
    def has_refused(self) -> bool:
        """Whether `take_refused` has something without those that wait."""
        return bool(self._table.refused)

    @property
    def under_way(self) -> int:
        """Requests that have begun on the wire and not ended."""
        return len(self._table.open)

    def send(self, request: int) -> None:
        """Queues `requests[request % len(requests)]`; `flush` sends it, as soon as windows and streams allow."""
        table = self._table
        stream = Stream(request, time.monotonic_ns())
        if table.waiting or not table.has_room or not self.accepts:
            table.waiting.append(stream)
        else:
            self._begin(stream)

    def resend(self, streams: Sequence[Stream]) -> None:
        """Queues what `take_refused` of a connection has given; their timeouts go on."""
        self._table.resend(streams)
        self._begin_waiting()

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
            ConnectionLost: The server closed the connection; `abandon` has what had ended and what was under way.
            ProtocolError: It does not keep to HTTP/2; likewise.
        """
        try:
            self._answers.read(self._take)
        except EOFError as end:
            self.accepts = False
            raise ConnectionLost(f"the server at {self._url} closed the connection") from end
        except OSError as error:
            self.accepts = False
            raise ConnectionLost(f"the connection to {self._url} broke: {error.strerror or error}") from error
        except ProtocolError as error:
            self.accepts = False
            raise ProtocolError(f"the server at {self._url} does not keep to HTTP/2: {error}") from error
        self._begin_waiting()
        return self._table.take_ended()

    def expire(self, now_ns: int) -> list[Ended]:
        """Gives up what was asked for longer ago than the timeout; these requests, as DEADLINE_EXCEEDED.

        Args:
            now_ns: `time.monotonic_ns`.
        """
        for number in self._table.give_up(now_ns):
            if self._writer.drop_body(number):
                self._table.cut(number)
        for number in self._table.take_overdue(now_ns):
            self._writer.put(number_frame(RST_STREAM, number, CANCEL))
        self._begin_waiting()
        return self._table.take_ended()

    def abandon(self) -> list[Ended]:
        """Everything under way or waiting, as UNAVAILABLE, and what `receive` could not say: for a lost connection."""
        return self._table.abandon(time.monotonic_ns())

    def take_refused(self) -> list[Stream]:
        """Takes what the server did not look at, and, once this connection begins nothing more, what waits for it."""
        return self._table.take_refused(waiting=not self.accepts)

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
            poll = select.poll()  # select itself knows no files from number 1024 on
            poll.register(self, select.POLLIN | (select.POLLOUT if self.wants_to_write else 0))
            poll.poll(math.ceil(left * 1000))
            self.receive()
        self.flush()

    def _greeting(self) -> None:
        ours = {HEADER_TABLE_SIZE: 0, ENABLE_PUSH: 0, INITIAL_WINDOW_SIZE: LARGEST_WINDOW}
        self._writer.put(PREFACE + settings_frame(ours))
        self._writer.put(number_frame(WINDOW_UPDATE, 0, LARGEST_WINDOW - FIRST_WINDOW))

    def _begin_waiting(self) -> None:
        table = self._table
        while table.waiting and table.has_room and self.accepts:
            self._begin(table.waiting.popleft())

    def _begin(self, stream: Stream) -> None:
        number = self._next_stream
        self._next_stream = number + 2
        self.accepts = number + 2 <= LARGEST_STREAM
        self._table.open[number] = stream
        template = self._templates[stream.request % len(self._templates)]
        if self._writer.takes(len(template.body)) and not self._forget_table:
            self._writer.put_whole(template.head(number), template.body)
            return
        block = NO_TABLE + template.block if self._forget_table else template.block
        self._forget_table = False
        self._writer.put(frame(HEADERS, END_HEADERS, number, block))
        self._writer.put_body(number, template.body)

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Frames that concern the connection; unknown ones are ignored."""
        if self._settings_missing == 2 and kind not in (SETTINGS, GOAWAY):
            raise ProtocolError("it did not begin with settings")
        if kind == WINDOW_UPDATE:
            self._writer.widen(number, number_in(payload) & LARGEST_WINDOW)
            self._writer.fill()
        elif kind == SETTINGS:
            self._take_settings(flags, payload)
        elif kind == PING and not flags & ACK:
            self._writer.put(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self._go_away(number_in(payload), number_in(payload[4:]), payload[8:])
        elif kind == PUSH_PROMISE:
            raise ProtocolError("it pushes, though it was told not to")

    def _take_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            self._settings_missing -= self._settings_missing == 1
            return
        for key, value in self._writer.settle(payload):
            if key == MAX_CONCURRENT_STREAMS:
                self._table.most = min(value, self._allowed_streams)
            elif key == HEADER_TABLE_SIZE:
                self._forget_table = value < FIRST_TABLE_BYTES
        self._settings_missing -= self._settings_missing == 2
        self._writer.fill()

    def _go_away(self, last: int, error: int, why: bytes) -> None:
        """The server takes no more: it has not looked at streams after the last, and finishes the others."""
        self.accepts = False
        for number in self._table.refuse_above(last):
            self._writer.drop_body(number)
        if error != NO_ERROR:  # it closes the connection, and finishes nothing
            text = why[:MOST_REASON].decode(errors="replace")
            raise SentAway(f"the server at {self._url} ended the connection with error {error}: {text!r}")
