"""Plain counts: which bucket a value falls into, and what a batch and a request add to."""

import pytest

from quadriga.counters import DURATION_BOUNDS_NS, SIZE_BOUNDS, Histogram, ModelCounters, Phases

PHASES = Phases(assembly_ns=3, waiting_ns=50, infer_ns=700, output_ns=20)


@pytest.mark.parametrize(("value", "bucket"), [(0, 0), (9, 0), (10, 0), (11, 1), (20, 1), (21, 2), (10**9, 2)])
def test_a_bound_belongs_to_its_bucket_and_the_last_bucket_has_none(value: int, bucket: int) -> None:
    histogram = Histogram((10, 20))
    histogram.observe(value)
    assert histogram.counts == [int(index == bucket) for index in range(3)]
    assert (histogram.count, histogram.sum) == (1, value)


def test_a_histogram_adds_up() -> None:
    histogram = Histogram((10, 20))
    for value in (1, 10, 15, 99):
        histogram.observe(value)
    assert (histogram.counts, histogram.count, histogram.sum) == ([2, 1, 1], 4, 125)


@pytest.mark.parametrize("bounds", [DURATION_BOUNDS_NS, SIZE_BOUNDS])
def test_bounds_ascend(bounds: tuple[int, ...]) -> None:
    assert sorted(set(bounds)) == list(bounds)


def test_the_workers_share_is_the_backend_and_its_outputs() -> None:
    assert PHASES.compute_ns == 720


def test_a_batch_is_counted_once_and_by_its_size() -> None:
    counters = ModelCounters()
    for rows in (4, 4, 1):
        counters.count_batch(rows, PHASES)
    assert (counters.assembly.count, counters.assembly.sum) == (3, 9)
    assert (counters.compute.count, counters.compute.sum) == (3, 3 * 720)
    assert (counters.batch_size.count, counters.batch_size.sum) == (3, 9)
    assert {size: sums.batches for size, sums in counters.by_batch_size.items()} == {4: 2, 1: 1}
    fours = counters.by_batch_size[4]
    assert (fours.input_ns, fours.infer_ns, fours.output_ns) == (6, 1400, 40)
    assert counters.last_ms > 0
    assert counters.answered == 0


def test_an_answer_takes_the_sum_of_its_phases() -> None:
    counters = ModelCounters()
    assert counters.count_answer(rows=2, queue_ns=60, phases=PHASES, response_ns=5) == 60 + 3 + 700 + 20 + 5
    counters.count_answer(rows=3, queue_ns=0, phases=PHASES, response_ns=0)
    assert (counters.answered, counters.rows) == (2, 5)
    assert (counters.queue.count, counters.queue.sum) == (2, 60)
    assert (counters.response.count, counters.response.sum) == (2, 5)
    assert (counters.total.count, counters.total.sum) == (2, 788 + 723)
    assert (counters.input_ns, counters.infer_ns, counters.output_ns) == (6, 1400, 45)


def test_a_failure_is_counted_by_code_and_reason_and_is_no_answer() -> None:
    counters = ModelCounters()
    counters.count_failure("UNAVAILABLE", "worker_lost", 10)
    counters.count_failure("UNAVAILABLE", "worker_lost", 5)
    counters.count_failure("CANCELLED", "cancelled", 1)
    assert counters.failed == {("UNAVAILABLE", "worker_lost"): 2, ("CANCELLED", "cancelled"): 1}
    assert counters.failed_ns == 16
    assert (counters.answered, counters.total.count, counters.refused) == (0, 0, {})
