"""The load test's HTML page: well-formed, self-contained, escaped, and carrying its report."""

import json
import re

import pytest
from load_reports import NASTY_NAMES, full_report, report, request, row, server_side, silent_row
from page_reading import PageReading

from quadriga_client.load.formats.document import (
    Block,
    Bullets,
    Cell,
    Facts,
    Paragraph,
    Picture,
    Section,
    Table,
    Tile,
    Tiles,
)
from quadriga_client.load.formats.html import html
from quadriga_client.load.formats.json import decode, encode
from quadriga_client.load.formats.page import page
from quadriga_client.load.report import Report, ServerSide

REPORTS = [
    pytest.param(full_report(), id="full"),
    pytest.param(report(), id="nothing measured"),
    pytest.param(report([row(1)]), id="one row"),
    pytest.param(report([row(100, "open", server=None)]), id="one rate, silent server"),
    pytest.param(report([silent_row()]), id="no answers"),
    pytest.param(report([row(saturated=True), silent_row(16)]), id="nothing that counts"),
    pytest.param(report([row(windows=()), row(8)]), id="the same level twice"),
    pytest.param(report([row(server=ServerSide(source="here", requests=0))]), id="server without figures"),
]


def embedded(text: str) -> bytes:
    found = re.search(r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL)
    assert found
    return found[1].encode()


@pytest.fixture(scope="module", params=REPORTS)
def made(request: pytest.FixtureRequest) -> tuple[Report, str]:
    """A report and its page."""
    return request.param, html(request.param)


@pytest.fixture(scope="module")
def full_page() -> str:
    return html(full_report())


def test_page_is_well_formed_and_refers_to_nothing_outside(made: tuple[Report, str]) -> None:
    _, text = made
    reading = PageReading.of(text)
    assert reading.unbalanced == []
    assert len(reading.ids) == len(set(reading.ids))
    assert all(reference == "data:," or reference[1:] in reading.ids for reference in reading.references)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(reading.ids)
    assert not re.search(r"url\((?!#)|@import", text)
    assert reading.tags.count("script") == 1


def test_page_carries_its_report(made: tuple[Report, str]) -> None:
    measured, text = made
    assert decode(embedded(text)) == measured
    assert json.loads(embedded(text)) == json.loads(encode(measured))


def test_page_has_the_plots_of_a_sweep(full_page: str) -> None:
    plots = re.findall(r'<svg[^>]*aria-label="([^"]*)"', full_page)
    assert [plot.partition(",")[0] for plot in plots] == [
        "Latency against offered rate",
        "Latency by percentile",
        "Latency against throughput",
        "Latency by percentile",
        "Throughput against concurrency",
        "Where a request's time goes",
        "Throughput and p99 of every window",
    ]
    assert full_page.count("<figcaption>") == len(plots)
    assert "generators' ceiling, 2,450/s" in full_page


def test_equal_reports_are_equal_pages(full_page: str) -> None:
    assert html(full_report()) == full_page


def test_saturated_rows_are_grey_and_in_brackets(full_page: str) -> None:
    assert '<span class="badge bad">generator saturated</span>' in full_page
    assert '<td class="number muted">[1,750]' in full_page


def test_hollow_points_are_explained_where_there_are_some(full_page: str) -> None:
    captions = PageReading.of(full_page).texts["figcaption"]
    about_them = [caption for caption in captions if "Hollow points are not the server" in caption]
    assert [caption.partition(",")[0] for caption in about_them] == [
        "Latency against throughput",
        "Throughput against concurrency",
    ]


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_no_name_gets_out_of_its_text(name: str) -> None:
    nasty = report(
        [silent_row(notes=(name,), errors={name: 3}, server=server_side(source=name), windows=())],
        request=request(model=name, inputs={name: name}, content=name),
        error=name,
        command=name,
        settings={name: name},
    )
    plain = report(
        [silent_row(notes=("x",), errors={"x": 3}, server=server_side(source="x"), windows=())],
        request=request(model="x", inputs={"x": "x"}, content="x"),
        error="x",
        command="x",
        settings={"x": "x"},
    )
    text = html(nasty)
    reading = PageReading.of(text)
    assert reading.unbalanced == []
    assert reading.tags == PageReading.of(html(plain)).tags
    assert decode(embedded(text)) == nasty
    shown = " ".join("".join(each if each.isprintable() else " " for each in name).split())
    assert "".join(reading.texts["h1"]) == f"Load test of {shown}"


def test_every_block_is_rendered_and_escaped() -> None:
    evil = "<i>&"
    blocks: list[Block] = [
        Paragraph(evil),
        Paragraph(evil, "warning"),
        Bullets([evil]),
        Facts({evil: evil}),
        Tiles([Tile(evil, evil, evil)]),
        Table(evil, [evil, evil], [[Cell(evil), Cell(evil, evil, "muted", number=True)]]),
        Picture('<svg xmlns="http://www.w3.org/2000/svg"></svg>', evil, wide=True),
    ]
    text = page(evil, [Section(evil, blocks)], lead=evil, footer=evil)
    reading = PageReading.of(text)
    assert reading.unbalanced == []
    assert "i" not in reading.tags
    for tag in ("h1", "h2", "p", "li", "dt", "dd", "caption", "th", "td", "small", "figcaption", "title"):
        assert tag in reading.tags
    assert '<th scope="col" class="number">' in text
    assert '<th scope="row">' in text
    assert '<p class="notice warning" role="note">' in text


def test_a_table_without_rows_keeps_its_headings() -> None:
    assert '<th scope="col">a</th>' in page("title", [Section("", [Table("none", ["a"], [])])])


def test_data_cannot_end_its_element() -> None:
    document = {"text": "</script><!--<script>&"}
    text = page("title", [], data={"mine": json.dumps(document).encode()})
    assert PageReading.of(text).unbalanced == []
    found = re.search(r'id="mine">(.*?)</script>', text, re.DOTALL)
    assert found
    assert json.loads(found[1]) == document


def test_levels_that_do_not_count_have_no_percentile_curves() -> None:
    text = html(report([row(100, "open", saturated=True), row(8)]))
    assert 'id="percentiles-closed-figure_1"' in text
    assert "percentiles-open" not in text
