"""The study's page as the repository has it, in a real browser: it draws its plots, and complains of nothing."""

from pathlib import Path

import pytest
from chromium import Chromium, faults

PAGE = Path(__file__).parents[2] / "docs" / "study" / "report.html"
_SCHEMA = "JSON.parse(document.getElementById('study').textContent).schema"


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_the_page_draws_its_plots(browser: Chromium, width: int) -> None:
    view = browser.open(PAGE, width=width)
    # Of calls, and of servers by callers and by rate; how many depends on what the last run of the study could measure.
    plots = PAGE.read_text().count("<svg")
    assert plots >= 3
    assert faults(view, PAGE, plots) == []
    assert view.evaluate(_SCHEMA) == "quadriga.study/1"
