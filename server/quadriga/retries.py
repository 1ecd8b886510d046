"""Batches that are run again, and who is to blame that they are. Server process, event loop's thread; no clock, no I/O.

    what became of a batch                                  what it is then
    its worker was lost while it waited behind another      innocent: again, as if nothing had happened
    its worker was lost while it ran                        a suspect: again, by itself in a worker
      once more, or it hung, with several requests in it    each of its requests a suspect
      once more, a single request                           guilty: refused, and remembered for a while
    the backend raised, with several requests in it         each of its requests again, as innocent as it was

So nobody is refused who was not with two workers when they were lost, and alone with the last of them. A batch in which
n requests are guilty costs 2 + n workers at most, one less if it hung. To halve it instead would cost a restart for
each halving, which takes longer than to run its requests one by one.
"""

import enum
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from quadriga.answers import Answers
from quadriga.batching import is_dead
from quadriga.errors import RequestError, WorkerLost
from quadriga.guilty_requests import GuiltyRequests
from quadriga.requests import Batch, Request
from quadriga.workers.worker import Loss

#: How many workers a request may be there with when they are lost.
MAX_LOSSES: Final = 2
#: So many losses in a row are put down to what was run. If nothing is answered in between, it may be the model itself.
MAX_BLAMED: Final = 32

log = logging.getLogger("quadriga.retries")


class Verdict(enum.Enum):
    """What becomes of a batch whose worker was lost while it ran."""

    AGAIN = enum.auto()
    DIVIDED = enum.auto()
    GUILTY = enum.auto()


def judge(batch: Batch, *, hung: bool) -> Verdict:
    """Charges a batch with the loss of a worker."""
    batch.losses += 1
    if len(batch.requests) > 1:
        return Verdict.DIVIDED if hung or batch.losses >= MAX_LOSSES else Verdict.AGAIN
    return Verdict.GUILTY if batch.losses >= MAX_LOSSES else Verdict.AGAIN


class Retries:
    """The batches of one model version that are to be run again: suspects first, each in the order they came.

    What the others hold has not been tried either. Were they first, one that costs a worker would look like a worker
    that dies again, whatever it runs; suspects explain why the worker before was lost.
    """

    def __init__(self, name: str, answers: Answers) -> None:
        """None yet. `name` is the model's; `answers` ends those that are not run again."""
        self._name = name
        self._answers = answers
        self._innocent: deque[Batch] = deque()
        self._suspects: deque[Batch] = deque()
        self._guilty = GuiltyRequests()
        self._blamed = 0  # losses in a row that were put down to what was run
        self._doubted = False  # whether that turned out to be wrong the last time

    def __bool__(self) -> bool:
        return bool(self._suspects or self._innocent)

    @property
    def requests(self) -> int:
        """How many are in them."""
        return sum([len(batch.requests) for batches in (self._suspects, self._innocent) for batch in batches])

    @property
    def suspect_next(self) -> bool:
        """Whether the next one is to be run by itself."""
        return bool(self._suspects)

    def check(self, request: Request, now: int) -> None:
        """Lets a new request pass.

        Raises:
            WorkerLost: It is known to cost workers.
        """
        if self._guilty and self._guilty.knows(request, now):
            raise self._known()

    def next(self, now: int) -> Batch | None:
        """Takes the next one that somebody waits for; None: there is none."""
        while batches := self._suspects or self._innocent:
            batch = batches.popleft()
            self._answers.drop_dead(batch, now)
            if batch.losses and len(batch.requests) == 1 and self._guilty.knows(batch.requests[0], now):
                self._answers.fail_batch(batch, self._known())
            elif batch.requests:
                batch.popped_ns = now
                return batch
        return None

    # ---- what became of batches

    def answered(self, batch: Batch) -> None:
        """A worker ran a batch."""
        self._blamed = 0
        if batch.losses == 1:
            self._doubted = True

    def waited(self, batch: Batch) -> None:
        """The worker was lost that a batch waited in."""
        self._put(batch)

    def raised(self, batch: Batch, error: RequestError, now: int) -> None:
        """The backend could not run a batch; `error` is for a single request."""
        if len(batch.requests) > 1:
            self._divide(batch, now)
        else:
            self._answers.fail_batch(batch, error)

    def lost(self, batch: Batch, loss: Loss, now: int) -> bool:
        """The worker was lost that ran a batch.

        Returns:
            Whether that is put down to the batch: it was suspected already, or the last one that was suspected did it
            again. Where that one did no harm the second time, workers are lost for other reasons.
        """
        if batch.losses:
            self._doubted = False
        self._blamed += 1
        match judge(batch, hung=loss.reason == "hung"):
            case Verdict.AGAIN:
                if len(batch.requests) == 1 and is_dead(batch.requests[0], now):
                    # It will not be run again, and never be found guilty: the same bytes would cost a worker each time.
                    self._guilty.remember(batch.requests[0], now)
                self._put(batch)
            case Verdict.DIVIDED:
                log.warning("model %s: the %d requests of a batch are run one by one", self._name, len(batch.requests))
                self._divide(batch, now)
            case Verdict.GUILTY:
                log.warning("model %s: a request is refused, since workers are lost with it", self._name)
                self._guilty.remember(batch.requests[0], now)
                text = (
                    f"{MAX_LOSSES} workers of model {self._name!r} were lost with this request, the second one with it"
                )
                self._answers.fail_batch(batch, WorkerLost(f"{text} alone: {loss.how}"))
        return not self._doubted and self._blamed <= MAX_BLAMED

    # ---- those that are not run again

    def drop_dead(self, now: int) -> None:
        """Ends the requests that nobody waits for any more."""
        for batches in (self._suspects, self._innocent):
            for batch in batches:
                self._answers.drop_dead(batch, now)
            alive = [batch for batch in batches if batch.requests]
            if len(alive) < len(batches):
                batches.clear()
                batches.extend(alive)

    def next_expiry(self) -> int | None:
        """When the first of the requests expires; None when none does."""
        batches = (*self._suspects, *self._innocent)
        return min(
            (request.expires_ns for each in batches for request in each.requests if request.expires_ns), default=None
        )

    def fail_all(self, refusal: Callable[[], RequestError]) -> None:
        """Fails every request."""
        while batches := self._suspects or self._innocent:
            self._answers.fail_batch(batches.popleft(), refusal())

    def _put(self, batch: Batch) -> None:
        (self._suspects if batch.losses else self._innocent).append(batch)

    def _divide(self, batch: Batch, now: int) -> None:
        self._answers.drop_dead(batch, now)
        if batch.requests:
            for part in self._answers.divide(batch):
                self._put(part)

    def _known(self) -> WorkerLost:
        return WorkerLost(f"workers of model {self._name!r} were lost with the same request before, and it is refused")
