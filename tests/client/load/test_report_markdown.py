"""A load test's report as Markdown: what it says, and that no name can change its shape."""

import re
from dataclasses import replace
from typing import Any

import pytest
from load_reports import NASTY_NAMES, full_report, report, request, row, server_side, silent_row

from quadriga_client.load.formats.markdown import markdown
from quadriga_client.load.report import Interval, Mlperf, Slo


def table_line(text: str, name: str) -> list[str]:
    """The cells of the first table line whose first cell is that name."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_full_report_has_all_of_its_parts() -> None:
    text = markdown(full_report())
    assert text.startswith(
        "# Load test of same_onnx\n\nsame_onnx version 1 (onnx) on quadriga 0.1.0 at 127.0.0.1:8001, "
    )
    assert ", 2030-01-02 03:04 UTC.\n" in text
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "Levels of load",
        "Errors",
        "The server's side",
        "The search for a rate",
        "MLPerf",
        "How the load was made",
        "What was sent",
        "The generator's machine",
        "Settings",
    ]
    assert "p99\\<15ms holds at 1,450 requests per second, and does not at 1,520" in text
    assert "> Server: INVALID\n\n- Min duration: 3 s of 60 s" in text
    assert "2,450 answers per second" in text
    assert "- 64 callers: The generator was 9.1 ms late at p99" in text


def test_figures_of_a_saturated_generator_are_in_brackets_and_named() -> None:
    text = markdown(full_report())
    cells = table_line(text, "64 callers")
    assert cells[1] == "**generator saturated**"
    assert all(cell.startswith("\\[") for cell in cells[2:10])
    assert "The generator fell behind at 64 callers" in text
    assert "Highest throughput: **1,762/s** (at 32 callers" in text


def test_unstable_rows_are_marked_and_never_hailed_before_stable_ones() -> None:
    wild = row(16, throughput=5000.0, stable=False)
    text = markdown(report([row(8, throughput=1000.0), wild]))
    assert table_line(text, "16 callers")[1] == "**unstable**"
    assert "Not steady: 16 callers." in text
    assert "Highest throughput: **1,000/s**" in text
    assert ", unstable)" in markdown(report([wild]))


def test_rows_with_failed_requests_are_not_stable_and_never_hailed() -> None:
    failed = row(16, throughput=5000.0, errors={"UNAVAILABLE": 3})
    text = markdown(report([row(8), failed]))
    assert table_line(text, "16 callers")[1] == "**requests failed**"
    assert "Requests failed at 16 callers" in text
    assert "Highest throughput: **1,000/s**" in text
    assert "Highest throughput" not in markdown(report([failed]))
    graver_ones: dict[str, dict[str, Any]] = {
        "generator saturated": {"saturated": True},
        "falls behind": {"keeps_up": False},
    }
    for graver, changes in graver_ones.items():
        text = markdown(report([row(16, errors={"UNAVAILABLE": 3}, **changes)]))
        assert table_line(text, "16 callers")[1] == f"**{graver}**"


def test_row_without_answers_has_no_figures() -> None:
    text = markdown(report([silent_row()]))
    cells = table_line(text, "8 callers")
    assert cells[1] == "**no answers**"
    assert set(cells[3:10]) == {"–"}  # noqa: RUF001
    assert cells[-1] == "2,000"
    assert "Highest throughput" not in text
    assert "| 8 callers | 2,000 | 2,000 |" in text


def test_a_single_row_without_errors_or_server() -> None:
    plain = row(1, throughput=812.0, server=None, requests=2436)
    text = markdown(report([plain]))
    assert table_line(text, "1 caller")[1] == "stable"
    assert "None of 2,436 requests failed." in text
    assert "The server was not asked for its side, or tells nothing." in text
    assert "ceiling was not measured" in text
    assert table_line(text, "1 caller")[2] == "812 (788–836)"  # noqa: RUF001


def test_a_figure_without_interval_stands_alone() -> None:
    alone = replace(row(), throughput=Interval(value=900.0))
    assert table_line(markdown(report([alone])), "8 callers")[2] == "900"


def test_early_ends_are_said_first() -> None:
    text = markdown(report(interrupted=True, error="127.0.0.1:8001 closed the connection"))
    assert "> The test ended early: 127.0.0.1:8001 closed the connection\n\n> The test was interrupted" in text
    assert "> Nothing was measured." in text


def test_other_callers_are_named() -> None:
    told = server_side(only_ours=False, transport_ms=None, memory_mb=512.0, note="a worker was replaced meanwhile")
    text = markdown(report([row(server=told), row(16)]))
    assert "> Not of these requests alone: 8 callers." in text
    assert "- 8 callers: a worker was replaced meanwhile" in text
    assert "| 8 callers | 2,000 | 1.25 | 0.300 | 2.50 | 0.200 | – | 1.10 | 3.40 | 512 |" in text  # noqa: RUF001


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"settings": {"server_side": "not asked"}}, "The server was not asked for its side."),
        ({"settings": {"server_side": "asked"}}, "The server does not tell its side."),
        ({"settings": {"server_side": "asked"}, "interrupted": True}, "ended before the server had told its side"),
        ({"settings": {"server_side": "asked"}, "error": "it went away"}, "ended before the server had told its side"),
    ],
)
def test_why_there_is_nothing_of_the_servers_side(changes: dict[str, Any], says: str) -> None:
    assert says in markdown(report([row(server=None)], **changes))


def test_a_rate_that_the_server_does_not_keep_up_with_is_named_and_not_hailed() -> None:
    late = row(2000, "open", throughput=1900.0, keeps_up=False, stable=False)
    text = markdown(report([row(1000, "open", throughput=990.0, keeps_up=True), late]))
    assert table_line(text, "2,000/s Poisson")[1] == "**falls behind**"
    assert "> The server does not keep up at 2,000/s Poisson: latencies grow as long as such a load lasts." in text
    assert "**990/s** (at 1,000/s Poisson" in text


def test_a_report_of_mlperf_alone_tells_of_its_load_generator_and_of_what_is_wrong() -> None:
    run = Mlperf(
        scenario="Offline",
        valid=False,
        reasons=(),
        summary={"Samples per second": "98.2"},
        notes=("a run of 3 s is for a rehearsal",),
        errors={"UNAVAILABLE": 1234},
    )
    text = markdown(report(mlperf=(run,)))
    assert "MLPerf's own load generator made it, in a process of its own, with 4 connections." in text
    assert "generator process" not in text
    assert "ceiling" not in text
    assert "- a run of 3 s is for a rehearsal" in text
    assert "> Requests that failed: UNAVAILABLE 1,234." in text


def test_a_search_says_what_limited_it() -> None:
    for slo, said in (
        (
            Slo(objective="p99<1ms", rate=None, failed_rate=100.0),
            "holds at no rate that was tried, and does not at 100.",
        ),
        (
            Slo(objective="p99<1s", rate=900.0, failed_rate=None, notes=("it still held",)),
            "holds at 900 requests per sec",
        ),
    ):
        text = markdown(report([row(100, "open")], slo=slo))
        assert said in text
        assert ("- it still held" in text) == bool(slo.notes)


def test_a_level_measured_twice_has_two_names() -> None:
    text = markdown(report([row(8), row(8)]))
    assert table_line(text, "8 callers")[0] == "8 callers"
    assert table_line(text, "8 callers, run 2")[0] == "8 callers, run 2"


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_no_name_changes_the_shape(name: str) -> None:
    nasty = report(
        [row(notes=(name,), errors={name: 3}, server=server_side(source=name))],
        request=request(model=name, inputs={name: "FP32[1]"}),
        error=name,
        settings={name: name},
    )
    plain = report(
        [row(notes=("x",), errors={"x": 3}, server=server_side(source="x"))],
        request=request(model="x", inputs={"x": "FP32[1]"}),
        error="x",
        settings={"x": "x"},
    )
    text = markdown(nasty)
    assert len(text.splitlines()) == len(markdown(plain).splitlines())
    assert not re.search(r"(?<!\\)<", text)
    tables = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in tables} == {
        len(re.split(r"(?<!\\)\|", line)) for line in markdown(plain).splitlines() if line.startswith("|")
    }
