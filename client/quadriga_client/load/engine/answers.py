"""What a server sends on a connection, as far as it concerns requests: headers, data, resets. Generator processes.

Of answers only the frames' headers and the status are looked at.
"""

import time
from typing import Final, Protocol

from quadriga_client.load.engine.frame_writer import FrameWriter
from quadriga_client.load.engine.frames import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    HEADERS,
    LARGEST_WINDOW,
    PADDED,
    REFUSED_STREAM,
    RST_STREAM,
    WINDOW_UPDATE,
    FrameReader,
    number_frame,
    number_in,
    unpadded,
)
from quadriga_client.load.engine.headers import Heads, code_of_reset
from quadriga_client.load.engine.stream_table import StreamTable
from quadriga_client.load.errors import ProtocolError

#: Of the connection's window that is used before the server gets it back.
MOST_UNACKNOWLEDGED: Final = LARGEST_WINDOW // 2


class TakeOther(Protocol):
    """Takes a frame that is none of an answer's."""

    def __call__(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """By its kind, its flags and its stream."""


class AnswerReader:
    """Takes frames from a socket; those that complete answers end requests."""

    def __init__(self, reader: FrameReader, writer: FrameWriter, table: StreamTable) -> None:
        """What the server has to be told goes to the writer."""
        self._reader = reader
        self._writer = writer
        self._table = table
        self._heads = Heads()
        self._block: tuple[int, int, bytes] | None = None  # of headers that are to be continued: stream, flags, bytes
        self._unacknowledged = 0

    @property
    def has_any(self) -> bool:
        """Whether there was an answer."""
        return bool(self._heads)

    def read(self, take_other: TakeOther) -> None:
        """Takes what came, for one turn.

        Args:
            take_other: Takes the frames that concern no request.

        Raises:
            EOFError: The server closed the connection.
            OSError: It is broken.
            ProtocolError: It does not keep to HTTP/2.
        """
        reader, taken = self._reader, 0
        while size := reader.read():
            self._table.now_ns = time.monotonic_ns()
            self._take_frames(take_other)
            taken += size
            if not reader.goes_on(taken):
                return

    def _take_frames(self, take_other: TakeOther) -> None:
        streams, view = self._table.open, self._reader.view
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
                elif flags & END_STREAM:
                    self._forget(number)
            elif kind == HEADERS and flags & ~END_STREAM == END_HEADERS and self._block is None:
                self._take_head(number, bytes(view[start:end]), flags & END_STREAM)
            else:
                self._take_rare(take_other, kind, flags, number, start, end)
        if self._unacknowledged > MOST_UNACKNOWLEDGED:
            self._writer.put(number_frame(WINDOW_UPDATE, 0, self._unacknowledged))
            self._unacknowledged = 0

    def _take_rare(self, take_other: TakeOther, kind: int, flags: int, number: int, start: int, end: int) -> None:
        """Frames that seldom come."""
        view = self._reader.view
        if self._block is not None or kind == CONTINUATION:
            self._continue(kind, flags, number, bytes(view[start:end]))
        elif kind == HEADERS:
            start, end = unpadded(view, flags & (PADDED | HAS_PRIORITY), start, end)
            self._block = (number, flags & END_STREAM, b"")
            self._continue(CONTINUATION, flags, number, bytes(view[start:end]))
        elif kind == RST_STREAM:
            self._take_reset(number, number_in(view[start:end]))
        else:
            take_other(kind, flags, number, bytes(view[start:end]))

    def _continue(self, kind: int, flags: int, number: int, piece: bytes) -> None:
        """A piece of headers, the first or a later one."""
        if self._block is None or kind != CONTINUATION or number != self._block[0]:
            raise ProtocolError("it broke off headers, or continued none")
        _, ends, before = self._block
        self._block = (number, ends, before + piece)
        if not flags & END_HEADERS:
            return
        block, self._block = self._block[2], None
        self._take_head(number, block, ends)

    def _take_head(self, number: int, block: bytes, ends: int) -> None:
        """A complete header block: before an answer's data, or after it."""
        stream = self._table.open.get(number)
        if stream is None:
            if ends:
                self._forget(number)
            return
        head = self._heads(block)
        if ends:
            self._end(number, stream.code_after(head))
        elif not head.interim:
            stream.code = head.code

    def _take_reset(self, number: int, error: int) -> None:
        """The server has ended a stream."""
        self._writer.drop_body(number)
        if number not in self._table.open:
            self._table.forget(number)
        elif error == REFUSED_STREAM:
            self._table.refuse(number)
        else:
            self._table.end(number, code_of_reset(error))

    def _end(self, number: int, code: int) -> None:
        self._table.end(number, code)
        if self._writer.drop_body(number):  # answered before it was all sent
            self._cancel(number)

    def _forget(self, number: int) -> None:
        if self._table.forget(number):
            self._cancel(number)

    def _cancel(self, number: int) -> None:
        self._writer.put(number_frame(RST_STREAM, number, CANCEL))
