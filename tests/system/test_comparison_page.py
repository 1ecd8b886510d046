"""A comparison's HTML page in a real browser: it draws its plots, complains of nothing and asks for nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
from chromium import Chromium, faults
from comparisons import comparison, made_level
from load_reports import NASTY_NAMES

from quadriga_client.compare.changes import changes
from quadriga_client.compare.comparison import Comparison
from quadriga_client.compare.formats import write

_SCHEMA = "JSON.parse(document.getElementById('report').textContent).schema"
SPEEDS = {"same_onnx": 100.0, "same_torchscript": 200.0, "same_keras": 40.0, "same_savedmodel": 90.0}


def written(folder: Path, report: Comparison) -> Path:
    write(report, folder)
    return folder / "comparison.html"


def full() -> Comparison:
    """Two levels, beside an older report that has a figure more."""
    report = comparison(SPEEDS, levels=[made_level(SPEEDS, concurrency) for concurrency in (1, 8)])
    (level, *more) = report.levels
    silent = replace(level.standings[0], p99_ms=None)
    new = replace(report, levels=(replace(level, standings=(silent, *level.standings[1:])), *more))
    return replace(new, changes=changes(report, new, against="old.json", tolerated=0.05))


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_the_page_draws_the_plots_of_every_level(browser: Chromium, tmp_path: Path, width: int) -> None:
    page = written(tmp_path, full())
    view = browser.open(page, width=width)
    assert faults(view, page, plots=2 * 5) == []
    assert view.evaluate(_SCHEMA) == "quadriga.compare/1"
    assert "Not comparable any more" in view.evaluate("document.body.innerText")


@pytest.mark.parametrize(
    ("report", "plots"),
    [
        pytest.param(comparison({"a": 1.0, "b": 2.0}, levels=[], error="gone"), 0, id="nothing timed"),
        pytest.param(comparison(dict.fromkeys(NASTY_NAMES, 100.0)), 5, id="nasty names"),
    ],
)
def test_a_page_of_little_or_nasty_content(browser: Chromium, tmp_path: Path, report: Comparison, plots: int) -> None:
    page = written(tmp_path, report)
    assert faults(browser.open(page, width=1280), page, plots) == []
