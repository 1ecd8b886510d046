"""How requests end: answered with their rows of a batch's outputs, or failed; each counted once. Server process."""

import logging
import time
from collections.abc import Sequence

from quadriga.counters import ModelCounters, Phases
from quadriga.errors import InferenceFailed, InvalidInput, RequestError
from quadriga.requests import Batch, Course, Output, Request
from quadriga.scatter import split_outputs
from quadriga.specs import ModelSpec
from quadriga.workers.messages import BatchDone
from quadriga_proto.conventions import MAX_MESSAGE_BYTES

log = logging.getLogger("quadriga.answers")


class Answers:
    """Ends the requests of one model version, as soon as can be; `answer_order` has those that keep an order."""

    def __init__(self, name: str, spec: ModelSpec, counters: ModelCounters) -> None:
        self._name = name
        self._spec = spec
        self._counters = counters

    @property
    def held(self) -> int:
        """How many batches have ended and wait for their turn to be answered."""
        return 0

    def enter(self) -> int:
        """The number of a batch that is formed now."""
        return 0

    def answer_batch(self, batch: Batch, done: BatchDone, view: "memoryview[int]", phases: Phases) -> None:
        """Answers the requests of a batch.

        Args:
            batch: Its requests, in the order in which their rows lie.
            done: Where its outputs lie.
            view: What they lie in.
            phases: Where its time went.
        """
        try:
            split = split_outputs(done.outputs, view, batch, self._spec)
        except InferenceFailed as error:
            self.fail(batch.requests, error)
            return
        self._counters.count_batch(batch.rows, phases)
        for request, outputs in zip(batch.requests, split, strict=True):
            if request.abandoned:
                self.fail([request], request.why_nobody_waits(self._name, "ran"))
            else:
                self._answer(request, outputs, batch, phases, done.finished_ns)

    def fail_batch(self, batch: Batch, error: RequestError) -> None:
        """Fails the requests of a batch."""
        self.fail(batch.requests, error)

    def divide(self, batch: Batch) -> list[Batch]:
        """A batch that is to be tried again, request by request."""
        return batch.divided()

    def drop_dead(self, batch: Batch, now: int) -> None:
        """Fails the dead requests of a batch that is to be tried again."""
        self.fail_dead(batch.drop_dead(now))

    def fail(self, requests: Sequence[Request], error: RequestError) -> None:
        """Fails requests."""
        now = time.monotonic_ns()
        for request in requests:
            self._counters.count_failure(error.code, error.reason, now - request.arrived_ns)
            request.caller.fail(error)

    def fail_dead(self, dead: Sequence[Request]) -> None:
        """Fails requests that nobody waited for any more before they ran."""
        for request in dead:
            self.fail([request], request.why_nobody_waits(self._name, "waited in the queue"))

    def _answer(
        self, request: Request, outputs: Sequence[Output], batch: Batch, phases: Phases, finished_ns: int
    ) -> None:
        try:
            request.caller.answer(outputs, Course(request.arrived_ns, batch.popped_ns, batch.rows, phases))
        except RequestError as error:  # the response cannot be what was asked for
            self.fail([request], error)
            return
        except Exception:
            # One response that cannot be encoded must not take its batch along.
            self.fail([request], self._unencodable(sum(len(output.raw) for output in outputs)))
            return
        queue_ns = batch.popped_ns - request.arrived_ns + phases.waiting_ns
        self._counters.count_answer(request.rows, queue_ns, phases, time.monotonic_ns() - finished_ns)

    def _unencodable(self, size: int) -> RequestError:
        if size > MAX_MESSAGE_BYTES:
            text = f"the response of model {self._name!r} has {size} bytes; gRPC carries at most {MAX_MESSAGE_BYTES}"
            return InvalidInput(f"{text}; send fewer rows at a time")
        log.exception("model %s: a response cannot be encoded", self._name)
        return InferenceFailed(f"the response of model {self._name!r} cannot be encoded")
