"""Blocks over a simulated server: what counts, and what is only noted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from simulated_source import MS, SECOND, SimulatedServer, SimulatedSource, always

from quadriga_client.compare.latencies import percentile_together
from quadriga_client.compare.neighbours import Traffic
from quadriga_client.compare.standings import Block
from quadriga_client.compare.timing import SETTLING_SHARE, Lane, throughput_of, time_block
from quadriga_client.load.errors import LoadError
from quadriga_client.load.samples import Samples
from quadriga_client.load.server_reading import ModelFacts, ServerReading, Sums


@dataclass
class Others:
    """The other models of a server, whose requests have ended, or are under way, as it says at each reading."""

    ended: list[float]
    under_way: float = 0

    def read(self) -> Traffic:
        """See `Neighbours`."""
        return Traffic(self.ended.pop(0) if len(self.ended) > 1 else self.ended[0], self.under_way)


def lane(source: SimulatedSource, probe: Any = None, rows: int = 1, others: Others | None = None) -> Lane:
    return Lane(name="a", source=source, probe=probe, neighbours=others, rows=rows)


def timed(server: SimulatedServer, concurrency: int = 4, seconds: float = 1.0, **fields: Any) -> Block:
    source = SimulatedSource(server, **fields)
    return time_block(lane(source), concurrency, seconds, 3, source.clock)


def test_a_block_has_the_figures_of_its_time() -> None:
    block = timed(SimulatedServer(always(10 * MS), workers=2))
    assert (block.contestant, block.round, block.seconds) == ("a", 3, 1.0)
    assert (block.throughput, block.p50_ms, block.p99_ms) == (200.0, 20.0, 20.0)
    assert block.requests == 200
    assert percentile_together([block.latencies], 99, least=200) == pytest.approx(20.0, rel=0.001)
    assert (block.saturated, block.errors, block.cpu_ms_per_row, block.memory_bytes) == (False, {}, None, None)


@pytest.mark.parametrize("seconds", [0.25, 0.3, 1.0, 4.8])
@pytest.mark.parametrize("callers", [1, 3])
def test_slow_models_are_told_apart_however_few_answers_a_block_holds(seconds: float, callers: int) -> None:
    fast = timed(SimulatedServer(always(140 * MS), workers=callers), callers, seconds)
    slow = timed(SimulatedServer(always(160 * MS), workers=callers), callers, seconds)
    assert fast.throughput / slow.throughput == pytest.approx(160 / 140)
    assert fast.throughput == pytest.approx(callers / 0.14)


def test_a_stall_that_outlasts_the_block_is_in_its_throughput() -> None:
    begin = round(SETTLING_SHARE * SECOND)
    stall = (begin + 500 * MS, begin + 1500 * MS)
    assert timed(SimulatedServer(always(10 * MS), stalls=[stall]), concurrency=1).throughput == pytest.approx(
        50 / 1.51, rel=0.05
    )


def test_of_requests_that_end_together_all_are_counted_or_none() -> None:
    """A server that answers batches of eight, every 100 ms."""
    times = np.repeat(np.arange(0, 1200, 100), 8) * MS
    samples = Samples(times, times, times, np.zeros(len(times), np.uint8))
    for begin, end in ((50 * MS, 850 * MS), (100 * MS, 900 * MS), (99 * MS, 1099 * MS)):
        assert throughput_of(samples, begin, end) == pytest.approx(80.0)


@pytest.mark.parametrize(("times", "throughput"), [([], 0.0), ([300], 0.0), ([300, 400, 500], 10.0), ([1200], 0.0)])
def test_without_a_request_that_ended_later_the_last_one_is_where_counting_ends(
    times: list[int], throughput: float
) -> None:
    ended = np.array(times, np.int64) * MS
    samples = Samples(ended, ended, ended, np.zeros(len(ended), np.uint8))
    assert throughput_of(samples, 0, SECOND) == pytest.approx(throughput)


def test_what_happens_while_a_block_settles_is_in_no_figure() -> None:
    settling = round(SETTLING_SHARE * SECOND)
    block = timed(SimulatedServer(always(10 * MS), stalls=[(0, settling - 10 * MS)]), concurrency=1)
    assert (block.throughput, block.p99_ms) == (100.0, 10.0)


@pytest.mark.parametrize(("requests", "known"), [(99, False), (100, True)])
def test_a_p99_is_of_a_hundred_answers_or_more(requests: int, known: bool) -> None:
    block = timed(SimulatedServer(always(SECOND // requests)), concurrency=1)
    assert (block.requests, block.p99_ms is not None) == (requests, known)
    assert block.p50_ms is not None


def test_a_stall_in_a_block_is_in_its_figures() -> None:
    begin = round(SETTLING_SHARE * SECOND) + 300 * MS
    block = timed(SimulatedServer(always(10 * MS), stalls=[(begin, begin + 500 * MS)]), concurrency=1)
    assert block.throughput == 50.0
    assert block.p50_ms == 10.0


def test_a_generator_that_falls_behind_is_noticed() -> None:
    block = timed(SimulatedServer(always(MS), workers=8), concurrency=8, gap=2 * MS)
    assert block.saturated
    assert block.lag_p99_ms > 1


@pytest.mark.parametrize(
    ("busy", "saturated"), [((0.97, 0.01), True), ((0.1, 0.6), True), ((0.3, 0.01), False), (None, False)]
)
def test_a_generator_that_starves_is_noticed_though_no_request_is_late(
    busy: tuple[float, float] | None, saturated: bool
) -> None:
    block = timed(SimulatedServer(always(2 * MS), workers=4), busy=busy)
    assert (block.saturated, block.lag_p99_ms) == (saturated, 0.0)


def test_errors_are_counted_by_their_code() -> None:
    block = timed(SimulatedServer(always(10 * MS), code=14), concurrency=1)
    assert set(block.errors) == {"UNAVAILABLE"}
    assert (block.throughput, block.p50_ms, block.p99_ms, block.latencies) == (0.0, None, None, "")


def test_requests_that_are_given_up_after_the_block_are_errors_of_it() -> None:
    block = timed(SimulatedServer(silent=True), concurrency=4, timeout=10 * SECOND)
    assert block.errors == {"DEADLINE_EXCEEDED": 4}


class Counters:
    """A server's counters, which grow from one reading to the next."""

    def __init__(self, source: SimulatedSource, cpu_per_request: float, stranger: int = 0) -> None:
        self._source = source
        self._cpu = cpu_per_request
        self._stranger = stranger

    def read(self) -> ServerReading:
        """A hundred requests a second are answered, and `stranger` more that are somebody else's."""
        runs = len(self._source.runs)
        answered = 0.0 if not runs else 121.0 + self._stranger
        return reading(answered, answered * self._cpu)


