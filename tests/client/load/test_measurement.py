"""Measurements of simulated servers whose truth is known: warm-up, stalls, the generator's limits, interrupts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from simulated_source import MS, SECOND, START, SimulatedClock, SimulatedRun, SimulatedServer, SimulatedSource, always

from quadriga_client.load.arrivals import Arrivals, ClosedLoop, Constant, Poisson, Trace
from quadriga_client.load.errors import LoadError
from quadriga_client.load.measurement import Failed, Interrupted, MeasurementSettings, measure
from quadriga_client.load.report import Row, Window
from quadriga_client.load.server_reading import ServerReading, Sums

SETTINGS = MeasurementSettings()


def measured(
    source: SimulatedSource | SimulatedServer, arrivals: Arrivals, settings: MeasurementSettings = SETTINGS
) -> Row:
    source = SimulatedSource(source) if isinstance(source, SimulatedServer) else source
    return measure(source, arrivals, settings, rows_per_request=2, clock=source.clock)


def flags(row: Row) -> list[bool]:
    return [window.measured for window in row.windows]


def test_a_steady_closed_loop() -> None:
    row = measured(SimulatedServer(always(2 * MS), workers=2), ClosedLoop(4))
    assert (row.mode, row.arrivals, row.level, row.seconds) == ("closed", "closed", 4.0, 5.0)
    assert (row.stable, row.saturated, row.keeps_up, row.errors, row.notes) == (True, False, None, {}, ())
    assert row.throughput.value == pytest.approx(1000, rel=0.01)
    assert row.rows_per_second == 2 * row.throughput.value
    assert row.requests == row.latency.count == row.service.count
    assert row.latency.percentile_ms(50.0) == pytest.approx(4.0, rel=0.001)
    assert row.lag_p99_ms == 0.0
    assert flags(row) == [False] * 3 + [True] * 5


def test_a_steady_open_loop() -> None:
    row = measured(SimulatedServer(), Constant(500.0))
    assert (row.mode, row.arrivals, row.level) == ("open", "constant", 500.0)
    assert (row.stable, row.saturated, row.keeps_up, row.notes) == (True, False, True, ())
    assert row.throughput.value == pytest.approx(500, rel=0.01)
    assert row.latency.max_ms == 1.0
    assert row.latency.percentiles[0].ms.low == row.latency.percentiles[0].ms.high == 1.0


def test_queueing_is_in_the_latency_of_poisson_arrivals() -> None:
    """The mean time in an M/D/1 queue is s + rho s / (2 (1 - rho)): Pollaczek and Khinchine; here 1.5 ms."""
    row = measured(SimulatedServer(), Poisson(500.0, seed=1), MeasurementSettings(window_seconds=10.0, most_windows=8))
    assert (row.arrivals, row.stable) == ("poisson", True)
    assert row.latency.mean_ms == pytest.approx(1.5, rel=0.05)
    ends = row.throughput
    assert ends.low is not None
    assert ends.high is not None
    assert ends.low < 500 < ends.high


def test_the_warm_up_is_left_out() -> None:
    """Ten times slower at first, and steady from the fourth second on."""
    row = measured(SimulatedServer(lambda since: max(MS, 10 * MS - since // 300)), ClosedLoop(1))
    assert row.stable
    assert row.latency.max_ms <= 1.0 + 0.1
    assert row.windows[0].p99_ms is not None
    assert row.windows[0].p99_ms > 9.0
    assert flags(row) == [False] * (len(row.windows) - 5) + [True] * 5
    assert row.requests == pytest.approx(5000, rel=0.01)


def test_a_server_that_becomes_slower_and_slower_is_unstable() -> None:
    row = measured(SimulatedServer(lambda since: round(MS * 1.1 ** (since / SECOND))), ClosedLoop(1))
    assert not row.stable
    assert flags(row) == [False] * 20 + [True] * 5
    assert row.notes == (
        "not stable: throughput or p99 of the 5 measured windows is further apart than 10%; throughput and p99 had not "
        "settled within 10% in 20 windows of warm-up",
    )


def test_a_server_that_goes_to_and_fro_is_unstable() -> None:
    row = measured(SimulatedServer(lambda since: MS * (1 + since // SECOND % 2), workers=5), ClosedLoop(5))
    assert (row.stable, len(row.windows)) == (False, 25)


def test_a_warm_up_that_never_settled_is_told_though_the_measured_windows_are_steady() -> None:
    settings = MeasurementSettings(most_windows=3)
    row = measured(SimulatedServer(lambda since: MS * (2 if since < 2 * SECOND else 1)), ClosedLoop(1), settings)
    assert (row.stable, flags(row)) == (True, [False] * 3 + [True] * 5)
    assert row.notes == ("throughput and p99 had not settled within 10% in 3 windows of warm-up",)


@pytest.mark.parametrize("number", range(5))
def test_a_pause_after_windows_that_agreed_is_in_the_row(number: int) -> None:
    """A garbage collection every eight seconds, say: three quiet windows are not what the server is like."""
    pause = 3 * SECOND + number * SECOND + 100 * MS
    server = SimulatedServer(stalls=((pause, pause + 400 * MS),))
    row = measured(server, Constant(500.0))
    assert flags(row) == [False] * 3 + [True] * 5
    assert row.latency.max_ms == pytest.approx(401.0, abs=2.0)
    assert row.latency.percentile_ms(99.0) > 200.0
    assert not row.stable
    assert row.notes == ("not stable: throughput or p99 of the 5 measured windows is further apart than 10%",)


def test_as_many_windows_are_measured_as_were_asked_for() -> None:
    row = measured(SimulatedServer(), Constant(500.0), MeasurementSettings(measured_windows=1))
    assert (row.stable, flags(row), row.seconds) == (True, [False] * 3 + [True], 1.0)
    row = measured(SimulatedServer(), Constant(500.0), MeasurementSettings(measured_windows=9))
    assert flags(row) == [False] * 3 + [True] * 9


def test_windows_of_a_slow_server_lengthen() -> None:
    row = measured(SimulatedServer(always(300 * MS)), ClosedLoop(1))
    assert row.stable
    assert {window.seconds for window in row.windows} == {15.0, 16.0}
    assert row.requests >= 250
    assert row.latency.percentiles[0].ms.low == 300.0
    assert row.latency.percentiles[-1].ms.low is None  # p99.9 of 250


STALLS = tuple((number * SECOND + SECOND // 2, number * SECOND + SECOND // 2 + 30 * MS) for number in range(30))


def test_a_stall_is_in_the_open_loop_and_hidden_from_the_callers_who_wait_for_it() -> None:
    """Coordinated omission: in 3 % of all time, no request is answered.

    A caller who waits sends nothing meanwhile, and sees one slow answer in a thousand; users who come by themselves
    come during the stall as well.
    """
    server = SimulatedServer(stalls=STALLS)
    alone = measured(server, ClosedLoop(1))
    assert alone.service.percentile_ms(99.0) == pytest.approx(1.0, rel=0.001)
    assert alone.latency.max_ms == pytest.approx(31.0, abs=1.0)
    users = measured(server, Constant(500.0))
    assert users.stable
    assert users.latency.percentile_ms(99.0) > 25.0
    assert users.latency.percentile_ms(90.0) == pytest.approx(1.0, rel=0.001)


def test_requests_that_a_stall_keeps_past_the_end_are_in_the_row() -> None:
    """The last thing that the measured time sees; their ends are not in it."""
    server = SimulatedServer(stalls=((7 * SECOND + 900 * MS, 10 * SECOND),))
    row = measured(server, Constant(500.0))
    assert (row.seconds, row.requests) == (5.0, 2500)
    assert row.latency.count == row.requests
    assert row.latency.max_ms == pytest.approx(2101.0, abs=2.0)
    assert row.latency.percentile_ms(99.0) > 2000.0
    assert row.throughput.value == pytest.approx(2450 / 5, rel=0.01)
    assert not row.stable


@pytest.mark.parametrize("arrivals", [Constant(500.0), Poisson(500.0), ClosedLoop(4)])
def test_load_is_kept_on_until_what_was_due_has_ended(arrivals: Arrivals) -> None:
    """A stall over the end of the measured time."""
    source = SimulatedSource(SimulatedServer(stalls=((7 * SECOND + 900 * MS, 9 * SECOND),)))
    row = measured(source, arrivals, MeasurementSettings(tolerance=1.0))
    assert row.latency.count == row.requests
    assert row.latency.max_ms == pytest.approx(1100.0, rel=0.06)
    assert row.seconds == 5.0
    (run,) = source.runs
    assert 9 * SECOND < run.finished_at - run.started_ns < 10 * SECOND


def test_load_is_kept_on_no_longer_than_the_measured_windows_took() -> None:
    source = SimulatedSource(SimulatedServer(stalls=((7 * SECOND + 900 * MS, 20 * SECOND),)))
    row = measured(source, Constant(500.0))
    assert source.runs[0].finished_at - source.runs[0].started_ns == 13 * SECOND
    assert row.requests == row.latency.count == 2500
    assert row.latency.max_ms == pytest.approx(12_101.0, abs=2.0)


@pytest.mark.parametrize("rate", [1060.0, 2000.0])
def test_a_server_that_cannot_keep_up_is_not_a_saturated_generator(rate: float) -> None:
    row = measured(SimulatedServer(), Constant(rate), MeasurementSettings(most_windows=3))
    assert (row.stable, row.saturated, row.keeps_up, row.lag_p99_ms) == (False, False, False, 0.0)
    assert row.throughput.value == pytest.approx(1000, rel=0.01)
    assert row.latency.percentile_ms(99.0) > 400.0
    assert f"{5 * rate:.0f} requests were due in the measured time and 5000 were answered in it" in row.notes[0]


def test_requests_that_time_out_are_no_sign_of_keeping_up() -> None:
    """The queue ends at the timeout, and does not grow any more."""
    row = measured(SimulatedSource(SimulatedServer(), timeout=100 * MS), Constant(2000.0))
    assert row.errors.keys() == {"DEADLINE_EXCEEDED"}
    assert row.keeps_up is False


def test_an_open_loop_whose_generator_is_too_slow_is_saturated() -> None:
    source = SimulatedSource(SimulatedServer(always(MS // 10)), gap=MS)
    row = measured(source, Constant(1500.0), MeasurementSettings(most_windows=4))
    assert row.saturated
    assert row.keeps_up is None
    assert row.notes[0].startswith("generator saturated: it began 5000 requests of the 7500 that were due;")


def test_a_generator_that_is_late_is_saturated() -> None:
    """It sends all that is due, but in the bursts that come it is what requests wait for."""
    source = SimulatedSource(SimulatedServer(always(MS // 10), workers=8), gap=MS)
    row = measured(source, Poisson(800.0), MeasurementSettings(tolerance=1.0))
    assert row.saturated
    assert row.notes[0].startswith("generator saturated: its own lag has a p99 of ")


def test_callers_who_are_late_saturate_a_closed_loop() -> None:
    source = SimulatedSource(SimulatedServer(always(MS), workers=8), gap=MS)
    row = measured(source, ClosedLoop(8))
    assert row.saturated
    assert row.stable  # which makes it no better


def test_wake_ups_next_to_short_latencies_are_no_alarm_but_told() -> None:
    source = SimulatedSource(SimulatedServer(always(MS // 10), workers=3), gap=MS // 20)
    row = measured(source, ClosedLoop(3))
    assert row.lag_p99_ms == pytest.approx(0.05)
    assert row.latency.percentile_ms(99.0) == pytest.approx(0.15, rel=0.001)
    assert not row.saturated
    assert row.notes == ("up to 0.05 ms of these latencies are the generator's wake-ups (under 0.1 ms)",)


@pytest.mark.parametrize("arrivals", [ClosedLoop(4), Constant(500.0)])
def test_a_generator_that_waits_for_a_cpu_is_saturated(arrivals: Arrivals) -> None:
    source = SimulatedSource(SimulatedServer(always(2 * MS), workers=2), busy=(0.1, 0.6))
    row = measured(source, arrivals)
    assert (row.saturated, row.stable, row.lag_p99_ms) == (True, True, 0.0)
    assert "waited for a CPU 60% of the time" in row.notes[0]


def test_a_generator_that_spins_is_saturated_in_a_closed_loop_alone() -> None:
    busy = SimulatedSource(SimulatedServer(always(2 * MS), workers=2), busy=(0.97, 0.01))
    assert not measured(busy, Constant(500.0)).saturated
    row = measured(busy, ClosedLoop(4))
    assert row.saturated
    assert row.notes[0].startswith("generator saturated: process 4711 of it was running 97% of the time")


def test_a_server_that_only_fails() -> None:
    row = measured(SimulatedServer(code=14), ClosedLoop(2))
    assert (row.stable, row.latency.count, row.throughput.value) == (False, 0, 0.0)
    assert row.errors == {"UNAVAILABLE": row.requests}
    assert row.notes == (
        "ended after 3 windows in a row in which nothing was answered with OK",
        f"no request was answered with OK, {row.requests} failed: UNAVAILABLE {row.requests}",
    )


def test_a_code_that_grpc_does_not_have() -> None:
    row = measured(SimulatedServer(code=99), ClosedLoop(1))
    assert list(row.errors) == ["UNKNOWN"]


def test_a_server_that_never_answers() -> None:
    source = SimulatedSource(SimulatedServer(silent=True), timeout=100 * SECOND)
    row = measured(source, Constant(10.0))
    assert [window.p99_ms for window in row.windows] == [None] * 3
    assert row.errors == {"DEADLINE_EXCEEDED": row.requests}
    assert row.requests == 600
    assert not row.saturated


def test_requests_that_are_given_up_are_errors() -> None:
    source = SimulatedSource(SimulatedServer(stalls=((4 * SECOND, 6 * SECOND),)), timeout=SECOND)
    row = measured(source, Constant(500.0))
    assert row.errors["DEADLINE_EXCEEDED"] >= 500
    assert row.latency.count + row.errors["DEADLINE_EXCEEDED"] == row.requests
    failed = f"{row.errors['DEADLINE_EXCEEDED']} of {row.requests} requests failed: DEADLINE_EXCEEDED"
    assert any(note.startswith(failed) for note in row.notes)


def test_a_trace_that_is_over_begins_anew() -> None:
    """A burst of 100 in the first half of each second, then a pause."""
    offsets = (*(number * SECOND // 200 for number in range(100)), SECOND - MS)
    row = measured(SimulatedServer(), Trace(offsets, Path("trace.txt")))
    assert (row.arrivals, row.mode, row.stable, row.saturated) == ("trace", "open", True, False)
    assert row.level == pytest.approx(100.1, rel=0.001)
    assert row.requests == pytest.approx(504, abs=3)
    late = measured(SimulatedSource(SimulatedServer(), gap=20 * MS), Trace(offsets, Path("trace.txt")))
    assert late.saturated


def test_windows_are_told_as_they_fill() -> None:
    told: list[Window] = []
    source = SimulatedSource(SimulatedServer())
    row = measure(source, ClosedLoop(1), SETTINGS, rows_per_request=1, on_window=told.append, clock=source.clock)
    assert [(each.throughput, each.p99_ms) for each in told] == [(each.throughput, each.p99_ms) for each in row.windows]
    assert [each.measured for each in told] == flags(row)


def test_another_seed_gives_other_intervals_of_the_same_figures() -> None:
    settings = [MeasurementSettings(tolerance=1.0, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (measured(SimulatedServer(), Poisson(500.0), each) for each in settings)
    assert first == again
    assert first.throughput.value == other.throughput.value
    assert first.throughput.low != other.throughput.low


class CountingProbe:
    """A server that counts what it answered; asking it takes a while."""

    def __init__(self, clock: SimulatedClock, per_second: int, takes: int = 0, fails_at: int = -1) -> None:
        self.reads: list[int] = []
        self._clock = clock
        self._per_second = per_second
        self._takes = takes
        self._fails_at = fails_at

    def read(self) -> ServerReading:
        if len(self.reads) == self._fails_at:
            raise LoadError("the page is gone")
        self._clock.now += self._takes
        self.reads.append(self._clock.now)
        answered = (self._clock.now - self.reads[0]) * self._per_second / SECOND
        return ServerReading(
            source="counted",
            sums=Sums(
                answered=answered,
                ended=answered,
                rows=answered,
                batches=answered / 2,
                total=answered * 0.9,
                queue=answered * 0.2,
                assembly=answered * 0.1,
                compute=answered * 0.5,
                response=answered * 0.1,
            ),
        )


@pytest.mark.parametrize("takes", [0, 50 * MS, 1500 * MS])
def test_the_servers_side_is_that_of_the_measured_time(takes: int) -> None:
    source = SimulatedSource(SimulatedServer())
    probe = CountingProbe(source.clock, per_second=1000, takes=takes)
    row = measure(source, ClosedLoop(1), SETTINGS, rows_per_request=1, probe=probe, clock=source.clock)
    assert row.stable
    assert all(window.seconds == 1.0 for window in row.windows)  # however long the reading takes
    begin, end = probe.reads  # and none between them, which would be in the latencies
    assert begin >= START + 3 * SECOND
    assert end - begin == pytest.approx(5 * SECOND, abs=takes)
    assert row.server is not None
    assert row.server.requests == round((end - begin) / MS)
    assert row.server.only_ours
    assert row.server.compute_ms == pytest.approx(0.5)


@pytest.mark.parametrize("fails_at", [0, 1])
def test_a_server_that_stops_telling_leaves_a_note(fails_at: int) -> None:
    source = SimulatedSource(SimulatedServer())
    probe = CountingProbe(source.clock, per_second=1000, fails_at=fails_at)
    row = measure(source, ClosedLoop(1), SETTINGS, rows_per_request=1, probe=probe, clock=source.clock)
    assert row.stable
    assert row.server is None
    assert row.notes == ("the server's side is not known: the page is gone",)


def interrupted(server: SimulatedServer, *at: int) -> tuple[Row | None, int]:
    """The row, and how often the run was finished."""
    source = SimulatedSource(server, interrupts=list(at))
    with pytest.raises(Interrupted) as caught:
        measured(source, ClosedLoop(1))
    assert caught.value.__cause__ is None
    return caught.value.row, source.runs[0].finished


UNSTEADY = SimulatedServer(lambda since: round(MS * 1.2 ** (since / SECOND)))


def test_an_interrupt_leaves_the_windows_so_far() -> None:
    row, finished = interrupted(UNSTEADY, 5 * SECOND + SECOND // 2)
    assert row is not None
    assert finished == 1
    assert not row.stable
    assert flags(row) == [False] * 3 + [True] * 3
    assert row.seconds == pytest.approx(2.5)
    assert row.latency.count == row.requests > 500
    assert row.notes == (
        "ended early, before throughput and p99 had settled within 10%; the figures are of the last 3 windows",
    )


def test_an_interrupt_among_the_measured_windows_leaves_all_of_them() -> None:
    row, finished = interrupted(SimulatedServer(), 5 * SECOND + SECOND // 2)
    assert row is not None
    assert (row.stable, finished, row.seconds) == (False, 1, 2.5)
    assert flags(row) == [False] * 3 + [True] * 3
    assert row.notes == ("ended early, in window 3 of those that were to be measured; the figures are of these",)


def test_an_interrupted_row_has_the_servers_side_of_its_windows() -> None:
    source = SimulatedSource(SimulatedServer(), interrupts=[5 * SECOND + SECOND // 2])
    probe = CountingProbe(source.clock, per_second=1000)
    with pytest.raises(Interrupted) as caught:
        measure(source, ClosedLoop(1), SETTINGS, rows_per_request=1, probe=probe, clock=source.clock)
    assert caught.value.row is not None
    assert caught.value.row.server is not None
    assert caught.value.row.server.requests == 2500


def test_an_interrupt_in_the_first_window_leaves_a_part_of_it() -> None:
    row, _ = interrupted(UNSTEADY, SECOND // 2)
    assert row is not None
    assert row.seconds == 0.5
    assert row.requests == pytest.approx(480, abs=20)


def test_an_interrupt_before_anything_was_answered_leaves_nothing() -> None:
    row, finished = interrupted(SimulatedServer(silent=True), SECOND // 2)
    assert (row, finished) == (None, 1)


def test_a_second_interrupt_does_not_wait_for_what_is_under_way() -> None:
    row, finished = interrupted(UNSTEADY, 4 * SECOND + SECOND // 2, 4 * SECOND + SECOND // 2 + 1)
    assert row is not None
    assert finished == 1
    assert row.notes[-1] == "interrupted while requests were under way: they are not in these figures"


def test_an_interrupt_after_the_last_window_keeps_its_verdict() -> None:
    row, finished = interrupted(SimulatedServer(always(7 * MS)), 8 * SECOND + 1, 8 * SECOND + 2)
    assert row is not None
    assert finished == 1
    assert row.stable
    assert row.seconds == 5.0
    assert row.notes == ("interrupted while requests were under way: they are not in these figures",)


@pytest.mark.parametrize(
    ("at", "measured_windows", "seconds"), [(5.4, 3, 2.4), (2.4, 3, 2.4), (0.4, 1, 0.4), (8.01, 5, 5)]
)
def test_a_server_that_goes_away_leaves_the_windows_so_far(at: float, measured_windows: int, seconds: float) -> None:
    source = SimulatedSource(SimulatedServer(always(10 * MS), workers=4), fails_at=round(at * SECOND))
    with pytest.raises(Failed, match="the server went away") as caught:
        measured(source, ClosedLoop(4))
    row = caught.value.row
    assert row is not None
    assert flags(row).count(True) == measured_windows
    assert row.seconds == pytest.approx(seconds, abs=0.02)
    assert row.throughput.value == pytest.approx(400, rel=0.05)
    complete = at > 8
    assert (row.stable, row.errors) == (complete, {} if complete else {"UNAVAILABLE": 4})
    assert row.server is None
    assert source.runs[0].finished == 1


def test_a_server_that_goes_away_before_it_answers_leaves_nothing() -> None:
    source = SimulatedSource(SimulatedServer(always(500 * MS)), fails_at=SECOND // 4)
    with pytest.raises(Failed) as caught:
        measured(source, ClosedLoop(1))
    assert caught.value.row is None


def test_an_interrupt_before_the_load_begins_leaves_nothing() -> None:
    class Interrupting(SimulatedSource):
        def start(self, arrivals: Arrivals) -> SimulatedRun:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        measured(Interrupting(SimulatedServer()), ClosedLoop(1))
    assert caught.value.row is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MeasurementSettings(window_seconds=0.0), "window_seconds is 0.0; it must be a number above 0"),
        (lambda: MeasurementSettings(tolerance=-0.1), "tolerance is -0.1; it must be a number above 0"),
        (lambda: MeasurementSettings(lag_share=float("nan")), "lag_share is nan; it must be a number above 0"),
        (lambda: MeasurementSettings(agreeing_windows=1), "agreeing_windows is 1; it takes at least 2 to agree"),
        (lambda: MeasurementSettings(most_windows=2), "most_windows is 2; 3 windows are to agree"),
        (lambda: MeasurementSettings(measured_windows=0), "measured_windows is 0; it takes at least 1 to measure"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], MeasurementSettings], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        make()
