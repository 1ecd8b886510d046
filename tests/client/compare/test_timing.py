"""Blocks over a simulated server: what counts, and what is only noted."""

from collections.abc import Callable
from typing import Any

import pytest
from simulated_source import MS, SECOND, SimulatedServer, SimulatedSource, always

from quadriga_client.compare.standings import Block
from quadriga_client.compare.timing import SETTLING_SHARE, Lane, time_block, warm_up
from quadriga_client.load.errors import LoadError
from quadriga_client.load.server_reading import ModelFacts, ServerReading, Sums


def lane(source: SimulatedSource, probe: Any = None, rows: int = 1) -> Lane:
    return Lane(name="a", source=source, probe=probe, rows=rows)


def timed(server: SimulatedServer, concurrency: int = 4, **fields: Any) -> Block:
    return time_block(lane(SimulatedSource(server, **fields)), concurrency, 1.0, 3)


def test_a_block_has_the_figures_of_its_time() -> None:
    block = timed(SimulatedServer(always(10 * MS), workers=2))
    assert (block.contestant, block.round, block.seconds) == ("a", 3, 1.0)
    assert (block.throughput, block.p50_ms, block.p99_ms) == (200.0, 20.0, 20.0)
    assert (block.saturated, block.errors, block.cpu_ms_per_row, block.memory_bytes) == (False, {}, None, None)


def test_what_happens_while_a_block_settles_is_in_no_figure() -> None:
    settling = round(SETTLING_SHARE * SECOND)
    block = timed(SimulatedServer(always(10 * MS), stalls=[(0, settling - 10 * MS)]), concurrency=1)
    assert (block.throughput, block.p99_ms) == (100.0, 10.0)


def test_a_stall_in_a_block_is_in_its_figures() -> None:
    begin = round(SETTLING_SHARE * SECOND) + 300 * MS
    block = timed(SimulatedServer(always(10 * MS), stalls=[(begin, begin + 500 * MS)]), concurrency=1)
    assert block.throughput == 50.0
    assert block.p99_ms == 510.0


def test_a_generator_that_falls_behind_is_noticed() -> None:
    block = timed(SimulatedServer(always(MS), workers=8), concurrency=8, gap=2 * MS)
    assert block.saturated
    assert block.lag_p99_ms > 1


def test_errors_are_counted_by_their_code() -> None:
    block = timed(SimulatedServer(always(10 * MS), code=14), concurrency=1)
    assert set(block.errors) == {"UNAVAILABLE"}
    assert (block.throughput, block.p50_ms, block.p99_ms) == (0.0, None, None)


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


def test_cpu_time_is_that_of_the_whole_block_by_row() -> None:
    source = SimulatedSource(SimulatedServer(always(10 * MS)))
    block = time_block(lane(source, Counters(source, 0.008), rows=4), 1, 1.0, 0)
    assert block.cpu_ms_per_row == pytest.approx(2.0)
    assert block.memory_bytes == 77


def test_cpu_time_is_not_known_while_others_call() -> None:
    source = SimulatedSource(SimulatedServer(always(10 * MS)))
    block = time_block(lane(source, Counters(source, 0.008, stranger=500)), 1, 1.0, 0)
    assert block.cpu_ms_per_row is None


def test_a_server_that_gives_no_counters_for_once_is_timed_all_the_same() -> None:
    class Silent:
        def read(self) -> ServerReading:
            raise LoadError("no page")

    block = time_block(lane(SimulatedSource(SimulatedServer(always(10 * MS))), Silent()), 1, 1.0, 0)
    assert (block.throughput, block.cpu_ms_per_row) == (100.0, None)


def jumping() -> Callable[[int], int]:
    """Ever slower, by a fifth every quarter of a second."""
    return lambda since_start: round(MS * 1.2 ** min(since_start / (SECOND / 4), 100.0))


def test_a_warm_up_ends_where_windows_agree_or_never_would() -> None:
    assert warm_up(lane(SimulatedSource(SimulatedServer(always(MS)))), 4)
    assert not warm_up(lane(SimulatedSource(SimulatedServer(jumping()))), 4)
