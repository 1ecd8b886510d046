"""MLPerf's scenarios without a server: summaries that the load generator wrote, verdicts and settings."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from quadriga_client.load.errors import LoadError
from quadriga_client.load.mlperf import SCENARIOS, MlperfSettings, Scenario, run_scenario
from quadriga_client.load.mlperf.process import Outcome, generator_settings
from quadriga_client.load.mlperf.scenario import verdict
from quadriga_client.load.mlperf.summary import parse
from quadriga_client.load.target import LoadTarget

SUMMARIES = Path(__file__).parent / "mlperf_summaries"
TARGET = LoadTarget(url="127.0.0.1:1", requests=(b"",), timeout=1.0)


def summary_text(name: str) -> str:
    return (SUMMARIES / f"{name}.txt").read_text()


# Summaries


def test_a_valid_run_has_figures_and_no_reasons() -> None:
    summary = parse(summary_text("single_stream_valid"))
    assert summary.valid
    assert summary.reasons == ()
    assert summary.figures["90.0th percentile latency (ns)"] == "2267879"
    assert summary.figures["QPS w/o loadgen overhead"] == "455.62"
    assert summary.figures["99.90 percentile latency (ns)"] == "2433295"


def test_parameters_stand_apart_from_figures() -> None:
    summary = parse(summary_text("single_stream_valid"))
    assert summary.parameters["min_duration (ms)"] == "1000"
    assert summary.parameters["accuracy_sample_count"] == "16"
    assert not summary.figures.keys() & summary.parameters.keys()


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        (
            "server_invalid",
            (
                "Performance constraints satisfied: NO",
                "Early stopping satisfied: NO",
                "Reduce target QPS to improve latency.",
                "Run unsuccessful. Processed 93 queries. Would need to run at least 569 more queries, with the run "
                "being successful if every additional query were under latency.",
            ),
        ),
        (
            "multi_stream_invalid",
            (
                "Min duration satisfied: NO",
                "Early stopping satisfied: NO",
                "Decrease the expected latency so the loadgen pre-generates more queries.",
                "Only processed 251 queries. Need to process at least 662 queries for early stopping.",
            ),
        ),
        (
            "offline_invalid",
            (
                "Min duration satisfied: NO",
                "Increase expected QPS so the loadgen pre-generates a larger (coalesced) query.",
            ),
        ),
    ],
)
def test_an_invalid_run_says_why(name: str, reasons: tuple[str, ...]) -> None:
    summary = parse(summary_text(name))
    assert not summary.valid
    assert summary.reasons == reasons


@pytest.mark.parametrize("text", ["", "Result is : PERHAPS\n", summary_text("server_invalid")[:200]])
def test_a_summary_without_a_verdict_is_refused(text: str) -> None:
    with pytest.raises(LoadError, match="no verdict"):
        parse(text)


def test_failed_requests_make_a_valid_run_invalid() -> None:
    mlperf = verdict("SingleStream", summary_text("single_stream_valid"), Outcome(failures={14: 1, 5: 7}))
    assert not mlperf.valid
    assert mlperf.reasons == ("7 requests failed: NOT_FOUND", "1 request failed: UNAVAILABLE")
    assert mlperf.errors == {"NOT_FOUND": 7, "UNAVAILABLE": 1}
    assert mlperf.summary["Result is"] == "VALID"


def test_failed_requests_stand_before_other_reasons() -> None:
    mlperf = verdict("Server", summary_text("server_invalid"), Outcome(failures={99: 3}))
    assert mlperf.reasons[:2] == ("3 requests failed: UNKNOWN", "Performance constraints satisfied: NO")


def test_notes_leave_a_run_valid() -> None:
    mlperf = verdict("SingleStream", summary_text("single_stream_valid"), Outcome(notes=("shorter",)))
    assert mlperf.valid
    assert mlperf.notes == ("shorter",)


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_duration": 0.0}, "min duration has to be above 0, not 0.0"),
        ({"target_latency_ms": -1.0}, "target latency ms has to be above 0"),
        ({"target_qps": float("inf")}, "target qps has to be above 0"),
        ({"target_qps": float("nan")}, "target qps has to be above 0"),
        ({"expected_latency_ms": 0.0}, "expected latency ms has to be above 0"),
        ({"expected_qps": 0.0}, "expected qps has to be above 0"),
        ({"min_queries": 0}, "min queries has to be at least 1"),
        ({"samples_per_query": 0}, "samples per query has to be at least 1"),
        ({"sample_count": 0}, "sample count has to be at least 1"),
        ({"connections": 0}, "connections has to be at least 1"),
        ({"concurrency": 0}, "concurrency has to be at least 1"),
        ({"target_percentile": 100.0}, "target percentile has to be between 0 and 100"),
    ],
)
def test_settings_that_no_run_can_have_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        MlperfSettings(**settings)


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(LoadError, match="'Online' is no scenario of MLPerf; there are SingleStream, MultiStream, "):
        run_scenario(TARGET, "Online", settings=MlperfSettings())


def test_server_needs_a_rate() -> None:
    with pytest.raises(LoadError, match="Server scenario needs a rate"):
        run_scenario(TARGET, "server", settings=MlperfSettings())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LoadError, match=r"pip install 'quadriga\[mlperf\]'"):
        run_scenario(TARGET, "Offline", settings=MlperfSettings())


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("exit 3", "ended with status 3$"),
        ("echo one >&2; echo two >&2; exit 1", "ended with status 1: two$"),
        ("kill -9 $$", "ended with status -9$"),
        ("exit 0", "ended with status 0$"),
    ],
    ids=["status", "message", "killed", "silent"],
)
def test_a_process_that_fails_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, message: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    target = LoadTarget(url="127.0.0.1:1", requests=(bytes(1_000_000),), timeout=1.0)  # more than a pipe holds
    with pytest.raises(LoadError, match=message):
        run_scenario(target, "Offline", settings=MlperfSettings())


@pytest.fixture(scope="module")
def loadgen() -> Any:
    return pytest.importorskip("mlperf_loadgen")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_not_set_is_mlperfs_own(loadgen: Any, scenario: Scenario) -> None:
    settings, notes = generator_settings(loadgen, scenario, MlperfSettings(target_qps=7.0), 100.0)
    assert settings.scenario == getattr(loadgen.TestScenario, scenario)
    assert settings.mode == loadgen.TestMode.PerformanceOnly
    assert settings.min_duration_ms == 600_000
    assert settings.server_target_latency_percentile == 0.99
    assert settings.single_stream_target_latency_percentile == 0.9
    assert settings.multi_stream_samples_per_query == 8
    assert notes == ()


def test_less_than_a_submission_needs_is_noted(loadgen: Any) -> None:
    less = MlperfSettings(min_duration=2.5, min_queries=10)
    settings, notes = generator_settings(loadgen, "MultiStream", less, 100.0)
    assert (settings.min_duration_ms, settings.min_query_count) == (2500, 10)
    assert notes == (
        "not a submission: min duration shortened to 2.5 s from 600 s",
        "not a submission: min query count lowered to 10 from 662",
    )


def test_more_than_a_submission_needs_is_not_noted(loadgen: Any) -> None:
    settings, notes = generator_settings(
        loadgen, "Offline", MlperfSettings(min_duration=900.0, min_queries=24_576), 100.0
    )
    assert (settings.min_duration_ms, settings.min_query_count) == (900_000, 24_576)
    assert notes == ()


def test_a_server_is_held_to_its_target(loadgen: Any) -> None:
    target = MlperfSettings(target_qps=250.0, target_latency_ms=15.0, target_percentile=95.0)
    settings, _ = generator_settings(loadgen, "Server", target, 100.0)
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
    settings, _ = generator_settings(loadgen, scenario, MlperfSettings(), 1000.0)
    assert getattr(settings, name) == pytest.approx(measured)
    settings, _ = generator_settings(
        loadgen, scenario, MlperfSettings(expected_latency_ms=4.0, expected_qps=50.0), 1000.0
    )
    assert getattr(settings, name) == pytest.approx(given)


def test_how_many_requests_are_under_way() -> None:
    settings = MlperfSettings(samples_per_query=4, concurrency=32)
    assert [settings.most_under_way(scenario) for scenario in SCENARIOS] == [1, 4, None, 32]