def reading(answered: float, cpu_seconds: float) -> ServerReading:
    sums: dict[str, Any] = dict.fromkeys(Sums.__dataclass_fields__, answered)
    facts = ModelFacts(memory_bytes=77, load_seconds=1.0)
    return ServerReading(
        source="test",
        sums=Sums(**sums),
        facts=facts,
        per_batch=True,
        worker_cpu={"0": cpu_seconds},
        server_cpu=0.0,
        restarts=0,
    )


def cpu_of(others: Others | None, stranger: int = 0) -> Block:
    source = SimulatedSource(SimulatedServer(always(10 * MS)))
    counters = Counters(source, 0.008, stranger)
    return time_block(lane(source, counters, rows=4, others=others), 1, 1.0, 0, source.clock)


def test_cpu_time_is_that_of_the_whole_block_by_row() -> None:
    block = cpu_of(Others([7.0]))
    assert block.cpu_ms_per_row == pytest.approx(2.0)
    assert (block.cpu_requests, block.cpu_shared, block.memory_bytes) == (121, False, 77)


@pytest.mark.parametrize(
    ("others", "stranger"),
    [
        pytest.param(Others([7.0]), 500, id="the model is called by others"),
        pytest.param(Others([7.0, 8.0]), 0, id="another model is"),
        pytest.param(Others([7.0], under_way=1), 0, id="another model is at work all the time"),
        pytest.param(None, 0, id="nobody knows"),
    ],
)
def test_cpu_time_is_left_out_while_others_call(others: Others | None, stranger: int) -> None:
    block = cpu_of(others, stranger)
    assert (block.cpu_ms_per_row, block.cpu_requests, block.cpu_shared) == (None, 0, True)


def test_a_server_that_gives_no_counters_for_once_is_timed_all_the_same() -> None:
    class Silent:
        def read(self) -> ServerReading:
            raise LoadError("no page")

    source = SimulatedSource(SimulatedServer(always(10 * MS)))
    block = time_block(lane(source, Silent(), others=Others([7.0])), 1, 1.0, 0, source.clock)
    assert (block.throughput, block.cpu_ms_per_row, block.cpu_shared) == (100.0, None, False)
