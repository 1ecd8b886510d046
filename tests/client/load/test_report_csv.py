"""A load test's rows as CSV: read back by columns' names, and as scripts for perf_analyzer's files do."""

import csv
import io
from dataclasses import replace

import pytest
from load_reports import NASTY_NAMES, distribution, full_report, report, request, row, server_side, silent_row

from quadriga_client.load.formats.csv import perf_analyzer_csv, rows_csv
from quadriga_client.load.report import Interval, Report

PERF_ANALYZER = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
    "Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency,Avg latency"
)


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_level_has_a_line_with_its_figures() -> None:
    measured = full_report()
    found = lines(rows_csv(measured))
    assert [float(line["level"]) for line in found] == [each.level for each in measured.rows]
    for line, each in zip(found, measured.rows, strict=True):
        assert float(line["throughput"]) == each.throughput.value
        assert float(line["latency_p99.9_ms"]) == each.latency.percentile_ms(99.9)
        assert float(line["service_p50_ms"]) == each.service.percentile_ms(50.0)
        assert line["saturated"] == str(each.saturated).lower()
        assert line["stable"] == str(each.stable).lower()
        assert line["keeps_up"] == ("" if each.keeps_up is None else str(each.keeps_up).lower())
        assert each.server is not None
        assert float(line["server_queue_ms"]) == each.server.queue_ms
        assert line["server_only_ours"] == "true"
    assert found[-1]["error_codes"] == "RESOURCE_EXHAUSTED:12"


def test_what_is_not_known_is_empty() -> None:
    bare = row(throughput=900.0, server=None, latency=distribution(intervals=False))
    bare = replace(bare, throughput=Interval(value=900.0))
    measured, silent = lines(rows_csv(report([bare, silent_row()])))
    assert (measured["throughput"], measured["throughput_low"], measured["server_queue_ms"]) == ("900.0", "", "")
    assert (measured["latency_p50_low_ms"], measured["errors"], measured["error_codes"]) == ("", "0", "")
    assert (silent["answered"], silent["latency_p99_ms"], silent["latency_mean_ms"]) == ("0", "", "")
    assert (silent["errors"], silent["error_codes"]) == ("2000", "UNAVAILABLE:2000")


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_names_and_notes_come_back(name: str) -> None:
    (line,) = lines(rows_csv(report([row(notes=(name,))], request=request(model=name))))
    assert (line["model"], line["notes"]) == (name, name)


def test_report_without_rows_is_an_empty_table() -> None:
    assert lines(rows_csv(report())) == []
    assert perf_analyzer_csv(report()).startswith("Concurrency,Inferences/Second,")


def test_perf_analyzer_columns_are_spelled_as_its_own() -> None:
    assert perf_analyzer_csv(report([row()])).splitlines()[0] == PERF_ANALYZER


def test_perf_analyzer_figures_are_whole_microseconds_and_parts_add_up() -> None:
    measured = row(8, mean_ms=5.0, throughput=1000.0, rows_per_second=4000.0)
    (line,) = lines(perf_analyzer_csv(report([measured])))
    assert (line["Concurrency"], line["Inferences/Second"]) == ("8", "4000")
    assert (line["Server Queue"], line["Server Compute Input"], line["Server Compute Infer"]) == ("1250", "300", "2500")
    assert int(line["p99 latency"]) == round(measured.latency.percentile_ms(99.0) * 1000)
    parts = list(line)[2:9]
    assert sum(int(line[part]) for part in parts) == pytest.approx(int(line["Avg latency"]), abs=len(parts))


def test_perf_analyzer_lines_are_in_the_order_of_throughput_and_only_the_servers() -> None:
    rows = [row(8, throughput=500.0), row(4, throughput=900.0), row(64, saturated=True), silent_row(16)]
    assert [line["Concurrency"] for line in lines(perf_analyzer_csv(report(rows)))] == ["8", "4"]


def test_perf_analyzer_lines_of_a_search_are_its_rates_though_it_begins_with_one_caller() -> None:
    searched = [row(1), row(200, "open", throughput=200.0), row(100, "open", throughput=100.0)]
    assert [line["Request Rate"] for line in lines(perf_analyzer_csv(report(searched)))] == ["100", "200"]


@pytest.mark.parametrize(
    "measured",
    [
        report([row(server=None)]),
        report([row(), row(16, server=None)]),
        report([row(server=server_side(queue_ms=None))]),
    ],
)
def test_perf_analyzer_server_columns_are_missing_where_no_server_tells(measured: Report) -> None:
    headings = perf_analyzer_csv(measured).splitlines()[0]
    assert headings.startswith("Concurrency,Inferences/Second,Client Send,Client Recv,p50 latency")


def test_perf_analyzer_phases_that_a_server_does_not_tell_count_as_transport() -> None:
    told = server_side(5.0, assembly_ms=None, response_ms=None)
    (line,) = lines(perf_analyzer_csv(report([row(mean_ms=5.0, server=told)])))
    assert (line["Server Compute Input"], line["Server Compute Output"]) == ("0", "0")
