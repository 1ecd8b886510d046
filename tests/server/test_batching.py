"""The batching policy, to the nanosecond, with a clock made of integers."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadriga.batching import BatchQueue

MAX_ROWS = 8
DELAY = 100


@dataclass
class Fake:
    """An entry."""

    rows: int = 1
    key: str = "a"
    arrived_ns: int = 0
    expires_ns: int = 0
    abandoned: bool = False


def queue(
    *entries: Fake, max_rows: int = MAX_ROWS, delay: int = DELAY, preferred: Sequence[int] = ()
) -> BatchQueue[Fake]:
    made: BatchQueue[Fake] = BatchQueue(max_rows, delay, preferred)
    for entry in entries:
        made.push(entry)
    return made


def test_nothing_is_due_in_an_empty_queue() -> None:
    assert queue().due(5) is None
    assert queue().pop(5) == ([], [])


def test_without_delay_a_batch_is_due_at_once() -> None:
    assert queue(Fake(arrived_ns=3), delay=0).due(7) == 7


def test_delay_counts_from_the_first_request() -> None:
    waiting = queue(Fake(arrived_ns=10), Fake(arrived_ns=90))
    assert waiting.due(95) == 10 + DELAY


@pytest.mark.parametrize(
    "entries",
    [
        [Fake(rows=8)],
        [Fake(rows=3), Fake(rows=5)],
        [Fake(rows=5), Fake(rows=4)],
        [Fake(), Fake(key="b")],
    ],
)
def test_a_batch_that_cannot_grow_is_due_at_once(entries: list[Fake]) -> None:
    assert queue(*entries).due(1) == 1


def test_rows_are_counted_and_requests_never_split() -> None:
    first, second, third = Fake(rows=3), Fake(rows=4), Fake(rows=2)
    waiting = queue(first, second, third)
    assert waiting.pop(0) == ([first, second], [])
    assert waiting.pop(0) == ([third], [])
    assert len(waiting) == 0


def test_a_batch_ends_before_another_key_and_keeps_the_order() -> None:
    entries = [Fake(key="a"), Fake(key="b"), Fake(key="a")]
    waiting = queue(*entries)
    assert [waiting.pop(0)[0] for _ in entries] == [[entry] for entry in entries]


def test_a_model_that_does_not_batch_runs_requests_alone() -> None:
    entries = [Fake(), Fake()]
    waiting = queue(*entries, max_rows=0)
    assert waiting.due(4) == 4
    assert waiting.pop(4) == ([entries[0]], [])


def test_the_dead_take_no_part() -> None:
    gone, late, alive = Fake(abandoned=True), Fake(expires_ns=50), Fake(expires_ns=51)
    waiting = queue(gone, late, alive)
    assert waiting.pop(50) == ([alive], [gone, late])


def test_take_dead_finds_them_anywhere_and_reopens_the_head() -> None:
    alive, late = Fake(rows=4), Fake(rows=4, expires_ns=10)
    waiting = queue(alive, late)
    assert waiting.due(9) == 9
    assert waiting.take_dead(10) == [late]
    assert waiting.due(10) == DELAY


def test_next_expiry_is_the_earliest() -> None:
    assert queue(Fake(), Fake(expires_ns=9), Fake(expires_ns=4)).next_expiry() == 4
    assert queue(Fake()).next_expiry() is None


def test_take_all_empties() -> None:
    entries = [Fake(), Fake(key="b")]
    waiting = queue(*entries)
    assert waiting.take_all() == entries
    assert waiting.due(0) is None


def rows_of(waiting: BatchQueue[Fake], now: int) -> list[int]:
    return [entry.rows for entry in waiting.pop(now)[0]]


def test_a_batch_of_a_preferred_size_does_not_wait() -> None:
    waiting = queue(Fake(rows=3), preferred=(4, 6))
    assert waiting.due(1) == DELAY
    waiting.push(Fake(rows=1))
    assert waiting.due(1) == 1
    assert rows_of(waiting, 1) == [3, 1]


@pytest.mark.parametrize(
    ("rows", "batch"),
    [
        ([1, 1, 1, 1, 1, 1, 1], [1] * 6),  # the largest that fits
        ([1, 1, 1, 1, 1], [1] * 4),
        ([3, 1, 4], [3, 1]),  # 8 rows fit, but no preferred size above 4 is made up exactly
        ([5, 2], [5, 2]),  # none is made up, and the rows exceed the largest
        ([4, 5], [4]),
        ([3, 2], None),
    ],
)
def test_the_largest_preferred_size_that_requests_make_up_wins(rows: list[int], batch: list[int] | None) -> None:
    waiting = queue(*[Fake(rows=count) for count in rows], preferred=(4, 6))
    assert waiting.due(1) == (1 if batch else DELAY)
    if batch:
        assert rows_of(waiting, 1) == batch


def test_when_the_delay_has_passed_all_that_fits_is_sent_whatever_is_preferred() -> None:
    waiting = queue(*[Fake(rows=1) for _ in range(5)], preferred=(2,))
    assert rows_of(waiting, DELAY - 1) == [1, 1]
    assert rows_of(waiting, DELAY) == [1, 1, 1]


def test_what_a_preferred_batch_leaves_waits_for_its_own_delay() -> None:
    waiting = queue(Fake(), Fake(), Fake(arrived_ns=30), preferred=(2,))
    assert rows_of(waiting, 40) == [1, 1]
    assert waiting.due(40) == 30 + DELAY


def test_without_delay_preferred_sizes_change_nothing() -> None:
    waiting = queue(*[Fake() for _ in range(5)], delay=0, preferred=(2,))
    assert waiting.due(1) == 1
    assert rows_of(waiting, 1) == [1] * 5


def test_the_dead_do_not_count_towards_a_preferred_size() -> None:
    waiting = queue(Fake(), Fake(abandoned=True), Fake(), Fake(), preferred=(3,))
    assert rows_of(waiting, 1) == [1, 1, 1]


ENTRIES = st.builds(
    Fake,
    rows=st.integers(1, MAX_ROWS),
    key=st.sampled_from("ab"),
    arrived_ns=st.integers(0, 50),
    expires_ns=st.sampled_from([0, 40, 60]),
    abandoned=st.booleans(),
)


@given(st.lists(ENTRIES, max_size=30), st.integers(0, 100))
def test_every_request_leaves_once_in_order_and_batches_are_lawful(entries: list[Fake], now: int) -> None:
    waiting = queue(*entries)
    left: list[Fake] = []
    while len(waiting):
        batch, dead = waiting.pop(now)
        assert sum(entry.rows for entry in batch) <= MAX_ROWS
        assert len({entry.key for entry in batch}) <= 1
        assert all(entry.abandoned or 0 < entry.expires_ns <= now for entry in dead)
        assert not any(entry.abandoned or 0 < entry.expires_ns <= now for entry in batch)
        left += sorted([*batch, *dead], key=lambda entry: next(i for i, e in enumerate(entries) if e is entry))
    assert [id(entry) for entry in left] == [id(entry) for entry in entries]


@given(st.lists(ENTRIES, min_size=1, max_size=12))
def test_a_batch_that_is_due_early_could_not_have_grown(entries: list[Fake]) -> None:
    for entry in entries:
        entry.abandoned, entry.expires_ns = False, 0
    waiting = queue(*entries)
    due_early = waiting.due(-1) == -1
    batch, _ = waiting.pop(-1)
    full = sum(entry.rows for entry in batch) >= MAX_ROWS
    assert due_early == (full or len(batch) < len(entries))


@given(
    st.lists(st.integers(1, MAX_ROWS), min_size=1, max_size=20),
    st.sets(st.integers(1, MAX_ROWS), min_size=1),
)
def test_before_the_delay_has_passed_batches_have_preferred_sizes_where_they_can(
    rows: list[int], preferred: set[int]
) -> None:
    waiting = queue(*[Fake(rows=count) for count in rows], preferred=sorted(preferred))
    left = list(rows)
    while waiting.due(0) == 0:
        batch = rows_of(waiting, 0)
        fitting = [sum(left[: end + 1]) for end in range(len(left)) if sum(left[: end + 1]) <= MAX_ROWS]
        assert sum(batch) == max((total for total in fitting if total in preferred), default=fitting[-1])
        assert left[: len(batch)] == batch
        del left[: len(batch)]
    # What waits makes up no preferred size, could still grow to one, and stays for its delay.
    assert waiting.due(0) == (DELAY if left else None)
    totals = [sum(left[: end + 1]) for end in range(len(left))]
    assert not preferred & set(totals)
    assert not totals or totals[-1] < max(preferred)
