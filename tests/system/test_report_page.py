"""The load test's HTML page in a real browser: it draws its plots, complains of nothing and asks for nothing."""

import io
from pathlib import Path

import pytest
from chromium import Chromium, faults
from load_reports import NASTY_NAMES, full_report, report, request, row, silent_row
from PIL import Image

from quadriga_client.load.formats import write
from quadriga_client.load.report import Report

_SCHEMA = "JSON.parse(document.getElementById('report').textContent).schema"


def written(folder: Path, measured: Report) -> Path:
    path = folder / "load.html"
    write(measured, path)
    return path


@pytest.fixture(scope="module")
def full_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that a report can have."""
    return written(tmp_path_factory.mktemp("page"), full_report())


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_page_of_a_sweep_draws_all_of_its_plots(browser: Chromium, full_page: Path, width: int) -> None:
    view = browser.open(full_page, width=width)
    assert faults(view, full_page, plots=7) == []
    assert view.evaluate(_SCHEMA) == "quadriga.load/1"
    picture = Image.open(io.BytesIO(view.screenshot())).convert("RGB")
    assert picture.width == width
    assert picture.height > 1000
    colours = picture.getcolors(1 << 24)
    assert colours
    assert len(colours) > 100


@pytest.mark.parametrize(
    ("measured", "plots"),
    [
        pytest.param(report([row(1)]), 5, id="one row"),
        pytest.param(report([silent_row(windows=())]), 0, id="no answers"),
        pytest.param(
            report([row(8)], request=request(model=" ".join(NASTY_NAMES)), error=NASTY_NAMES[0]), 5, id="nasty"
        ),
    ],
)
def test_page_of_little_or_nasty_content(browser: Chromium, tmp_path: Path, measured: Report, plots: int) -> None:
    page = written(tmp_path, measured)
    assert faults(browser.open(page, width=1280), page, plots) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param("</main>", "<script>throw new Error('broken')</script></main>", "it complains", id="script"),
        pytest.param("</main>", '<img src="http://127.0.0.1:9/x.png"></main>', "it complains", id="image from outside"),
        pytest.param("</style>", "figure svg { display: none }</style>", "a plot of 0 by 0", id="hidden plots"),
        pytest.param("<figure>", '<figure hidden="">', "a plot of 0 by 0", id="hidden figures"),
        pytest.param("<svg ", "<svgs ", "plots of 7", id="no plots"),
        pytest.param("</main>", '<div style="width: 3000px">wide</div></main>', "wider than the window", id="wide"),
    ],
)
def test_broken_page_is_found(
    browser: Chromium, full_page: Path, tmp_path: Path, before: str, after: str, said: str
) -> None:
    page = tmp_path / "broken.html"
    page.write_text(full_page.read_text().replace(before, after))
    found = faults(browser.open(page, width=1280), page, plots=7)
    assert any(said in fault for fault in found)
