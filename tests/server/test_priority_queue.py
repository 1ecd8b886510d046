"""Several priority levels and overtaking in the batching policy, with a clock made of integers."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadriga.batching import BatchQueue
from quadriga.priority_queue import PriorityQueue, make_queue
from quadriga.queue_policy import BatchPolicy, QueuePolicy

MAX_ROWS = 4
DELAY = 100
LEVELS = 3


@dataclass
class Fake:
    """An entry."""

    level: int = 1
    rows: int = 1
    key: str = "a"
    arrived_ns: int = 0
    expires_ns: int = 0
    abandoned: bool = False


def queue(
    *entries: Fake,
    delay: int = 0,
    preferred: Sequence[int] = (),
    postpone: Sequence[int] = (0,) * LEVELS,
) -> PriorityQueue[Fake]:
    made: PriorityQueue[Fake] = PriorityQueue(MAX_ROWS, delay, preferred, postpone)
    for entry in entries:
        made.push(entry, entry.level)
    return made


def drain(waiting: BatchQueue[Fake], now: int) -> list[Fake]:
    """Everything that is taken alive, in order."""
    taken: list[Fake] = []
    while len(waiting):
        taken += waiting.pop(now)[0]
    return taken


def test_nothing_is_due_in_an_empty_queue() -> None:
    assert queue().due(5) is None
    assert queue().pop(5) == ([], [])
    assert queue().next_expiry() is None


def test_higher_levels_are_taken_first_and_share_the_batch_with_lower_ones() -> None:
    low, high, middle = Fake(level=3, rows=2), Fake(level=1), Fake(level=2)
    waiting = queue(low, high, middle)
    assert waiting.pop(0) == ([high, middle, low], [])


def test_a_lower_level_waits_while_higher_ones_fill_the_batch() -> None:
    low = Fake(level=2)
    high = [Fake(level=1, rows=2) for _ in range(3)]
    waiting = queue(low, *high)
    assert waiting.pop(0)[0] == high[:2]
    assert waiting.pop(0)[0] == [high[2], low]


def test_a_batch_ends_before_another_key_even_of_a_lower_level() -> None:
    high, other, low = Fake(level=1), Fake(level=2, key="b"), Fake(level=3)
    waiting = queue(low, other, high)
    assert [waiting.pop(0)[0] for _ in range(3)] == [[high], [other], [low]]


def test_the_delay_counts_from_whichever_arrived_first() -> None:
    waiting = queue(Fake(level=3, arrived_ns=10), Fake(level=1, arrived_ns=40), delay=DELAY)
    assert waiting.due(50) == 10 + DELAY


def test_a_batch_that_cannot_grow_is_due_at_once_and_pushing_before_it_is_noticed() -> None:
    waiting = queue(Fake(level=2, rows=3), delay=DELAY)
    assert waiting.due(1) == DELAY
    waiting.push(Fake(level=1, rows=1), 1)
    assert waiting.due(1) == 1
    other = queue(Fake(level=2), delay=DELAY)
    assert other.due(1) == DELAY
    other.push(Fake(level=1, key="b"), 1)
    assert other.due(1) == 1


def test_preferred_sizes_count_in_the_order_of_levels() -> None:
    low, high = Fake(level=2, rows=1), Fake(level=1, rows=2)
    waiting = queue(low, high, delay=DELAY, preferred=(2,))
    assert waiting.due(1) == 1
    assert waiting.pop(1)[0] == [high]
    assert waiting.due(1) == DELAY


def test_each_level_counts_what_waits_in_it() -> None:
    waiting = queue(Fake(level=1), Fake(level=3), Fake(level=3), postpone=(0, 0, 5))
    waiting.due(9)
    assert [waiting.waiting(level) for level in (1, 2, 3)] == [1, 0, 2]
    assert len(waiting) == 3


def test_a_request_that_waited_too_long_goes_behind_the_others_of_its_level() -> None:
    late, fresh, low = Fake(arrived_ns=0), Fake(arrived_ns=40), Fake(level=2, arrived_ns=0)
    waiting = queue(late, fresh, low, postpone=(50, 0, 0))
    assert queue(late, fresh, low, postpone=(50, 0, 0)).pop(49)[0] == [late, fresh, low]
    assert waiting.pop(50)[0] == [fresh, late, low]


def test_requests_that_come_later_overtake_a_postponed_one_and_it_is_taken_in_the_end() -> None:
    late = Fake(arrived_ns=0)
    waiting = queue(late, postpone=(50, 0, 0))
    assert waiting.due(60) == 60
    fresh = Fake(arrived_ns=60)
    waiting.push(fresh, 1)
    assert drain(waiting, 60) == [fresh, late]


def test_it_is_asked_again_when_an_overtaking_request_may_make_up_a_preferred_size() -> None:
    late, fresh = Fake(arrived_ns=0), Fake(arrived_ns=10, rows=2)
    waiting = queue(late, fresh, delay=DELAY, preferred=(2, 4), postpone=(50, 0, 0))
    assert waiting.due(20) == 50
    assert waiting.due(50) == 50
    assert waiting.pop(50)[0] == [fresh]
    assert waiting.due(50) == DELAY


def test_deadlines_are_kept_of_postponed_requests_too() -> None:
    late = Fake(arrived_ns=0, expires_ns=90)
    waiting = queue(late, Fake(level=2), postpone=(50, 0, 0))
    waiting.due(60)
    assert waiting.next_expiry() == 90
    assert waiting.take_dead(89) == []
    assert waiting.take_dead(90) == [late]


def test_take_all_empties() -> None:
    entries = [Fake(level=2), Fake(level=1)]
    waiting = queue(*entries)
    assert waiting.take_all() == entries[::-1]
    assert (len(waiting), waiting.due(0)) == (0, None)


@pytest.mark.parametrize(
    ("policy", "kind"),
    [
        (BatchPolicy(max_batch_size=4), BatchQueue),
        (BatchPolicy(max_batch_size=4, queue=QueuePolicy(default_timeout_us=9)), BatchQueue),
        (BatchPolicy(max_batch_size=4, queue=QueuePolicy(timeout_action="delay")), BatchQueue),
        (BatchPolicy(max_batch_size=4, queue=QueuePolicy(timeout_action="delay", default_timeout_us=9)), PriorityQueue),
        (BatchPolicy(max_batch_size=4, priority_levels=2, default_priority_level=1), PriorityQueue),
    ],
)
def test_one_line_is_used_where_it_is_enough(policy: BatchPolicy, kind: type) -> None:
    assert type(make_queue(policy)) is kind


def test_without_levels_the_default_policy_postpones() -> None:
    policy = BatchPolicy(max_batch_size=1, queue=QueuePolicy(timeout_action="delay", default_timeout_us=1))
    waiting: BatchQueue[Fake] = make_queue(policy)
    late, fresh = Fake(arrived_ns=0), Fake(arrived_ns=500)
    for entry in (late, fresh):
        waiting.push(entry)
    assert waiting.waiting(0) == 2
    assert drain(waiting, 1_000) == [fresh, late]


ENTRIES = st.lists(
    st.builds(
        Fake,
        level=st.integers(1, LEVELS),
        rows=st.integers(1, MAX_ROWS),
        key=st.sampled_from("ab"),
        arrived_ns=st.integers(0, 80),
        expires_ns=st.sampled_from([0, 40, 60]),
        abandoned=st.booleans(),
    ),
    max_size=30,
).map(lambda entries: sorted(entries, key=lambda entry: entry.arrived_ns))
POSTPONE = st.lists(st.sampled_from([0, 10, 30]), min_size=LEVELS, max_size=LEVELS)


@given(ENTRIES, POSTPONE, st.integers(80, 100), st.sampled_from([0, DELAY]), st.sets(st.integers(1, MAX_ROWS)))
def test_every_request_leaves_once_in_strict_order_and_batches_are_lawful(
    entries: list[Fake], postpone: list[int], now: int, delay: int, preferred: set[int]
) -> None:
    waiting = queue(*entries, delay=delay, preferred=sorted(preferred), postpone=postpone)

    def turn(entry: Fake) -> tuple[int, bool]:
        after = postpone[entry.level - 1]
        return entry.level, bool(after) and now >= entry.arrived_ns + after

    taken: list[Fake] = []
    dead: list[Fake] = []
    while len(waiting):
        batch, met = waiting.pop(now)
        assert batch or met
        assert sum(entry.rows for entry in batch) <= MAX_ROWS
        assert len({entry.key for entry in batch}) <= 1
        taken += batch
        dead += met
    dying = [entry for entry in entries if entry.abandoned or 0 < entry.expires_ns <= now]
    assert sorted(map(id, dead)) == sorted(map(id, dying))
    alive = [entry for entry in entries if not any(entry is other for other in dying)]
    assert [id(entry) for entry in taken] == [id(entry) for entry in sorted(alive, key=turn)]


@given(ENTRIES, st.sampled_from([0, DELAY]), st.sets(st.integers(1, MAX_ROWS)))
def test_with_all_in_one_level_it_does_what_one_line_does(entries: list[Fake], delay: int, preferred: set[int]) -> None:
    several = queue(delay=delay, preferred=sorted(preferred))
    one: BatchQueue[Fake] = BatchQueue(MAX_ROWS, delay, sorted(preferred))
    for number, entry in enumerate(entries):
        several.push(entry, 2)
        one.push(entry)
        now = entry.arrived_ns
        assert several.due(now) == one.due(now)
        assert several.next_expiry() == one.next_expiry()
        if number % 3 == 0:
            assert several.pop(now) == one.pop(now)
        elif number % 5 == 0:
            assert several.take_dead(now) == one.take_dead(now)
    assert several.take_all() == one.take_all()
