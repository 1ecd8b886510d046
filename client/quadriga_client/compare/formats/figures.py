"""A comparison as one HTML page with plots, which also carries the report itself as JSON. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.formats import json
from quadriga_client.compare.formats.sections import level_title
from quadriga_client.compare.measures import MEASURES
from quadriga_client.compare.standings import Level
from quadriga_client.compare.verdict import is_saturated
from quadriga_client.load.formats.canvas import Axis
from quadriga_client.load.formats.document import Picture, Section
from quadriga_client.load.formats.page import page
from quadriga_client.load.formats.plots import Estimate, Point, Series, estimate_plot, line_plot
from quadriga_client.load.report import Interval


def html(report: Comparison, title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page; its element with the id "report" holds what comparison.json does."""
    plots = {level_title(level): list(_pictures(level)) for level in report.levels}
    shown = [replace(section, blocks=[*section.blocks, *plots.get(section.title, ())]) for section in sections]
    return page(
        title,
        shown,
        lead=lead,
        footer=f"Made by quadriga {report.quadriga}. The element “report” of this page holds the whole report as JSON.",
        data={"report": json.encode(report)},
    )


def _pictures(level: Level) -> Iterator[Picture]:
    for measure, kind in MEASURES.items():
        known: list[Estimate] = []
        for standing in level.standings:
            figure: Interval | None = getattr(standing, measure)
            if figure is not None:
                counts = not (kind.of_the_client and is_saturated(standing))
                known.append(Estimate(standing.contestant, figure.value, figure.low, figure.high, counts))
        if known:
            yield Picture(
                estimate_plot(
                    known,
                    name=f"{measure.replace('_', '-')}-{level.concurrency}",
                    label=f"{kind.name} of each contestant with its interval, {level_title(level)}",
                    x=Axis(kind.name),
                ),
                f"{kind.name}: medians with their 95 % intervals. Contestants are told apart by their ratios, round by"
                " round, so that a difference can be shown although these intervals overlap.",
            )
    if level.blocks:
        yield Picture(
            line_plot(
                list(_course(level)),
                name=f"blocks-{level.concurrency}",
                label=f"Throughput of every block in the order in which they were measured, {level_title(level)}",
                x=Axis("block"),
                y=Axis("requests/s"),
            ),
            "Every block in the order of time: what falls on all at once is the machine's.",
            wide=True,
        )


def _course(level: Level) -> Iterator[Series]:
    for standing in level.standings:
        points = [
            Point(number, block.throughput, counts=not block.saturated)
            for number, block in enumerate(level.blocks, 1)
            if block.contestant == standing.contestant
        ]
        yield Series(standing.contestant, points)
