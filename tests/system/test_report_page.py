"""The load test's HTML page in a real browser: it draws its plots, complains of nothing and asks for nothing."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, View, installed
from load_reports import NASTY_NAMES, full_report, report, request, row, silent_row
from PIL import Image

from quadriga_client.load.formats import write
from quadriga_client.load.report import Report

_SIZES = """
[...document.querySelectorAll('figure svg')].map(svg => {
  const place = svg.getBoundingClientRect();
  const lines = [...svg.querySelectorAll('path')].filter(path => path.getBBox().width > 0);
  return [place.width, place.height, lines.length, svg.querySelectorAll('text').length];
})
"""
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_SCHEMA = "JSON.parse(document.getElementById('report').textContent).schema"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = installed()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with Chromium(program, tmp_path_factory.mktemp("chromium")) as running:
        yield running


def faults(view: View, page: Path, plots: int) -> list[str]:
    """What is wrong with a page that has been opened; empty where nothing is."""
    sizes = view.evaluate(_SIZES)
    found = [f"it complains: {complaint}" for complaint in view.complaints]
    found += [f"it asks for {url}" for url in view.requested if url not in (page.as_uri(), "data:,")]
    if len(sizes) != plots:
        found.append(f"it has {len(sizes)} plots of {plots}")
    for width, height, lines, texts in sizes:
        if width < 100 or height < 50 or lines == 0 or texts == 0:
            found.append(f"a plot of {width} by {height} has {lines} lines and {texts} texts")
    if view.evaluate(_OVERFLOW) > 0:
        found.append("it is wider than the window")
    return found


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
