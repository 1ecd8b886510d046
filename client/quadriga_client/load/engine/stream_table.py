"""The requests of one connection: those that wait, those with a stream, and those that nobody waits for. Pure."""

from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from quadriga_client.load.engine.streams import Ended, Stream
from quadriga_client.load.status_codes import DEADLINE_EXCEEDED, UNAVAILABLE

#: From a request's timeout until its stream is reset. Servers learn of the timeout and end streams themselves; a client
#: that resets many is one that they shut out.
GRACE_NS: Final = 5_000_000_000


class StreamTable:
    """What has begun on the wire has a number; what a timeout ends keeps it until the server is through with it.

    Attributes:
        most: Streams that may be open at once.
        open: Number -> request whose answer is awaited, in the order in which they were begun.
        waiting: Requests that have no stream yet.
        refused: Requests that the server did not look at: another connection may send them.
        now_ns: When what is taken now was read.
    """

    def __init__(self, timeout_ns: int, most: int) -> None:
        self.most = most
        self.open: dict[int, Stream] = {}
        self.waiting: deque[Stream] = deque()
        self.refused: list[Stream] = []
        self.now_ns = 0
        self._timeout_ns = timeout_ns
        self._ended: list[Ended] = []
        self._given_up: dict[int, int] = {}  # number -> when it is reset
        self._cut: set[int] = set()  # of these, those whose requests were not all sent
        self._in_order = True  # whether `open` is in the order in which its requests were asked for, too

    @property
    def has_room(self) -> bool:
        """Whether another stream may be opened."""
        return len(self.open) + len(self._given_up) < self.most

    def end(self, number: int, code: int) -> None:
        """An open stream's request has ended."""
        stream = self.open.pop(number)
        self._ended.append(Ended(stream.request, code, stream.received, self.now_ns))

    def cut(self, number: int) -> None:
        """Of a stream that was given up, the rest is not sent."""
        self._cut.add(number)

    def forget(self, number: int) -> bool:
        """The server has ended a stream that is not open here, one that was given up or none; whether it was cut."""
        if self._given_up.pop(number, None) is None or number not in self._cut:
            return False
        self._cut.remove(number)
        return True

    def refuse(self, number: int) -> None:
        """The server has not looked at an open stream. The request is UNAVAILABLE when that happens again."""
        stream = self.open[number]
        if stream.refused:
            self.end(number, UNAVAILABLE)
            return
        del self.open[number]
        stream.refused = True
        self.refused.append(stream)

    def refuse_above(self, last: int) -> list[int]:
        """The server does not look at streams above that number; those that were open."""
        numbers = [number for number in self.open if number > last]
        for number in numbers:
            self.refuse(number)
        for number in [number for number in self._given_up if number > last]:
            self.forget(number)
        return numbers

    def take_ended(self) -> list[Ended]:
        """The requests that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def give_up(self, now_ns: int) -> list[int]:
        """Ends what has taken too long, as DEADLINE_EXCEEDED; the streams whose requests these were."""
        self.now_ns = now_ns
        before = now_ns - self._timeout_ns
        late = []
        for number, stream in self.open.items():
            if stream.asked_ns <= before:
                late.append(number)
            elif self._in_order:
                break
        for number in late:
            self.end(number, DEADLINE_EXCEEDED)
            self._given_up[number] = now_ns + GRACE_NS
        while self.waiting and self.waiting[0].asked_ns <= before:
            self._ended.append(Ended(self.waiting.popleft().request, DEADLINE_EXCEEDED, 0, now_ns))
        return late

    def take_overdue(self, now_ns: int) -> list[int]:
        """Streams that were given up, and that the server has not ended since: they are to be reset."""
        numbers = list(takewhile(lambda number: self._given_up[number] <= now_ns, self._given_up))
        for number in numbers:
            self.forget(number)
        return numbers

    def take_refused(self, *, waiting: bool) -> list[Stream]:
        """What another connection may send, in the order in which it was asked for.

        Args:
            waiting: Whether that includes the requests that have no stream yet.
        """
        refused, self.refused = self.refused, []
        if waiting:
            refused += self.waiting
            self.waiting.clear()
        return refused

    def resend(self, streams: Sequence[Stream]) -> None:
        """Takes requests of another connection, each of which waits as if it had been asked for here."""
        self._in_order = self._in_order and not self.open
        self.waiting = deque(sorted((*streams, *self.waiting), key=lambda stream: stream.asked_ns))

    def abandon(self, now_ns: int) -> list[Ended]:
        """Ends everything, as UNAVAILABLE; that, and what had ended before."""
        ended = self.take_ended()
        for stream in (*self.refused, *self.open.values(), *self.waiting):
            ended.append(Ended(stream.request, UNAVAILABLE, stream.received, now_ns))
        for each in (self.refused, self.open, self.waiting, self._given_up, self._cut):
            each.clear()
        return ended
