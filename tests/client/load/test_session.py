"""A load test from its options to its report: what is measured, told and kept, whatever ends it."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import pytest
from simulated_source import MS, SECOND, SimulatedServer, SimulatedSource, always

from quadriga_client import Client
from quadriga_client.errors import NotFound
from quadriga_client.load import session
from quadriga_client.load.arrivals import Arrivals, ClosedLoop, Constant, Poisson, Trace
from quadriga_client.load.errors import LoadError
from quadriga_client.load.measurement import MeasurementSettings
from quadriga_client.load.mlperf import MlperfSettings
from quadriga_client.load.options import Levels, LoadOptions, Scenarios, Search, arrivals_at, level_name
from quadriga_client.load.report import Ceiling, Mlperf, Report, Row, Window
from quadriga_client.load.slo import parse_objective
from quadriga_client.load.target import LoadTarget
from quadriga_proto import inference_pb2 as pb

PLAN = Levels((ClosedLoop(1), ClosedLoop(4)))


class SimulatedFleet:
    """In the place of `Fleet`: a simulated source, and whether it was closed."""

    def __init__(self, source: SimulatedSource) -> None:
        self.source = source
        self.target: LoadTarget | None = None
        self.shape: dict[str, int] = {}
        self.closed = False
        self.fails_at: int | None = None

    def __call__(self, target: LoadTarget, **shape: int) -> "SimulatedFleet":
        self.target, self.shape = target, shape
        return self

    def __enter__(self) -> "SimulatedFleet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.closed = True

    def start(self, arrivals: Arrivals) -> Any:
        if len(self.source.runs) == self.fails_at:
            raise LoadError("the server went away")
        return self.source.start(arrivals)


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.levels: list[Arrivals] = []
        self.windows: list[Window] = []
        self.rows: list[Row] = []
        self.phase = self.phases.append
        self.level = self.levels.append
        self.window = self.windows.append
        self.row = self.rows.append


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> SimulatedFleet:
    """What makes load in the tests: one worker that takes 1 ms for each request."""
    fleet = SimulatedFleet(SimulatedSource(SimulatedServer(always(MS))))
    monkeypatch.setattr(session, "Fleet", fleet)
    return fleet


@pytest.fixture
def run(classifier: Any, fleet: SimulatedFleet) -> Any:
    """Runs a load test of the stand-in's model."""
    classifier.on("ServerMetadata", lambda request, context: pb.ServerMetadataResponse(name="stand-in", version="3"))

    def run(observer: Told | None = None, *, hold: Callable[[], None] = lambda: None, **changes: Any) -> Report:
        options = {"url": classifier.url, "model": "brightness", "plan": PLAN, "ceiling": False, **changes}
        with Client(classifier.url) as client:
            return session.run_load_test(
                client,
                LoadOptions(**options),
                observer or Told(),
                hold=hold,
                quadriga="0.0",
                command="quadriga load brightness",
            )

    return run


def test_every_level_is_a_row_and_the_report_says_what_was_sent(run: Callable[..., Report], fleet: Any) -> None:
    told = Told()
    report = run(told, rows=2, metadata=(("authorization", "Bearer secret"),), connections=6, processes=2)
    assert [(row.mode, row.level) for row in report.rows] == [("closed", 1), ("closed", 4)]
    assert [round(row.throughput.value) for row in report.rows] == [1000, 1000]
    assert [round(row.rows_per_second, -1) for row in report.rows] == [2000, 2000]
    assert told.levels == [ClosedLoop(1), ClosedLoop(4)]
    assert tuple(told.rows) == report.rows
    assert len(told.windows) == sum(len(row.windows) for row in report.rows)
    assert told.phases == ["asking the server for brightness", "starting the generators"]
    assert (fleet.shape, fleet.closed) == ({"connections": 6, "processes": 2}, True)
    assert fleet.target.metadata == (("authorization", "Bearer secret"),)
    request = report.request
    assert (request.model, request.version, request.rows) == ("brightness", "2", 2)
    assert (request.inputs, request.content) == ({"image": "FP32[2,4,4,3]"}, "random numbers")
    assert request.bytes == len(fleet.target.requests[0])
    assert request.response_bytes > 0
    assert (report.server, report.platform) == ("stand-in 3", "")
    assert (report.connections, report.processes) == (6, 2)
    assert (report.quadriga, report.command) == ("0.0", "quadriga load brightness")
    assert (report.error, report.interrupted, report.ceiling, report.slo, report.mlperf) == ("", False, None, None, ())
    assert "secret" not in repr(report)
    assert report.settings["levels"] == "1 caller, 4 callers"
    assert report.settings["window_s"] == "1"


