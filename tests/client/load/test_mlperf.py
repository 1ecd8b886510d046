"""MLPerf's scenarios without a server: summaries that the load generator wrote, verdicts and settings."""

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from quadriga_client.load.errors import LoadError
from quadriga_client.load.mlperf import SCENARIOS, MlperfSettings, detailed_log, run_scenario, scenario
from quadriga_client.load.mlperf.process import OUTCOME, SUMMARY, Outcome
from quadriga_client.load.mlperf.scenario import CORES_KEY, verdict
from quadriga_client.load.mlperf.summary import parse
from quadriga_client.load.report import Mlperf
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


@pytest.mark.parametrize(
    ("name", "errors"), [("multi_stream_invalid", ("1 ERROR encountered",)), ("single_stream_valid", ())]
)
def test_a_summary_tells_of_errors(name: str, errors: tuple[str, ...]) -> None:
    assert parse(summary_text(name)).errors == errors


def test_a_summary_tells_of_several_errors() -> None:
    text = summary_text("single_stream_valid").replace(
        "No errors encountered during test.", "12 ERRORS encountered. See"
    )
    assert parse(text).errors == ("12 ERRORS encountered",)


# Detailed logs


def logged(value: str, *, is_error: str = "true") -> str:
    return f':::MLLOG {{"key": "error_runtime", "value": {value}, "metadata": {{"is_error": {is_error}, "pid": 1}}}}\n'


def test_a_detailed_log_has_errors_among_other_things() -> None:
    lines = [logged('"version 6"', is_error="false"), logged('"Ending early."'), logged("7"), logged("null")]
    assert list(detailed_log.errors(lines)) == ["Ending early.", "7", "error_runtime"]


@pytest.mark.parametrize("line", ["", "\n", ":::MLLOG {", ":::MLLOG 3", ':::MLLOG {"key": "error"}', "error: no log"])
def test_a_line_that_is_no_error_is_passed_over(line: str) -> None:
    assert list(detailed_log.errors([line, logged('"one"')])) == ["one"]


# Verdicts


def test_failed_requests_make_a_valid_run_invalid() -> None:
    mlperf = verdict("SingleStream", summary_text("single_stream_valid"), Outcome(failures={14: 1, 5: 7}))
    assert not mlperf.valid
    assert mlperf.reasons == ("7 requests failed: NOT_FOUND", "1 request failed: UNAVAILABLE")
    assert mlperf.errors == {"NOT_FOUND": 7, "UNAVAILABLE": 1}
    assert mlperf.summary["Result is"] == "VALID"


def test_failed_requests_stand_before_other_reasons() -> None:
    mlperf = verdict("Server", summary_text("server_invalid"), Outcome(failures={99: 3}))
    assert mlperf.reasons[:2] == ("3 requests failed: UNKNOWN", "Performance constraints satisfied: NO")


def test_errors_are_reasons_of_an_invalid_run() -> None:
    text = summary_text("multi_stream_invalid")
    assert verdict("MultiStream", text, Outcome()).reasons[-1] == "the load generator's error: 1 ERROR encountered"
    mlperf = verdict("MultiStream", text, Outcome(), ["Ending early."])
    assert mlperf.reasons[-1] == "the load generator's error: Ending early."
    assert mlperf.notes == ()


def test_errors_are_notes_of_a_valid_run() -> None:
    mlperf = verdict("SingleStream", summary_text("single_stream_valid"), Outcome(), ["a clock went back"])
    assert mlperf.valid
    assert mlperf.reasons == ()
    assert mlperf.notes == ("the load generator's error: a clock went back",)


@pytest.mark.parametrize(("cores", "figure"), [(0.0, "0.00"), (0.89, "0.89"), (0.9, "0.90"), (1.25, "1.25")])
def test_a_busy_process_is_noted(cores: float, figure: str) -> None:
    mlperf = verdict("SingleStream", summary_text("single_stream_valid"), Outcome(cores=cores))
    assert mlperf.summary[CORES_KEY] == figure
    assert mlperf.valid
    assert any("the server may be faster" in note for note in mlperf.notes) == (cores >= 0.9)


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


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Offline", {"target_percentile": 99.0}, "Offline scenario is not judged by a latency"),
        ("Offline", {"target_latency_ms": 5.0}, "Offline scenario has no latency to keep to, only Server has"),
        ("SingleStream", {"target_latency_ms": 5.0}, "SingleStream scenario has no latency to keep to"),
    ],
)
def test_what_a_scenario_is_not_judged_by_is_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        run_scenario(TARGET, name, settings=MlperfSettings(**settings))


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


# The process


class Python:
    """Stands for the process: a shell script in its place, whose $FOLDER is the run's."""

    def __init__(self, path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = path
        monkeypatch.setattr(sys, "executable", str(path))
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        monkeypatch.setenv("FOLDERS", str(folder))

    def run(self, program: str) -> Mlperf:
        self._path.write_text(f"#!/bin/sh\nFOLDER=$(echo $FOLDERS/*)\n{program}\n")
        self._path.chmod(0o755)
        target = LoadTarget(url="127.0.0.1:1", requests=(bytes(1_000_000),), timeout=1.0)  # more than a pipe holds
        return run_scenario(target, "Offline", settings=MlperfSettings())


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Python:
    (tmp_path / "folders").mkdir()
    return Python(tmp_path / "python", tmp_path / "folders", monkeypatch)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("exit 3", "ended with status 3$"),
        ("echo one >&2; echo two >&2; exit 1", "ended with status 1: two$"),
        ("kill -9 $$", "ended with status -9$"),
        ("exit 0", "ended with status 0$"),
        (f"echo '{{}}' > $FOLDER/{OUTCOME}", f"ended without a verdict: it left no {SUMMARY}$"),
        (f"echo '{{' > $FOLDER/{OUTCOME}", "left an outcome that cannot be read: "),
        (f"echo '{{\"failures\": 3}}' > $FOLDER/{OUTCOME}", "left an outcome that cannot be read: Expected `object`"),
        (f"echo '{{}}' > $FOLDER/{OUTCOME}; echo > $FOLDER/{SUMMARY}", "gave no verdict"),
        (f'echo \'{{"error": "nobody listens"}}\' > $FOLDER/{OUTCOME}', "^nobody listens$"),
    ],
    ids=["status", "message", "killed", "silent", "no summary", "half", "other types", "no verdict", "error"],
)
def test_a_process_that_fails_is_an_error(python: Python, tmp_path: Path, program: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        python.run(program)
    assert list((tmp_path / "folders").iterdir()) == []


def test_a_process_that_does_not_end_after_its_outcome_is_ended(
    python: Python, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenario, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(scenario, "END_SECONDS", 0.01)
    summary = SUMMARIES / "offline_invalid.txt"
    mlperf = python.run(
        f"cp {summary} $FOLDER/{SUMMARY}; echo '{{}}' > $FOLDER/part; mv $FOLDER/part $FOLDER/{OUTCOME}\nexec cat"
    )  # until its stdin closes
    assert not mlperf.valid


def test_how_many_requests_are_under_way() -> None:
    settings = MlperfSettings(samples_per_query=4, concurrency=32)
    assert [settings.most_under_way(scenario) for scenario in SCENARIOS] == [1, 4, None, 32]
