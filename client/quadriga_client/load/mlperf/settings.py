"""What shapes a run of MLPerf's load generator. Pure."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from quadriga_client.load.errors import LoadError

Scenario: TypeAlias = Literal["SingleStream", "MultiStream", "Server", "Offline"]
SCENARIOS: Final[tuple[Scenario, ...]] = get_args(Scenario)


@dataclass(frozen=True, slots=True, kw_only=True)
class MlperfSettings:
    """What None leaves to MLPerf is the value in the mlperf.conf that its load generator carries.

    Attributes:
        min_duration: Seconds that a run has to last; None: MLPerf's own, which a submission needs.
        min_queries: That a run has to make; None: MLPerf's own.
        target_percentile: Of the latency that is judged, as 99.0; None: MLPerf's own of the scenario.
        target_qps: Queries per second of Server, which it needs.
        target_latency_ms: What Server's percentile has to keep to; None: MLPerf's own.
        expected_latency_ms: What a query of SingleStream or MultiStream takes; where it takes less than half of that,
            the run ends early and is not valid. None: measured before the run.
        expected_qps: Samples per second of Offline; where there are more, the run ends early and is not valid. None:
            measured before the run.
        samples_per_query: Of MultiStream.
        sample_count: Of the set from which the load generator draws; sample i sends request i modulo their number.
            None: as many as there are requests.
        connections: Over which requests go in turn.
        concurrency: Requests under way at once, at most, of the one query that Offline makes.
    """

    min_duration: float | None = None
    min_queries: int | None = None
    target_percentile: float | None = None
    target_qps: float | None = None
    target_latency_ms: float | None = None
    expected_latency_ms: float | None = None
    expected_qps: float | None = None
    samples_per_query: int = 8
    sample_count: int | None = None
    connections: int = 1
    concurrency: int = 64

    def __post_init__(self) -> None:
        """Refuses what no run can have."""
        for name in ("min_duration", "target_qps", "target_latency_ms", "expected_latency_ms", "expected_qps"):
            _refuse_unless(getattr(self, name) is None or 0 < getattr(self, name) < float("inf"), self, name, "above 0")
        for name in ("min_queries", "samples_per_query", "sample_count", "connections", "concurrency"):
            _refuse_unless(getattr(self, name) is None or getattr(self, name) >= 1, self, name, "at least 1")
        percentile = self.target_percentile
        _refuse_unless(percentile is None or 0 < percentile < 100, self, "target_percentile", "between 0 and 100")

    def most_under_way(self, scenario: Scenario) -> int | None:
        """How many requests of a scenario are under way at once at most; None: as many as the load generator makes."""
        return {"SingleStream": 1, "MultiStream": self.samples_per_query, "Offline": self.concurrency}.get(scenario)


def scenario_of(name: str, settings: MlperfSettings) -> Scenario:
    """The scenario of that name, in any case.

    Raises:
        LoadError: There is none, or `settings` lack what it needs.
    """
    scenario = next((each for each in SCENARIOS if each.lower() == name.lower()), None)
    if scenario is None:
        raise LoadError(f"{name!r} is no scenario of MLPerf; there are {', '.join(SCENARIOS)}")
    if scenario == "Server" and settings.target_qps is None:
        raise LoadError(
            "MLPerf's Server scenario needs a rate: give the queries per second that the server has to bear"
        )
    return scenario


def _refuse_unless(good: bool, settings: MlperfSettings, name: str, expected: str) -> None:
    if not good:
        raise LoadError(f"MLPerf's {name.replace('_', ' ')} has to be {expected}, not {getattr(settings, name)}")
