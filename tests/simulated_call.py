"""A request in a simulated world of scheduling and who waits for it: one object, which knows how it may end."""

import math
from collections.abc import Hashable, Sequence
from enum import Enum, auto
from typing import Protocol

import numpy as np

from quadriga.errors import Cancelled, DeadlineExceeded, InferenceFailed, ModelNotReady, RequestError, WorkerLost
from quadriga.requests import Course, Output, Request


class Stage(Enum):
    """Where a request is."""

    WAITING = auto()
    AT_WORKER = auto()
    AGAIN = auto()  # not done with, and waits to be run again
    HELD = auto()  # done with, and waits for its turn to be answered
    ENDED = auto()


class Listener(Protocol):
    """Who is told of ends and faults."""

    @property
    def now(self) -> int:
        """The time."""

    def expect(self, holds: bool, otherwise: str) -> None:
        """Notes a fault where something does not hold."""

    def known(self, call: "SimulatedCall") -> bool:
        """Whether the same bytes have cost workers too often."""

    def ended(self, call: "SimulatedCall", error: RequestError | None) -> None:
        """A call has ended."""


class SimulatedCall:
    """A request and who waits for it, with what the world knows of it.

    Attributes:
        number: In the order of arrival.
        shape: Of its only input, whole.
        rows: How many it has.
        key: What requests that share a batch have in common.
        level: Its priority level.
        arrived_ns: When it came.
        expires_ns: When it is of no use any more; 0: never.
        nature: What it does to a worker that runs it: "good", "raises", "kills" or "hangs".
        encore: Whether another one comes the moment it ends.
        cancelled: Whether nobody waits any more.
        data: Its only input.
        stage: Where it is.
        place: The number of the first batch that it was in and its place there; None before.
        losses: How many workers were lost while they ran it.
        guilty: Whether it was alone with the last of too many.
        blamed: Whether it failed by itself, or with a batch that could not be answered.
        computed: Whether a worker has run it since it was sent there last.
        given_up: Whether it was waiting when all that waited was given up.
    """

    def __init__(
        self,
        listener: Listener,
        number: int,
        shape: tuple[int, ...],
        *,
        batches: bool,
        level: int,
        nature: str,
        encore: bool,
    ) -> None:
        self.number = number
        self.shape = shape
        self.rows = shape[0] if batches else 1
        self.key: Hashable = shape[1:] if batches else shape
        self.level = level
        self.arrived_ns = listener.now
        self.expires_ns = 0
        self.nature = nature
        self.encore = encore
        self.cancelled = False
        # What costs workers is the same each time, so that it may be known.
        first = self.number << 20 if nature == "good" else -1
        values = np.arange(first, first + math.prod(shape), dtype=np.int64)
        self.data = values.tobytes()
        self.stage = Stage.WAITING
        self.place: tuple[int, int] | None = None
        self.losses = 0
        self.guilty = False
        self.blamed = False
        self.computed = False
        self.given_up = False
        self._answer = ((~values).tobytes(), shape)
        self._listener = listener

    def __repr__(self) -> str:
        return f"call {self.number} ({self.stage.name}, {self.nature}, {self.shape}, level {self.level})"

    def dead(self, now: int) -> bool:
        """Whether running it would help nobody."""
        return self.cancelled or 0 < self.expires_ns <= now

    def answer(self, outputs: Sequence[Output], course: Course) -> None:
        """See `Caller.answer`."""
        expect, now = self._listener.expect, self._listener.now
        expect(self.stage is Stage.HELD and self.computed, f"{self} is answered without having been run")
        expect(not self.cancelled, f"{self} is answered though nobody waits")
        answers = [(output.raw.tobytes(), output.shape) for output in outputs]
        expect(answers == [self._answer], f"{self} is answered with what is not its own")
        expect(self.arrived_ns <= course.popped_ns <= now, f"{self} left the queue at {course.popped_ns}")
        self._listener.ended(self, None)

    def fail(self, error: RequestError) -> None:
        """See `Caller.fail`."""
        self._listener.expect(self.stage is not Stage.ENDED, f"{self} fails after its end: {error}")
        self._listener.expect(self._may_fail(error), f"{self} fails without reason: {type(error).__name__}: {error}")
        self._listener.ended(self, error)

    def _may_fail(self, error: RequestError) -> bool:
        match error:
            case DeadlineExceeded():
                return 0 < self.expires_ns <= self._listener.now
            case Cancelled():
                return self.cancelled
            case WorkerLost():
                return self.guilty or (self.losses > 0 and self._listener.known(self))
            case InferenceFailed():
                return self.blamed
            case ModelNotReady():
                return self.given_up
        return False


def call_of(request: Request) -> SimulatedCall:
    """The call that a request was made for."""
    caller = request.caller
    assert isinstance(caller, SimulatedCall)
    return caller
