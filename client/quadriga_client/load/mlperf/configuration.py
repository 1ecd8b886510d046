"""The load generator's own settings: MLPerf's, what of them is set aside, and what is expected of the server. Pure.

That a run is of a bearable size is seen here, too: the load generator makes all its queries before the first is sent.
"""

import operator
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from quadriga_client.load.errors import LoadError
from quadriga_client.load.mlperf.settings import MlperfSettings, Scenario

#: Of Offline, whose run is as long as its samples make it: too few make it invalid. Of queries one after the other the
#: load generator itself makes twice as many as should be needed.
HEADROOM: Final = 1.5
#: The load generator keeps some 0.4 KB of each sample, seen with its version 6.0: 4 GB of so many.
MOST_SAMPLES: Final = 10_000_000
#: How many of the queries that a run should need the load generator makes; of Offline, of its query's samples. As
#: `generated_query_count` and `generated_samples_per_query` of its detailed log tell.
_GENERATED: Final[dict[Scenario, float]] = {"SingleStream": 2.0, "MultiStream": 2.0, "Server": 1.0, "Offline": 1.1}
#: What the fields of its settings begin with. Offline is not judged by a latency.
_PREFIXES: Final[dict[Scenario, str]] = {
    "SingleStream": "single_stream", "MultiStream": "multi_stream", "Server": "server"
}  # fmt: skip
#: What makes a run of a scenario smaller besides its duration.
_REMEDIES: Final[dict[Scenario, str]] = {
    "SingleStream": "a longer expected latency",
    "MultiStream": "a longer expected latency",
    "Server": "a lower rate",
    "Offline": "a lower expected qps",
}
#: TestSettings.FromConfig's kind of configuration: the mlperf.conf that the load generator carries.
_MLPERF_CONF: Final = 0


class Override(NamedTuple):
    """A value that takes the place of MLPerf's own.

    Attributes:
        name: Of the setting.
        given: None: not set.
        own: MLPerf's.
        unit: Of both.
        laxer: Whether `given` is less than a submission needs, by `given` and `own`.
    """

    name: str
    given: float | None
    own: float
    unit: str = ""
    laxer: Callable[[float, float], bool] = operator.ne

    def note(self) -> str:
        """What a reader has to know of it; empty where it changes nothing."""
        if self.given is None or self.given == self.own:
            return ""
        text = f"{self.name} is {self.given:.10g}{self.unit} instead of {self.own:.10g}{self.unit}"
        return f"not a submission: {text}" if self.laxer(self.given, self.own) else text


def generator_settings(
    loadgen: Any,  # noqa: ANN401  # the module, which has no types
    scenario: Scenario,
    settings: MlperfSettings,
    *,
    requests: int,
    answers_per_second: float,
) -> tuple[Any, tuple[str, ...]]:
    """The load generator's own settings, and a note on each that is not MLPerf's.

    Args:
        loadgen: The module `mlperf_loadgen`.
        scenario: Of the run.
        settings: Of the run.
        requests: How many different ones there are.
        answers_per_second: That were seen before the run.

    Raises:
        LoadError: The run would have more than `MOST_SAMPLES`.
    """
    wanted = loadgen.TestSettings()
    wanted.FromConfig("", "", scenario, _MLPERF_CONF)
    notes = tuple(filter(None, (each.note() for each in _overrides(wanted, scenario, settings, requests))))
    wanted.scenario = getattr(loadgen.TestScenario, scenario)
    wanted.mode = loadgen.TestMode.PerformanceOnly
    wanted.multi_stream_samples_per_query = settings.samples_per_query
    if settings.min_duration is not None:
        wanted.min_duration_ms = _milliseconds(settings.min_duration)
    if settings.min_queries is not None:
        wanted.min_query_count = settings.min_queries
    if settings.target_percentile is not None:
        setattr(wanted, f"{_PREFIXES[scenario]}_target_latency_percentile", settings.target_percentile / 100)
    if settings.target_latency_ms is not None:
        wanted.server_target_latency_ns = max(round(settings.target_latency_ms * 1e6), 1)
    _refuse_too_many(scenario, _samples(wanted, scenario, _expect(wanted, scenario, settings, answers_per_second)))
    return wanted, notes


def _overrides(
    own: Any,  # noqa: ANN401  # TestSettings as MLPerf has them
    scenario: Scenario,
    settings: MlperfSettings,
    requests: int,
) -> list[Override]:
    seconds = None if settings.min_duration is None else _milliseconds(settings.min_duration) / 1000
    overrides = [
        Override("min duration", seconds, own.min_duration_ms / 1000, " s", operator.lt),
        Override("min query count", settings.min_queries, own.min_query_count, "", operator.lt),
        Override("sample count", settings.sample_count, requests),
    ]
    if prefix := _PREFIXES.get(scenario):
        percentile = round(getattr(own, f"{prefix}_target_latency_percentile") * 100, 9)
        overrides.append(Override("target percentile", settings.target_percentile, percentile, "", operator.lt))
    if scenario == "Server":
        latency_ms = own.server_target_latency_ns / 1e6
        overrides.append(Override("target latency", settings.target_latency_ms, latency_ms, " ms", operator.gt))
    if scenario == "MultiStream":
        overrides.append(Override("samples per query", settings.samples_per_query, own.multi_stream_samples_per_query))
    return overrides


def _expect(
    wanted: Any,  # noqa: ANN401  # TestSettings
    scenario: Scenario,
    settings: MlperfSettings,
    answers_per_second: float,
) -> float:
    """Sets what a scenario expects of the server; the queries per second that come of it, of Offline the samples."""
    if scenario == "Offline":
        wanted.offline_expected_qps = settings.expected_qps or answers_per_second * HEADROOM
        return float(wanted.offline_expected_qps)
    if scenario == "Server":
        wanted.server_target_qps = settings.target_qps
        return float(wanted.server_target_qps)
    samples = settings.samples_per_query if scenario == "MultiStream" else 1
    latency_ms = settings.expected_latency_ms or samples / answers_per_second * 1e3
    setattr(wanted, f"{_PREFIXES[scenario]}_expected_latency_ns", latency_ms * 1e6)
    return 1e3 / latency_ms


def _samples(
    wanted: Any,  # noqa: ANN401  # TestSettings
    scenario: Scenario,
    per_second: float,
) -> float:
    """How many the load generator is going to make."""
    queries = max(_GENERATED[scenario] * per_second * wanted.min_duration_ms / 1000, wanted.min_query_count)
    return float(queries * (wanted.multi_stream_samples_per_query if scenario == "MultiStream" else 1))


def _refuse_too_many(scenario: Scenario, samples: float) -> None:
    if samples > MOST_SAMPLES:
        raise LoadError(
            f"MLPerf's {scenario} would hold {samples:,.0f} samples in memory, of {MOST_SAMPLES:,} at most; "
            f"give a shorter min duration, fewer min queries or {_REMEDIES[scenario]}"
        )


def _milliseconds(seconds: float) -> int:
    return max(round(seconds * 1000), 1)
