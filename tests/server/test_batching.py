"""The batching policy, to the nanosecond, with a clock made of integers."""

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


def queue(*entries: Fake, max_rows: int = MAX_ROWS, delay: int = DELAY) -> BatchQueue[Fake]:
    made: BatchQueue[Fake] = BatchQueue(max_rows, delay)
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
