"""Who else calls a server, by its metrics page: pages as Quadriga writes them, without a server."""

from typing import cast

import pytest

from quadriga_client.client import Client
from quadriga_client.compare import neighbours
from quadriga_client.compare.neighbours import PageNeighbours, Traffic, neighbours_of, were_quiet
from quadriga_client.load.errors import LoadError
from quadriga_client.load.server_side import PageProbe, StatisticsProbe

URL = "http://127.0.0.1:8000/metrics"
PAGE = """
# TYPE quadriga_requests_total counter
quadriga_requests_total{model="a",version="1",outcome="answered",code="OK",reason=""} 100.0
quadriga_requests_total{model="a",version="1",outcome="failed",code="INTERNAL",reason="x"} 3.0
quadriga_requests_total{model="a",version="2",outcome="answered",code="OK",reason=""} 20.0
quadriga_requests_total{model="b",version="1",outcome="answered",code="OK",reason=""} 7.0
# TYPE quadriga_queue_depth gauge
quadriga_queue_depth{model="a",version="1"} 4.0
quadriga_queue_depth{model="b",version="1"} 2.0
# TYPE quadriga_batches_in_flight gauge
quadriga_batches_in_flight{model="b",version="1"} 1.0
"""


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Pages by URL; others are not there."""
    pages = {URL: PAGE}

    def fetch(url: str, seconds: float) -> str:
        if url not in pages:
            raise LoadError("no page")
        return pages[url]

    monkeypatch.setattr(neighbours, "fetch", fetch)
    return pages


@pytest.mark.parametrize(("version", "ended"), [("1", 27.0), ("", 7.0)])
def test_all_but_the_contestants_requests_are_counted(page: dict[str, str], version: str, ended: float) -> None:
    assert PageNeighbours(URL, "a", version).read() == Traffic(ended=ended, under_way=3.0)


def test_a_page_without_the_contestant_or_none_at_all_tells_nothing(page: dict[str, str]) -> None:
    assert PageNeighbours(URL, "c", "1").read() is None
    assert PageNeighbours("http://127.0.0.1:1/metrics", "a", "1").read() is None
    page[URL] = "quadriga_requests_total{ 1"
    assert PageNeighbours(URL, "a", "1").read() is None


def test_they_are_on_the_page_without_the_choice_of_one_model() -> None:
    assert neighbours_of(PageProbe(f"{URL}?model=a", "a", "1")) == PageNeighbours(URL, "a", "1")
    assert neighbours_of(PageProbe(URL, "a", "1")) == PageNeighbours(URL, "a", "1")
    assert neighbours_of(PageProbe(f"{URL}?job=x", "a", "1")) is None
    assert neighbours_of(StatisticsProbe(cast("Client", None), "a", "1")) is None
    assert neighbours_of(None) is None


@pytest.mark.parametrize(
    ("before", "after", "quiet"),
    [
        (Traffic(7, 0), Traffic(7, 0), True),
        (Traffic(7, 0), Traffic(8, 0), False),
        (Traffic(7, 1), Traffic(7, 0), False),
        (Traffic(7, 0), Traffic(7, 1), False),
        (None, Traffic(7, 0), False),
        (Traffic(7, 0), None, False),
    ],
)
def test_a_server_is_quiet_where_nothing_moved(before: Traffic | None, after: Traffic | None, quiet: bool) -> None:
    assert were_quiet(before, after) == quiet
