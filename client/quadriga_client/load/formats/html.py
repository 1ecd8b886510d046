"""A load test's report as one HTML page, which also carries the report itself as JSON. Pure."""

from dataclasses import replace

from quadriga_client.load.formats import json
from quadriga_client.load.formats.figures import pictures
from quadriga_client.load.formats.page import page
from quadriga_client.load.formats.sections import lead, sections, title
from quadriga_client.load.report import Report


def html(report: Report) -> str:
    """The page; its element with the id "report" holds what the JSON file would."""
    plots = pictures(report)
    shown = [replace(section, blocks=[*section.blocks, *plots.get(section.title, ())]) for section in sections(report)]
    return page(
        title(report),
        shown,
        lead=lead(report),
        footer=f"Made by quadriga {report.quadriga}. The element “report” of this page holds the whole report as JSON.",
        data={"report": json.encode(report)},
    )