def test_a_server_that_tells_neither_its_name_nor_figures_is_measured_too(
    run: Callable[..., Report], classifier: Any
) -> None:
    unimplemented = grpc.StatusCode.UNIMPLEMENTED
    classifier.on("ServerMetadata", lambda request, context: context.abort(unimplemented, "not here"))
    report = run()
    assert report.server == ""
    assert [row.server for row in report.rows] == [None, None]


def test_open_loops_are_measured_at_their_rates(run: Callable[..., Report]) -> None:
    plan = Levels((Constant(100.0), Poisson(200.0, 5), Trace(tuple(range(0, SECOND, 10 * MS)), Path("day.txt"))))
    report = run(plan=plan)
    assert [(row.arrivals, row.level) for row in report.rows[:2]] == [("constant", 100), ("poisson", 200)]
    assert report.rows[2].arrivals == "trace"
    assert report.settings["levels"] == "100/s constant, 200/s poisson, trace day.txt"


def test_what_ends_a_test_early_leaves_the_rows_until_then(run: Callable[..., Report], fleet: Any) -> None:
    fleet.fails_at = 1
    report = run()
    assert [row.level for row in report.rows] == [1]
    assert (report.error, report.interrupted) == ("the server went away", False)
    assert fleet.closed


def test_a_server_that_goes_away_leaves_what_was_seen_of_its_level(run: Callable[..., Report], fleet: Any) -> None:
    fleet.source.fails_at = 5 * SECOND
    told = Told()
    report = run(told, plan=Levels((ClosedLoop(1), ClosedLoop(2))))
    assert (report.error, report.interrupted) == ("the server went away", False)
    assert [(row.level, row.stable) for row in report.rows] == [(1, False)]
    assert report.rows[0].latency.count > 1000
    assert told.rows == []  # the level is not over
    assert fleet.closed


def test_ctrl_c_leaves_the_rows_until_then_and_what_was_seen_of_the_next(
    run: Callable[..., Report], fleet: Any
) -> None:
    fleet.source.interrupts = [2 * SECOND + 10 * MS]
    report = run(plan=Levels((ClosedLoop(1), ClosedLoop(2))))
    assert report.interrupted
    assert report.error == ""
    assert [(row.level, row.stable) for row in report.rows] == [(1, False)]
    assert fleet.closed


def test_signals_are_held_once_the_load_is_over_and_one_until_then_leaves_a_report(
    run: Callable[..., Report], fleet: Any
) -> None:
    closed: list[bool] = []
    report = run(plan=Levels((ClosedLoop(1),)), hold=lambda: closed.append(fleet.closed))
    assert (closed, report.interrupted) == ([True], False)

    def interrupted() -> None:
        raise KeyboardInterrupt

    report = run(plan=Levels((ClosedLoop(1),)), hold=interrupted)
    assert ([row.level for row in report.rows], report.interrupted) == ([1], True)
    fleet.source.fails_at = 5 * SECOND
    report = run(plan=Levels((ClosedLoop(1),)), hold=interrupted)
    assert (report.error, report.interrupted) == ("the server went away", True)


def test_ctrl_c_before_the_load_leaves_a_report_without_rows(
    run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Ceiling:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "measure_ceiling", interrupted)
    report = run(ceiling=True)
    assert (report.rows, report.interrupted) == ((), True)


