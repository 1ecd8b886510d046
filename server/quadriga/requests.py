"""A request on its way: admitted by the service, batched by the scheduler, answered to its caller. Server process."""

import time
from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol

from quadriga.batching import is_dead
from quadriga.counters import Phases
from quadriga.errors import Cancelled, DeadlineExceeded, RequestError

#: The whole shapes of a request's or a batch's inputs; None for one that is left out.
Shapes = tuple[tuple[int, ...] | None, ...]


class Output(NamedTuple):
    """One request's part of one output.

    Attributes:
        shape: Whole shape, batch dimension included.
        raw: Its raw encoding; a view of the slab, valid only during `Caller.answer`.
    """

    shape: tuple[int, ...]
    raw: "memoryview[int]"


class Timings(NamedTuple):
    """Where a request's time went, up to the moment its response is encoded.

    Attributes:
        queue_ns: Waiting for a batch and for the worker.
        batch_ns: Assembly of the batch.
        compute_ns: In the worker.
        total_ns: Since arrival.
    """

    queue_ns: int
    batch_ns: int
    compute_ns: int
    total_ns: int


class Course(NamedTuple):
    """How an answered request came to its outputs; instants are of the monotonic clock.

    Attributes:
        arrived_ns: When it came.
        popped_ns: When its batch left the queue.
        batch_rows: Of its batch.
        phases: Where its batch's time went from then on.
    """

    arrived_ns: int
    popped_ns: int
    batch_rows: int
    phases: Phases

    def timings(self) -> Timings:
        """The same as a response tells it, now."""
        phases = self.phases
        queue_ns = self.popped_ns - self.arrived_ns + phases.waiting_ns
        return Timings(queue_ns, phases.assembly_ns, phases.compute_ns, time.monotonic_ns() - self.arrived_ns)


class Caller(Protocol):
    """Who waits for a request's answer; exactly one of the two methods is called, once."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more."""

    def answer(self, outputs: Sequence[Output], course: Course) -> None:
        """Takes the outputs, in the order of the model's contract."""

    def fail(self, error: RequestError) -> None:
        """Takes the reason why there is no answer."""


class Request:
    """An admitted request, as the batching policy and the scheduler see it.

    Attributes:
        caller: Who waits.
        data: The inputs' raw encodings, in the order of the model's contract; None for one that is left out.
        shapes: The inputs' whole shapes; None likewise.
        key: Requests share a batch only where their keys are equal: the shapes without their rows.
        rows: 1 where the model does not batch.
        arrived_ns: Monotonic clock.
        expires_ns: Monotonic clock; 0: never.
    """

    __slots__ = ("arrived_ns", "caller", "data", "expires_ns", "key", "rows", "shapes")

    def __init__(
        self,
        caller: Caller,
        data: Sequence["bytes | memoryview[int] | None"],
        shapes: Shapes,
        key: Hashable,
        rows: int,
        arrived_ns: int,
        expires_ns: int,
    ) -> None:
        self.caller = caller
        self.data = data
        self.shapes = shapes
        self.rows = rows
        self.key = key
        self.arrived_ns = arrived_ns
        self.expires_ns = expires_ns

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.caller.cancelled

    def why_nobody_waits(self, model: str, doing: str) -> RequestError:
        """The error of a dead request, by what it was doing; a deadline that passed also cancels its call."""
        now = time.monotonic_ns()
        after = f"after {(now - self.arrived_ns) / 1e6:.1f} ms, while it {doing}"
        if self.expires_ns and now >= self.expires_ns:
            return DeadlineExceeded(f"the deadline of a request to model {model!r} passed {after}")
        return Cancelled(f"the call to model {model!r} was cancelled {after}")


class Batch:
    """Requests that run together.

    Attributes:
        requests: In the order in which their rows lie.
        rows: Of all of them.
        popped_ns: When they left the queue; monotonic clock.
        number: Its place among the model's batches; counted only where the order of answers is preserved.
        part: Its place among those that a batch was divided into, likewise.
        losses: How many workers were lost while they ran it, or what it is a part of.
    """

    __slots__ = ("losses", "number", "part", "popped_ns", "requests", "rows")

    def __init__(
        self, requests: list[Request], popped_ns: int, number: int = 0, part: int = 0, losses: int = 0
    ) -> None:
        self.requests = requests
        self.rows = sum([request.rows for request in requests])
        self.popped_ns = popped_ns
        self.number = number
        self.part = part
        self.losses = losses

    def divided(self) -> list["Batch"]:
        """Each of its requests as a batch of its own."""
        return [
            Batch([request], self.popped_ns, self.number, part, self.losses)
            for part, request in enumerate(self.requests)
        ]

    def gathered(self, *, batches: bool) -> tuple[list[list["bytes | memoryview[int] | None"]], Shapes]:
        """What its inputs are made of: per input the requests' raw encodings, and the whole shape; None: left out."""
        shapes = self.requests[0].shapes
        if batches:
            shapes = tuple([shape and (self.rows, *shape[1:]) for shape in shapes])
        return [[request.data[index] for request in self.requests] for index in range(len(shapes))], shapes

    def drop_dead(self, now: int) -> list[Request]:
        """Takes out the requests that nobody waits for any more, and returns them."""
        dead: list[Request] = []
        alive: list[Request] = []
        for request in self.requests:  # once each: a caller may leave at any moment
            (dead if is_dead(request, now) else alive).append(request)
        if dead:
            self.requests = alive
            self.rows = sum([request.rows for request in alive])
        return dead
