"""What is counted on the hot path, in plain numbers; exported by `metrics` and by ModelStatistics. Server process.

An `observe()` of prometheus_client takes a lock and microseconds, and there would be six per request. Here an
observation is a bisection and two additions; everything runs on the event loop's thread, so no lock is needed.
All durations are nanoseconds.
"""

import time
from bisect import bisect_left
from collections import Counter
from typing import Final, NamedTuple

from quadriga.units import MICROSECOND_NS

#: Upper bounds for durations from 10 us, what one assembly takes, to 10 s, what a large CNN on a CPU may.
DURATION_BOUNDS_NS: Final = tuple(
    microseconds * MICROSECOND_NS
    for microseconds in (
        10, 20, 50, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000,
        30_000, 50_000, 75_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
    )
)  # fmt: skip
SIZE_BOUNDS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512)


class Histogram:
    """Counts by upper bound, and the sum.

    Attributes:
        bounds: Upper bounds, inclusive; one more count stands for everything above the last.
        counts: Observations per bound, not cumulated.
        sum: Of all observed values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0

    def observe(self, value: int) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.counts)


class Phases(NamedTuple):
    """Where one batch's time went.

    Attributes:
        assembly_ns: Copying its rows into the slab and sending it off.
        waiting_ns: In the worker's socket, behind the batch before.
        infer_ns: The backend.
        output_ns: Copying the outputs into the slab.
    """

    assembly_ns: int
    waiting_ns: int
    infer_ns: int
    output_ns: int

    @property
    def compute_ns(self) -> int:
        """The worker's share."""
        return self.infer_ns + self.output_ns


class BatchSizeCounters:
    """Sums over the batches of one size."""

    __slots__ = ("batches", "infer_ns", "input_ns", "output_ns")

    def __init__(self) -> None:
        self.batches = 0
        self.input_ns = 0
        self.infer_ns = 0
        self.output_ns = 0


class ModelCounters:
    """One model version's counts since it was loaded.

    A request is counted once: as answered, as failed (it was admitted) or as refused (it was not).

    Attributes:
        answered: Requests answered OK.
        rows: Rows of those.
        failed: Admitted requests that failed, by gRPC code and reason.
        failed_ns: Time those spent here.
        refused: Requests turned away before the queue, by gRPC code and reason.
        total: From arrival to response, per request.
        queue: Waiting for a batch and for the worker, per request.
        response: From the outputs in the slab to the response handed over, per request.
        assembly: Per batch, as `Phases` says.
        compute: Per batch.
        batch_size: Rows per batch.
        by_batch_size: Sums for ModelStatistics.
        last_ms: When the last batch ended, milliseconds since the epoch.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.rows = 0
        self.failed: Counter[tuple[str, str]] = Counter()
        self.failed_ns = 0
        self.refused: Counter[tuple[str, str]] = Counter()
        self.total = Histogram(DURATION_BOUNDS_NS)
        self.queue = Histogram(DURATION_BOUNDS_NS)
        self.response = Histogram(DURATION_BOUNDS_NS)
        self.assembly = Histogram(DURATION_BOUNDS_NS)
        self.compute = Histogram(DURATION_BOUNDS_NS)
        self.batch_size = Histogram(SIZE_BOUNDS)
        self.by_batch_size: dict[int, BatchSizeCounters] = {}
        self.input_ns = 0
        self.infer_ns = 0
        self.output_ns = 0
        self.last_ms = 0

    def count_batch(self, rows: int, phases: Phases) -> None:
        """Counts a batch that ran."""
        self.assembly.observe(phases.assembly_ns)
        self.compute.observe(phases.compute_ns)
        self.batch_size.observe(rows)
        size = self.by_batch_size.get(rows)
        if size is None:
            size = self.by_batch_size[rows] = BatchSizeCounters()
        size.batches += 1
        size.input_ns += phases.assembly_ns
        size.infer_ns += phases.infer_ns
        size.output_ns += phases.output_ns
        self.last_ms = time.time_ns() // 1_000_000

    def count_answer(self, rows: int, queue_ns: int, phases: Phases, response_ns: int) -> int:
        """Counts a request that was answered; returns its time from arrival to response."""
        total_ns = queue_ns + phases.assembly_ns + phases.compute_ns + response_ns
        self.answered += 1
        self.rows += rows
        self.queue.observe(queue_ns)
        self.response.observe(response_ns)
        self.total.observe(total_ns)
        self.input_ns += phases.assembly_ns
        self.infer_ns += phases.infer_ns
        self.output_ns += phases.output_ns + response_ns
        return total_ns

    def count_failure(self, code: str, reason: str, spent_ns: int) -> None:
        """Counts an admitted request that failed."""
        self.failed[code, reason] += 1
        self.failed_ns += spent_ns
