"""What the batching policy promises, once more and as plainly as can be: lists, no state, no haste.

Requests are given as they wait, in any order; every function looks at all of them anew.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

from quadriga.queue_policy import BatchPolicy
from quadriga.units import MICROSECOND_NS


class Waiting(Protocol):
    """A request that waits.

    Attributes:
        number: In the order of arrival.
        rows: How many it has.
        key: What requests that share a batch have in common.
        level: Its priority level, 0 where there are none.
        arrived_ns: When it came.
    """

    number: int
    rows: int
    key: Hashable
    level: int
    arrived_ns: int


W = TypeVar("W", bound=Waiting)


def in_order(waiting: Iterable[W], policy: BatchPolicy, now: int) -> list[W]:
    """As they are to be served: by level, those that have waited too long behind the others, then as they came."""
    postpone = {level: policy.queue_of(level).postpone_after_us for level in range(policy.priority_levels + 1)}

    def place(request: W) -> tuple[int, bool, int]:
        after = postpone[request.level]
        return request.level, bool(after) and now >= request.arrived_ns + after * MICROSECOND_NS, request.number

    return sorted(waiting, key=place)


def longest_run(ordered: Sequence[W], policy: BatchPolicy) -> list[W]:
    """The first of them that can share a batch."""
    run: list[W] = []
    for request in ordered:
        if run and (request.key != run[0].key or rows_of(run) + request.rows > policy.max_batch_size):
            break
        run.append(request)
    return run


def is_due(ordered: Sequence[W], policy: BatchPolicy, now: int) -> bool:
    """Whether the first batch is not to wait for others any longer."""
    if not ordered:
        return False
    if now >= min(request.arrived_ns for request in ordered) + policy.max_queue_delay_us * MICROSECOND_NS:
        return True
    run = longest_run(ordered, policy)
    if len(run) < len(ordered) or rows_of(run) >= policy.max_batch_size:
        return True
    enough = max(policy.preferred_batch_sizes, default=policy.max_batch_size)
    return rows_of(run) >= enough or any(rows_of(part) in policy.preferred_batch_sizes for part in beginnings(run))


def next_batch(ordered: Sequence[W], policy: BatchPolicy, now: int) -> list[W]:
    """The requests of the first batch, due or not: of a preferred size while it need not be sent yet."""
    run = longest_run(ordered, policy)
    delay_ns = policy.max_queue_delay_us * MICROSECOND_NS
    if delay_ns and now < min(request.arrived_ns for request in run) + delay_ns:
        preferred = [part for part in beginnings(run) if rows_of(part) in policy.preferred_batch_sizes]
        return preferred[-1] if preferred else run
    return run


def beginnings(requests: Sequence[W]) -> list[list[W]]:
    """The first one, the first two, and so on."""
    return [list(requests[: count + 1]) for count in range(len(requests))]


def rows_of(requests: Iterable[Waiting]) -> int:
    """Of all of them."""
    return sum(request.rows for request in requests)
