"""What MLPerf's load generator is set to: its own values, what is set aside of them, and how large a run may be."""

from typing import Any

import pytest

from quadriga_client.load.errors import LoadError
from quadriga_client.load.mlperf import SCENARIOS, MlperfSettings, Scenario
from quadriga_client.load.mlperf.configuration import generator_settings


@pytest.fixture(scope="module")
def loadgen() -> Any:
    return pytest.importorskip("mlperf_loadgen")


def made(loadgen: Any, scenario: Scenario, rate: float = 100.0, **settings: Any) -> tuple[Any, tuple[str, ...]]:
    """Of two requests, with so many answers per second in the rehearsal."""
    given = MlperfSettings(**{"target_qps": 7.0, **settings})
    return generator_settings(loadgen, scenario, given, requests=2, answers_per_second=rate)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_not_set_is_mlperfs_own(loadgen: Any, scenario: Scenario) -> None:
    settings, notes = made(loadgen, scenario)
    assert settings.scenario == getattr(loadgen.TestScenario, scenario)
    assert settings.mode == loadgen.TestMode.PerformanceOnly
    assert settings.min_duration_ms == 600_000
    assert settings.server_target_latency_percentile == 0.99
    assert settings.single_stream_target_latency_percentile == 0.9
    assert settings.multi_stream_samples_per_query == 8
    assert notes == ()


@pytest.mark.parametrize(
    ("scenario", "given", "note"),
    [
        ("Offline", {"min_duration": 2.5}, "min duration is 2.5 s instead of 600 s"),
        ("MultiStream", {"min_queries": 10}, "min query count is 10 instead of 662"),
        ("SingleStream", {"target_percentile": 50.0}, "target percentile is 50 instead of 90"),
        ("Server", {"target_percentile": 95.5}, "target percentile is 95.5 instead of 99"),
        ("Server", {"target_latency_ms": 15.0}, "target latency is 15 ms instead of 10 ms"),
        ("MultiStream", {"samples_per_query": 1}, "samples per query is 1 instead of 8"),
        ("MultiStream", {"samples_per_query": 16}, "samples per query is 16 instead of 8"),
        ("Offline", {"sample_count": 1}, "sample count is 1 instead of 2"),
    ],
)
def test_less_than_a_submission_needs_is_noted(
    loadgen: Any, scenario: Scenario, given: dict[str, Any], note: str
) -> None:
    assert made(loadgen, scenario, **given)[1] == (f"not a submission: {note}",)


@pytest.mark.parametrize(
    ("scenario", "given", "note"),
    [
        ("Offline", {"min_duration": 900.0}, "min duration is 900 s instead of 600 s"),
        ("Offline", {"min_queries": 1_000_000}, "min query count is 1000000 instead of 100"),
        ("SingleStream", {"target_percentile": 99.9}, "target percentile is 99.9 instead of 90"),
        ("Server", {"target_latency_ms": 2.5}, "target latency is 2.5 ms instead of 10 ms"),
    ],
)
def test_more_than_a_submission_needs_is_noted_as_such(
    loadgen: Any, scenario: Scenario, given: dict[str, Any], note: str
) -> None:
    assert made(loadgen, scenario, **given)[1] == (note,)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_mlperfs_own_values_are_not_noted(loadgen: Any, scenario: Scenario) -> None:
    own = {"SingleStream": (100, 90.0), "MultiStream": (662, 99.0), "Server": (100, 99.0), "Offline": (100, None)}
    queries, percentile = own[scenario]
    given: dict[str, Any] = {
        "min_duration": 600.0,
        "min_queries": queries,
        "target_percentile": percentile,
        "sample_count": 2,
    }
    assert made(loadgen, scenario, **given)[1] == ()


def test_each_override_is_set(loadgen: Any) -> None:
    settings, notes = made(
        loadgen, "MultiStream", min_duration=2.5, min_queries=10, samples_per_query=4, target_percentile=50.0
    )
    assert (settings.min_duration_ms, settings.min_query_count) == (2500, 10)
    assert settings.multi_stream_samples_per_query == 4
    assert settings.multi_stream_target_latency_percentile == 0.5
    assert len(notes) == 4


def test_a_server_is_held_to_its_target(loadgen: Any) -> None:
    settings, _ = made(loadgen, "Server", target_qps=250.0, target_latency_ms=15.0, target_percentile=95.0)
    assert settings.server_target_qps == 250.0
    assert settings.server_target_latency_ns == 15_000_000
    assert settings.server_target_latency_percentile == 0.95
    assert settings.multi_stream_target_latency_percentile == 0.99


@pytest.mark.parametrize(
    ("scenario", "name", "measured", "given"),
    [
        ("SingleStream", "single_stream_expected_latency_ns", 1e6, 4e6),
        ("MultiStream", "multi_stream_expected_latency_ns", 8e6, 4e6),
        ("Offline", "offline_expected_qps", 1500.0, 50.0),
    ],
)
def test_what_is_expected_is_given_or_measured(
    loadgen: Any, scenario: Scenario, name: str, measured: float, given: float
) -> None:
    settings, _ = made(loadgen, scenario, 1000.0)
    assert getattr(settings, name) == pytest.approx(measured)
    settings, _ = made(loadgen, scenario, 1000.0, expected_latency_ms=4.0, expected_qps=50.0)
    assert getattr(settings, name) == pytest.approx(given)


@pytest.mark.parametrize(
    ("scenario", "rate", "given", "samples", "remedy"),
    [
        ("Offline", 80_000.0, {}, "79,200,000", "a lower expected qps"),
        ("Offline", 1.0, {"min_queries": 10_000_001}, "10,000,001", "fewer min queries"),
        ("Offline", 1.0, {"expected_qps": 20_000.0}, "13,200,000", "a lower expected qps"),
        ("SingleStream", 9000.0, {}, "10,800,000", "a longer expected latency"),
        ("MultiStream", 9000.0, {}, "10,800,000", "a longer expected latency"),
        ("MultiStream", 1.0, {"min_queries": 2_000_000}, "16,000,000", "fewer min queries"),
        ("Server", 1.0, {"target_qps": 20_000.0}, "12,000,000", "a lower rate"),
    ],
)
def test_more_samples_than_memory_is_for_are_refused(
    loadgen: Any, scenario: Scenario, rate: float, given: dict[str, Any], samples: str, remedy: str
) -> None:
    with pytest.raises(
        LoadError, match=f"{scenario} would hold {samples} samples in memory.*shorter min dur.*{remedy}"
    ):
        made(loadgen, scenario, rate, **given)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_shorter_run_may_be_as_fast(loadgen: Any, scenario: Scenario) -> None:
    made(loadgen, scenario, 80_000.0, target_qps=80_000.0, min_duration=60.0)