def test_the_ceiling_is_measured_with_as_many_callers_as_the_plan_has(
    run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    responses: list[bytes] = []

    def ceiling(target: LoadTarget, response: bytes, **shape: Any) -> Ceiling:
        asked.append(shape)
        responses.append(response)
        return Ceiling(throughput=1100.0, p99_ms=1.0, concurrency=shape["concurrency"])

    monkeypatch.setattr(session, "measure_ceiling", ceiling)
    report = run(ceiling=True, connections=2)
    assert asked == [{"connections": 2, "processes": 1, "concurrency": 4}]
    assert pb.ModelInferResponse.FromString(responses[0]).model_name == "brightness"
    assert report.ceiling == Ceiling(throughput=1100.0, p99_ms=1.0, concurrency=4)
    assert "91% of the generators' own ceiling" in report.rows[1].notes[-1]
    report = run(ceiling=True, plan=Levels((Constant(100.0),)))
    assert asked[-1]["concurrency"] == 64
    assert not any("ceiling" in note for note in report.rows[0].notes)


def test_the_search_begins_at_what_one_caller_gets_and_keeps_its_rows(run: Callable[..., Report], fleet: Any) -> None:
    fleet.source.server = SimulatedServer(always(20 * MS), workers=4)
    objective = parse_objective("p99<200ms")
    report = run(plan=Search(objective, "constant"))
    assert report.slo is not None
    assert report.slo.objective == "p99<200ms"
    assert report.slo.rate is not None
    assert 180 < report.slo.rate <= 205
    assert [row.mode for row in report.rows[:2]] == ["closed", "open"]
    assert report.rows[1].level == pytest.approx(50, rel=0.01)
    assert report.settings == {**report.settings, "objective": "p99<200ms", "arrivals": "constant"}
    first = run(plan=Search(objective, "constant", 100.0))
    assert (first.rows[0].mode, first.rows[0].level) == ("open", 100)


def test_a_search_that_ends_early_keeps_its_rows(run: Callable[..., Report], fleet: Any) -> None:
    fleet.fails_at = 3
    report = run(plan=Search(parse_objective("p99<20ms"), "constant"))
    assert (len(report.rows), report.slo, report.error) == (3, None, "the server went away")


def test_the_search_of_a_server_that_answers_nothing_says_so(run: Callable[..., Report], fleet: Any) -> None:
    fleet.source.server.code = 14
    report = run(plan=Search(parse_objective("p99<20ms"), "constant"))
    assert "no request was answered" in report.error
    assert report.rows[0].errors.keys() == {"UNAVAILABLE"}


def test_scenarios_run_one_after_the_other(run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch) -> None:
    def scenario(target: LoadTarget, name: str, *, settings: MlperfSettings) -> Mlperf:
        if settings.min_queries == 7:
            raise KeyboardInterrupt
        return Mlperf(scenario=name, valid=True, reasons=(), summary={})

    monkeypatch.setattr(session, "run_scenario", scenario)
    told = Told()
    report = run(told, plan=Scenarios((("SingleStream", MlperfSettings()), ("Offline", MlperfSettings(min_queries=7)))))
    assert [each.scenario for each in report.mlperf] == ["SingleStream"]
    assert report.interrupted
    assert told.phases[1:] == ["running MLPerf's scenario SingleStream", "running MLPerf's scenario Offline"]
    assert report.settings["mlperf"] == "SingleStream, Offline"


def test_what_the_server_refuses_is_no_report(run: Callable[..., Report]) -> None:
    with pytest.raises(NotFound, match="there is: brightness"):
        run(model="other")
    with pytest.raises(LoadError, match="no metrics page"):
        run(metrics_url="127.0.0.1:1")
    assert run(metrics_url="127.0.0.1:1", server_side=False).error == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": ""}, "the model's name is empty"),
        ({"processes": 0}, "at least one process, got 0"),
        ({"processes": 3, "connections": 2}, "each of the 3 processes needs a connection, got 2"),
        ({"timeout": 0.0}, "more than no time, got 0 s"),
    ],
)
def test_options_out_of_their_range_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(LoadError, match=says):
        LoadOptions(**{"url": "localhost:1", "model": "m", "plan": PLAN, **changes})


def test_levels_that_no_load_can_be_made_of_are_refused() -> None:
    for arrivals in ((), (ClosedLoop(0),), (ClosedLoop(1), Poisson(0.0))):
        with pytest.raises(LoadError):
            Levels(arrivals)
    with pytest.raises(LoadError, match=r"at least 0\.001 requests per second"):
        Search(parse_objective("p99<1s"), first=1e-5)


def test_secrets_are_not_shown() -> None:
    options = LoadOptions(url="localhost:1", model="m", plan=PLAN, metadata=(("authorization", "Bearer secret"),))
    assert "secret" not in repr(options)
    assert "secret" not in str(options.described())


def test_one_seed_is_for_all_random_numbers() -> None:
    options = LoadOptions(url="localhost:1", model="m", plan=PLAN, measurement=MeasurementSettings(seed=9))
    assert options.seed == 9
    assert arrivals_at(5.0, "poisson", 9) == Poisson(5.0, 9)
    assert arrivals_at(5.0, "constant", 9) == Constant(5.0)


def test_levels_have_names() -> None:
    levels: tuple[Arrivals, ...] = (
        ClosedLoop(1),
        ClosedLoop(20),
        Poisson(1500.0),
        Constant(0.5),
        Trace((0, 1), Path("a/b.txt")),
    )
    assert [*map(level_name, levels)] == ["1 caller", "20 callers", "1,500/s poisson", "0.5/s constant", "trace b.txt"]
