"""A page of metrics: what is taken for one, what is not, and how its lines are read."""

import itertools
import re
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from metric_pages import Pages, web_server

from quadriga_client.load import metrics_page
from quadriga_client.load.errors import LoadError
from quadriga_client.load.metrics_page import Series, fetch, of_model, page_url, read

URL = "http://h:1/metrics"


@pytest.fixture
def pages() -> Iterator[Pages]:
    with web_server() as server:
        yield server


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("h:8000", "http://h:8000/metrics"),
        ("[::1]:8000", "http://[::1]:8000/metrics"),
        ("http://h:8000", "http://h:8000/metrics"),
        ("http://h:8000/", "http://h:8000/metrics"),
        ("https://h/proxy/metrics?x=1#top", "https://h/proxy/metrics?x=1"),
        ("h:8000/other", "http://h:8000/other"),
    ],
)
def test_a_host_and_port_are_enough(text: str, url: str) -> None:
    assert page_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "file:///etc/passwd",
        "ftp://h/x",
        "h:port",
        "h:99999",
        "h:0",
        "[::1:8000",
        "me:secret@h:1",
        "a b:1",
    ],
)
def test_what_is_no_metrics_url_is_refused(text: str) -> None:
    with pytest.raises(LoadError, match="a metrics URL is HOST:PORT or http://HOST:PORT/metrics, got"):
        page_url(text)


def test_quadrigas_page_can_have_one_model_alone() -> None:
    assert of_model(URL, "a b&c") == f"{URL}?model=a+b%26c"
    assert of_model(f"{URL}?mine=1", "m") == f"{URL}?mine=1"


def test_a_page_is_fetched_without_the_environments_proxy(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    pages.show("up 1\nname ü\n")
    assert fetch(page_url(pages.address), 5) == "up 1\nname ü\n"


@pytest.mark.parametrize("status", [302, 404, 500])
def test_another_status_is_an_error_and_no_redirect_is_followed(pages: Pages, status: int) -> None:
    pages.show("", status=status)
    with pytest.raises(LoadError, match=f"http://{pages.address}/metrics answered {status} "):
        fetch(page_url(pages.address), 5)
    assert pages.asked == ["/metrics"]


def test_what_is_no_text_is_an_error(pages: Pages) -> None:
    pages.show(b"\xff\xfe\x00")
    with pytest.raises(LoadError, match="something that is no text"):
        fetch(page_url(pages.address), 5)


def test_a_page_has_a_largest_size(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_page, "LARGEST_PAGE", 2**20)
    pages.show(b"x" * (2**20 + 1))
    with pytest.raises(LoadError, match="has more than 1 MiB, too much for a metrics page"):
        fetch(page_url(pages.address), 5)


def test_all_of_a_page_has_one_deadline(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0, 3)
    monkeypatch.setattr(metrics_page, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    monkeypatch.setattr(metrics_page, "_CHUNK", 1)
    pages.show("slow")
    with pytest.raises(LoadError, match=r"no metrics page came from .*: there was no whole answer within 5 s"):
        fetch(page_url(pages.address), 5)


def test_nobody_listens(unused_port: int) -> None:
    with pytest.raises(
        LoadError, match=rf"no metrics page came from http://127.0.0.1:{unused_port}/metrics: .*refused"
    ):
        fetch(page_url(f"127.0.0.1:{unused_port}"), 5)


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(LoadError, match=r"there was no whole answer within 0\.05 s"):
            fetch(page_url(f"127.0.0.1:{port}"), 0.05)


def test_what_does_not_speak_http_is_told() -> None:
    def hang_up(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"SSH-2.0-something\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        with pytest.raises(LoadError, match=r"what answers does not speak HTTP \(BadStatusLine\)"):
            fetch(page_url(f"127.0.0.1:{listener.getsockname()[1]}"), 5)
        thread.join()


def test_labels_may_hold_what_else_ends_names_and_lines() -> None:
    text = (
        '# TYPE a counter\na{model="q\\"\\\\{x}\\n, \u2028\x85 y"} 4\na{model="n"} 1 1700000000000\nab{model="n"} 8\n'
    )
    samples = read(text, {"a"}, URL)
    assert [(sample.labels["model"], sample.value) for sample in samples] == [
        ('q"\\{x}\n, \u2028\x85 y', 4.0),
        ("n", 1.0),
    ]


def test_lines_that_are_not_wanted_are_not_looked_at() -> None:
    assert read("<html>\nb{]\n", {"a"}, URL) == []


def test_a_line_that_is_no_sample_is_an_error() -> None:
    with pytest.raises(LoadError, match=f"^{re.escape(URL)} is not in Prometheus' text format: "):
        read("a{model=} x\n", {"a"}, URL)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_a_value_that_cannot_be_counted_is_an_error(value: str) -> None:
    with pytest.raises(LoadError, match="expected a finite number"):
        read(f'a{{model="m"}} {value}\n', {"a"}, URL)


def test_series_are_chosen_and_summed_by_labels() -> None:
    text = 'a{model="m",gpu="0"} 1\na{model="m",gpu="1"} 2\na{model="n",gpu="0"} 4\nb 8\n'
    series = Series(read(text, {"a", "b"}, URL), {"model": "m"})
    assert ("a" in series, "b" in series) == (True, False)
    assert (series.total("a"), series.total("a", gpu="1"), series.total("b")) == (3.0, 2.0, None)
    assert series.by("a", "gpu") == {"0": 1.0, "1": 2.0}
