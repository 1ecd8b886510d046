"""Objectives, and the search for the highest rate, against simulated servers whose capacity is known."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from simulated_source import MS, SimulatedServer, SimulatedSource, always

from quadriga_client.load.arrivals import Constant, OpenLoop, Poisson
from quadriga_client.load.errors import LoadError
from quadriga_client.load.measurement import MeasurementSettings, measure
from quadriga_client.load.report import Row
from quadriga_client.load.slo import find_rate, parse_objective

SETTINGS = MeasurementSettings(most_windows=6)


def measuring(
    server: SimulatedServer,
    arrivals: Callable[[float], OpenLoop] = Constant,
    settings: MeasurementSettings = SETTINGS,
    gap: int = 0,
) -> Callable[[float], Row]:
    def measure_rate(rate: float) -> Row:
        source = SimulatedSource(server, gap=gap)
        return measure(source, arrivals(rate), settings, rows_per_request=1, clock=source.clock)

    return measure_rate


def measuring_twice(server: SimulatedServer) -> tuple[Callable[[float], Row], Callable[[float], Row]]:
    """As the session measures a rate, and measures it for longer."""
    return measuring(server), measuring(server, settings=replace(SETTINGS, measured_windows=10))


@pytest.fixture(scope="module")
def row() -> Row:
    """100 requests per second, all of 2 ms."""
    return measuring(SimulatedServer(always(2 * MS)))(100.0)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("p99<15ms", True),
        ("p99<1ms", False),
        ("p99.9<=2.01ms", True),
        ("max<=2ms", True),
        ("max<2ms", False),
        ("mean < 2100us", True),
        ("mean<0.0019s", False),
        ("p50<3ms,p95<1ms", False),
        ("p50<3ms, p90<3ms and mean<3ms", True),
        ("errors<=0%", True),
        ("p99<1e1ms and errors<0.1%", True),
    ],
)
def test_objectives(row: Row, text: str, holds: bool) -> None:
    objective = parse_objective(text)
    assert objective.text == text
    assert objective.holds(row) is holds


@pytest.mark.parametrize(
    "change",
    [
        {"stable": False},
        {"saturated": True},
        {"keeps_up": False},
        {"keeps_up": None},
        {"errors": {"UNAVAILABLE": 1}},
    ],
)
def test_a_rate_must_be_reached_steadily_and_without_errors(row: Row, change: dict[str, object]) -> None:
    objective = parse_objective("p99<15ms")
    assert objective.holds(row)
    assert not objective.holds(replace(row, **change))  # type: ignore[arg-type]


def test_as_many_errors_as_are_allowed(row: Row) -> None:
    failing = replace(row, errors={"UNAVAILABLE": 6, "ABORTED": 1})  # 7 of 500
    assert parse_objective("p99<15ms,errors<2%").holds(failing)
    assert not parse_objective("p99<15ms,errors<1%").holds(failing)


def test_without_answers_no_latency_holds() -> None:
    row = measuring(SimulatedServer(code=14))(100.0)
    assert not parse_objective("p99<15ms,errors<=100%").terms[0].holds(row)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' in the objective '' is no bound; expected p50, p90, p95, p99, p99.9, mean, max or errors"),
        ("fast", "'fast' in the objective 'fast' is no bound"),
        ("p99>15ms", "is no bound"),
        ("p99<15ms,", "'' in the objective 'p99<15ms,' is no bound"),
        ("p99<15ms or mean<1ms", "is no bound"),
        ("p98<15ms", "has no known figure 'p98'"),
        ("p99<15", "needs one of us, ms, s after 15, not ''"),
        ("p99<15min", "needs one of us, ms, s after 15, not 'min'"),
        ("p99<1%", "needs one of us, ms, s after 1, not '%'"),
        ("errors<1", "needs one of % after 1, not ''"),
        ("p99<1.2.3ms", "'1.2.3' in the objective 'p99<1.2.3ms' is not a number"),
        ("p99<0ms", "nothing can keep to 'p99<0ms'"),
        ("p99<-1ms", "nothing can keep to 'p99<-1ms'"),
        ("errors<0%", "nothing can keep to 'errors<0%'"),
        ("p99<1e999s", "nothing can keep to"),
    ],
)
def test_what_is_no_objective_is_refused(text: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        parse_objective(text)


@pytest.mark.parametrize("first", [90.0, 700.0, 5000.0])
def test_the_capacity_of_a_server_is_found_from_below_and_above(first: float) -> None:
    """Requests at equal distances of a server that takes 1 ms for each: up to 1000 per second nothing queues."""
    measure_rate, longer = measuring_twice(SimulatedServer())
    slo, rows = find_rate(parse_objective("p99<15ms"), measure_rate, longer, first=first, resolution=0.02)
    assert slo.rate is not None
    assert slo.failed_rate is not None
    assert 980 <= slo.rate <= 1000 <= slo.failed_rate <= slo.rate * 1.02
    assert slo.objective == "p99<15ms"
    assert rows[0].level == first
    assert len({row.level for row in rows}) < 16


def test_the_rate_of_a_mean_is_that_of_the_queueing_formula() -> None:
    """In M/D/1 with 1 ms of service the mean is 2 ms at a load of 2/3: Pollaczek and Khinchine."""
    measure_rate = measuring(
        SimulatedServer(), lambda rate: Poisson(rate, seed=2), MeasurementSettings(window_seconds=4.0)
    )
    slo, _ = find_rate(parse_objective("mean<2ms"), measure_rate, measure_rate, first=400.0)
    assert slo.rate == pytest.approx(667, rel=0.07)


def test_a_generator_that_is_the_limit_is_named() -> None:
    measure_rate = measuring(SimulatedServer(always(MS // 10)), gap=MS)
    slo, rows = find_rate(parse_objective("p99<15ms"), measure_rate, measure_rate, first=300.0)
    assert slo.rate is not None
    assert 900 < slo.rate <= 1000
    assert slo.failed_rate is None
    assert any(row.saturated for row in rows)
    (note,) = slo.notes
    assert note.startswith("the generator was saturated at 1")
    assert note.endswith("requests per second; the server may do more than the rate found")


def test_a_generator_that_is_too_slow_for_any_rate_is_named() -> None:
    measure_rate = measuring(SimulatedServer(always(MS // 10)))

    def saturated(rate: float) -> Row:
        return replace(measure_rate(rate), saturated=True)

    slo, rows = find_rate(parse_objective("p99<15ms"), saturated, saturated, first=100.0)
    assert (slo.rate, slo.failed_rate) == (None, None)
    assert slo.notes[0].endswith("requests per second; the server's limit is not known")
    assert rows[-1].level == 100 / 64


def test_an_objective_that_nothing_meets_ends_the_search() -> None:
    slo, rows = find_rate(parse_objective("p50<500us"), *measuring_twice(SimulatedServer()), first=640.0)
    assert (slo.rate, slo.failed_rate) == (None, 10.0)
    assert slo.notes == ("the objective did not hold even at 10 requests per second, where the search ended",)
    assert [row.level for row in rows] == [640, 320, 160, 80, 40, 20, 10]


def test_an_objective_that_everything_meets_ends_the_search(row: Row) -> None:
    slo, rows = find_rate(parse_objective("p50<500ms"), *[lambda rate: replace(row, level=rate)] * 2, first=1.0)
    assert (slo.rate, slo.failed_rate) == (65536.0, None)
    assert slo.notes == ("the objective still held at 6.554e+04 requests per second, where the search ended",)
    assert len(rows) == 17


def stand_in(row: Row, *unstable: float) -> tuple[Callable[[float], Row], list[float]]:
    """Measures what holds below 1000 per second, and whose windows are apart at some rates; and the rates asked for."""
    asked: list[float] = []

    def measure_rate(rate: float) -> Row:
        asked.append(rate)
        return replace(row, level=rate, keeps_up=rate < 1000, stable=rate not in unstable)

    return measure_rate, asked


def test_a_rate_whose_windows_alone_were_apart_is_measured_once_more_for_longer(row: Row) -> None:
    (measure_rate, asked), (longer, asked_again) = stand_in(row, 400.0), stand_in(row)
    slo, rows = find_rate(parse_objective("p99<15ms"), measure_rate, longer, first=100.0, resolution=1.0)
    assert (slo.rate, slo.failed_rate, slo.notes) == (800.0, 1600.0, ())
    assert (asked, asked_again) == ([100, 200, 400, 800, 1600], [400])
    assert [row.level for row in rows] == [100, 200, 400, 400, 800, 1600]


def test_a_rate_whose_windows_are_apart_twice_does_not_hold_and_is_told(row: Row) -> None:
    measure_rate, asked = stand_in(row, 400.0)
    slo, _ = find_rate(parse_objective("p99<15ms"), measure_rate, measure_rate, first=100.0, resolution=1.0)
    assert (slo.rate, slo.failed_rate) == (200.0, 400.0)
    assert slo.notes == ("at 400 requests per second only the windows were too far apart, in two measurements",)
    assert asked == [100, 200, 400, 400]


def test_a_row_with_other_faults_is_not_measured_again(row: Row) -> None:
    for fault in ({"saturated": True}, {"keeps_up": False}, {"errors": {"UNAVAILABLE": 1}}):
        faulty = replace(row, stable=False, **fault)
        assert not parse_objective("p99<15ms").fails_for_its_windows_alone(faulty)
    assert parse_objective("p99<15ms").fails_for_its_windows_alone(replace(row, stable=False))
    assert not parse_objective("p99<1ms").fails_for_its_windows_alone(replace(row, stable=False))


def test_a_search_ends_however_fine_it_is_to_be(row: Row) -> None:
    measure_rate, asked = stand_in(row)
    find_rate(parse_objective("p99<15ms"), measure_rate, measure_rate, first=100.0, resolution=1e-300)
    assert len(asked) < 30


def test_a_search_does_not_go_below_the_least_rate(row: Row) -> None:
    measure_rate, asked = stand_in(row)
    slo, _ = find_rate(parse_objective("p99<1ms"), measure_rate, measure_rate, first=0.004)
    assert (slo.rate, asked) == (None, [0.004, 0.002, 0.001])


@pytest.mark.parametrize(
    ("first", "resolution", "says"),
    [
        (0.0, 0.05, "at least 0.001 requests per second; 0 came"),
        (-1.0, 0.05, "at least 0.001"),
        (float("inf"), 0.05, "at least 0.001"),
        (1.0, 0.0, "the search cannot end at the resolution 0.0"),
    ],
)
def test_a_search_that_cannot_begin_is_refused(row: Row, first: float, resolution: float, says: str) -> None:
    with pytest.raises(LoadError, match=says):
        find_rate(parse_objective("p99<1s"), lambda rate: row, lambda rate: row, first=first, resolution=resolution)
