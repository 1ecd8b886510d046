"""Plots as SVG: what is drawn, that they stand beside each other in a page, and how labels keep apart."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from load_reports import NASTY_NAMES, distribution

from quadriga_client.load.errors import LoadError
from quadriga_client.load.formats.canvas import Axis, colours, moved_apart, shortened, stretched
from quadriga_client.load.formats.figures import curve
from quadriga_client.load.formats.plots import (
    Estimate,
    Layer,
    Point,
    Reference,
    Series,
    estimate_plot,
    line_plot,
    stacked_bars,
)
from quadriga_client.load.formats.timeline import Part, Piece, timeline

SVG = "{http://www.w3.org/2000/svg}"
X, Y = Axis("rate, requests/s"), Axis("latency, ms")


def lines(*names: str, **options: object) -> str:
    series = [Series(name, [Point(1, 2, 1.5, 2.5), Point(2, 3), Point(3, 4, counts=False)]) for name in names]
    return line_plot(series, **{"name": "plot", "label": "A plot", "x": X, "y": Y, **options})  # type: ignore[arg-type]


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()).strip() for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def ids(svg: str) -> set[str]:
    return set(re.findall(r'\bid="([^"]*)"', svg))


def test_plot_is_one_element_with_a_label_and_texts_as_texts() -> None:
    svg = lines("p50", "p99", references=[Reference(3.5, "the ceiling")])
    root = ElementTree.fromstring(svg)
    assert (root.tag, root.get("role"), root.get("aria-label")) == (f"{SVG}svg", "img", "A plot")
    assert not svg.startswith("<?xml")
    assert {"p50", "p99", "the ceiling", "rate, requests/s", "latency, ms"} <= set(texts(svg))
    assert not {element.tag for element in root.iter()} & {f"{SVG}style", f"{SVG}metadata"}


def test_a_single_series_needs_no_name() -> None:
    assert "alone" not in texts(lines("alone"))


def test_equal_plots_are_equal_texts_and_others_share_no_ids() -> None:
    assert lines("a") == lines("a")
    assert not ids(lines("a", name="one")) & ids(lines("a", name="two"))


def test_every_reference_has_its_element() -> None:
    svg = lines("a", "b")
    referred = set(re.findall(r'href="#([^"]*)"', svg)) | set(re.findall(r"url\(#([^)]*)\)", svg))
    assert referred
    assert referred <= ids(svg)


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_names_are_shown_as_they_are(name: str) -> None:
    shown = shortened(name)
    assert shown in texts(lines(name, "other"))
    assert shortened(name, 24) in texts(stacked_bars([name], [Layer("a", [1.0])], name="p", label=name, x=X))
    assert shown in texts(estimate_plot([Estimate(name, 1.0)], name="p", label=name, x=X))
    part = Part(name, [Piece(1.0, (1.0,), shaded=False)])
    assert shortened(name, 24) in texts(timeline([part], [Y], name="p", label=name))


@pytest.mark.parametrize("scale", ["linear", "log", "percentile"])
@pytest.mark.parametrize(
    "points",
    [
        [],
        [Point(99, 0.0)],
        [Point(50, 2.0, counts=False)],
        [Point(0, 0.0), Point(90, 1e-6, 0.0, 1e6)],
        [Point(10, 5.0), Point(10, 5.0)],
    ],
)
def test_few_and_odd_points_are_drawn(points: list[Point], scale: str) -> None:
    across = Axis("x", scale)  # type: ignore[arg-type]
    up = Axis("y", "log" if scale == "log" else "linear")
    for series in ([Series("a", points)], [Series("a", points), Series("b", [Point(99, 3.0)])]):
        svg = line_plot(series, name="plot", label="", x=across, y=up)
        assert "nan" not in svg.lower()


def test_nothing_at_all_is_an_empty_plot() -> None:
    for svg in (
        line_plot([], name="plot", label="", x=X, y=Y),
        stacked_bars([], [], name="plot", label="", x=X),
        estimate_plot([], name="plot", label="", x=X),
        timeline([], [Y], name="plot", label=""),
    ):
        assert ElementTree.fromstring(svg).tag == f"{SVG}svg"


def test_bars_say_their_sum_and_pass_over_what_is_not_known() -> None:
    layers = [Layer("queue", [1.0, None]), Layer("compute", [2.0, 4.0]), Layer("transport", [0.5, -0.2])]
    svg = stacked_bars(["8 callers", "16 callers"], layers, name="bars", label="", x=X, muted=[False, True])
    assert {"8 callers", "16 callers", "queue", "compute", "transport", "3.50", "4.00"} <= set(texts(svg))


def test_timeline_shades_what_does_not_count_and_leaves_gaps() -> None:
    pieces = [Piece(1.0, (100.0, None), shaded=True), Piece(1.0, (200.0, 3.0), shaded=False)]
    svg = timeline([Part("8 callers", pieces), Part("none", [])], [Axis("answers"), Axis("p99")], name="t", label="")
    assert {"8 callers", "answers", "p99", "seconds"} <= set(texts(svg))
    assert svg.count("#eef1f5") == 2
    assert "nan" not in svg.lower()


def test_labels_keep_apart_in_their_order_and_within_bounds() -> None:
    assert moved_apart([10, 50, 90], 10, 0, 100) == [10, 50, 90]
    assert moved_apart([50, 49, 51], 10, 0, 100) == [59, 49, 69]
    assert moved_apart([98, 99, 100], 10, 0, 100) == [80, 90, 100]
    assert moved_apart([0, 0], 10, 0, 100) == [0, 10]
    assert moved_apart([], 10, 0, 100) == []


def test_each_nine_is_as_far() -> None:
    assert [stretched(percentile) for percentile in (0, 90, 99, 99.9)] == pytest.approx([0, 1, 2, 3])
    assert stretched(100) < 10


def test_ordered_series_go_from_light_to_dark() -> None:
    def light(colour: str) -> int:
        return sum(int(colour[place : place + 2], 16) for place in (1, 3, 5))

    shades = [light(colour) for colour in colours(5, ordered=True)]
    assert shades == sorted(shades, reverse=True)
    assert len(set(colours(7, ordered=False))) == 7
    assert len(colours(9, ordered=False)) == 9


def test_percentile_curve_ends_where_one_request_is_left() -> None:
    durations = distribution(5.0, 1000)
    points = curve(durations)
    found = {round(point.x, 6): point.y for point in points}
    assert max(found) == pytest.approx(99.9)
    assert found[90.0] == pytest.approx(durations.percentile_ms(90.0), rel=0.01)
    assert found[99.0] == pytest.approx(durations.percentile_ms(99.0), rel=0.05)
    assert points[-1].y <= durations.max_ms
    assert [point.y for point in points] == sorted(point.y for point in points)


@pytest.mark.parametrize("histogram", ["", "no base64", "HISTFAAAA"])
def test_a_damaged_histogram_is_told_in_a_line(histogram: str) -> None:
    with pytest.raises(LoadError, match="a histogram is damaged"):
        curve(replace(distribution(), histogram=histogram))


def test_percentile_curve_of_one_request_is_a_point() -> None:
    durations = distribution(5.0, 1)
    assert [point.y for point in curve(durations)] == [pytest.approx(durations.max_ms)]


def test_a_line_that_turns_back_has_intervals_and_no_band() -> None:
    there = [Point(1, 2, 1.5, 2.5), Point(2, 3, 2.5, 3.5)]
    band = "fill-opacity: 0.14"
    assert band in line_plot([Series("a", there)], name="plot", label="", x=X, y=Y)
    assert band not in line_plot([Series("a", [*there, Point(1.5, 4, 3.5, 4.5)])], name="plot", label="", x=X, y=Y)
