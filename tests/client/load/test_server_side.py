"""The server's side of an interval: known differences of both servers' pages and of ModelStatistics."""

from collections.abc import Iterator
from typing import Any

import grpc
import msgspec
import pytest
from metric_pages import Pages, quadriga, triton, web_server

from quadriga_client import Client
from quadriga_client.load import server_side
from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import ServerSide
from quadriga_client.load.server_reading import ModelFacts, ServerReading, from_page
from quadriga_client.load.server_side import PageProbe, StatisticsProbe, between, describe, find_probe
from quadriga_proto import inference_pb2 as pb

URL = "http://h:1/metrics"
#: Of 100 requests in 25 batches; "request" sums up the others, with a batch's time for each of its requests.
BEFORE = {"request": 10.0, "queue": 1.0, "batch_assembly": 0.5, "compute": 4.0, "response": 0.5}
AFTER = {"request": 11.0, "queue": 1.3, "batch_assembly": 0.525, "compute": 4.125, "response": 0.6}


def reading(**fields: Any) -> ServerReading:
    return from_page(quadriga(**fields), URL, "m", "1")


def first(**fields: Any) -> ServerReading:
    return reading(**{"answered": 1000, "batches": 500, "rows": 2000, "seconds": BEFORE, **fields})


def second(**fields: Any) -> ServerReading:
    changed = {"workers": {"m/1": 2.5}, "server_cpu": 1.1}
    return reading(**{"answered": 1100, "batches": 525, "rows": 2200, "seconds": AFTER, **changed, **fields})


class TestBetween:
    def test_quadrigas_page_gives_means_per_request(self) -> None:
        side = between(first(), second(), sent=100, mean_service_ms=12.5)
        assert (side.source, side.requests, side.only_ours, side.note) == (URL, 100, True, "")
        assert side.queue_ms == pytest.approx(3.0)
        assert side.response_ms == pytest.approx(1.0)
        # 1.0 s in all, without 0.3 s of queue and 0.1 s of response: 0.6 s; 25 of the batches' 150 ms were assembly.
        assert side.assembly_ms == pytest.approx(1.0)
        assert side.compute_ms == pytest.approx(5.0)
        assert side.transport_ms == pytest.approx(2.5)
        assert side.rows_per_batch == pytest.approx(8.0)
        assert side.cpu_ms == pytest.approx(6.0)
        assert side.memory_mb == pytest.approx(100.0)

    def test_tritons_page_sums_over_requests_and_gpus(self) -> None:
        us = {
            "request": 900_000,
            "queue": 100_000,
            "compute_input": 50_000,
            "compute_infer": 600_000,
            "compute_output": 9_000,
        }
        before = from_page(triton(answered=10, rows=20, batches=10), URL, "m", "1")
        after = from_page(triton(answered=110, rows=420, batches=60, us=us), URL, "m", "1")
        assert between(before, after, sent=100, mean_service_ms=10.0) == ServerSide(
            source=URL,
            requests=100,
            queue_ms=1.0,
            assembly_ms=0.5,
            compute_ms=6.0,
            response_ms=0.09,
            transport_ms=1.0,
            rows_per_batch=8.0,
        )

    def test_nothing_happened(self) -> None:
        side = between(first(), first(), sent=0, mean_service_ms=0.0)
        assert side == ServerSide(source=URL, requests=0, memory_mb=100.0)

    @pytest.mark.parametrize(
        ("sent", "answered", "refused", "ours"),
        [
            (100, 100, 0, True),
            (100, 109, 0, True),  # those under way at the edges, and 1 %
            (100, 110, 0, False),  # somebody else was calling
            (10_000, 10_108, 0, True),
            (10_000, 10_109, 0, False),
            (100, 40, 60, True),  # all that were sent, most of which were refused
            (40, 40, 60, True),  # those that were answered
            (100, 0, 0, False),  # another server's page
            (100, 90, 0, False),
        ],
    )
    def test_other_callers_show(self, sent: int, answered: int, refused: int, ours: bool) -> None:
        after = second(answered=1000 + answered, refused=refused)
        side = between(first(), after, sent=sent, mean_service_ms=100.0)
        assert side.only_ours is ours
        assert (side.transport_ms is None) is (not ours or not answered)

    def test_more_may_be_under_way(self) -> None:
        assert between(first(), second(answered=1164), sent=100, mean_service_ms=1.0, under_way=64).only_ours

    def test_an_older_triton_does_not_count_what_it_refused(self) -> None:
        before = from_page(triton(answered=10, failed=None), URL, "m", "1")
        after = from_page(triton(answered=50, failed=None, batches=40), URL, "m", "1")
        assert between(before, after, sent=100, mean_service_ms=1.0).only_ours

    @pytest.mark.parametrize("after", [{"answered": 20}, {"load_seconds": 1.6}, {"seconds": BEFORE | {"queue": 0.9}}])
    def test_a_model_that_was_loaded_anew_is_told(self, after: dict[str, Any]) -> None:
        side = between(first(), second(**after), sent=100, mean_service_ms=1.0)
        assert side.note.startswith("the server loaded the model anew meanwhile")
        assert (side.only_ours, side.queue_ms, side.transport_ms, side.cpu_ms) == (False, None, None, None)
        assert side.requests == after.get("answered", 1100)

    @pytest.mark.parametrize(
        "after",
        [
            {"restarts": 1},
            {"workers": {"m/1": 0.5}},  # a new process under the old name
            {"workers": {"m/1#0": 2.5, "m/1#1": 2.5}},
        ],
    )
    def test_a_worker_that_was_replaced_takes_its_cpu_time_along(self, after: dict[str, Any]) -> None:
        side = between(first(), second(**after), sent=100, mean_service_ms=12.5)
        assert side.cpu_ms is None
        assert side.note == "a worker was replaced meanwhile, so that its CPU time is not known"
        assert side.only_ours
        assert side.queue_ms == pytest.approx(3.0)

    def test_means_that_do_not_quite_fit_make_no_negative_transport(self) -> None:
        assert between(first(), second(), sent=100, mean_service_ms=9.9).transport_ms == 0.0

    def test_what_it_says_goes_into_a_report(self) -> None:
        side = between(first(), second(), sent=100, mean_service_ms=12.5)
        assert msgspec.json.decode(msgspec.json.encode(side), type=ServerSide) == side


class TestFromPage:
    def test_versions_count_together_where_none_is_named(self) -> None:
        page = quadriga(answered=10) + quadriga(answered=5, version="2") + quadriga(model="n", answered=7)
        assert from_page(page, URL, "m", "").sums.answered == 15
        assert from_page(page, URL, "m", "2").sums.answered == 5

    def test_names_may_need_escapes(self) -> None:
        page = quadriga(model='a\\"b\\\\c', answered=3)
        assert from_page(page, URL, 'a"b\\c', "1").sums.answered == 3

    @pytest.mark.parametrize(
        ("page", "problem"),
        [
            (quadriga(model="n"), "tells nothing of model 'm' version 1; it has 'n'"),
            (quadriga(version="2"), "tells nothing of model 'm' version 1; it has 'm'"),
            ("# TYPE up gauge\nup 1\n", "has no metrics of Quadriga's or Triton's models"),
            ("\n <!doctype html>\n<p>hello", "is no metrics page; it begins '<!doctype html>'"),
            ("x" * 1000, f"is no metrics page; it begins '{'x' * 60}...'"),
            ("", "is no metrics page; it begins ''"),
            (
                quadriga().replace("quadriga_queue_duration", "other"),
                "has no quadriga_queue_duration_seconds_sum of the model",
            ),
            (triton().replace("nv_inference_exec_count", "other"), "has no nv_inference_exec_count of the model"),
        ],
    )
    def test_a_page_without_the_model_is_an_error(self, page: str, problem: str) -> None:
        with pytest.raises(LoadError) as caught:
            from_page(page, URL, "m", "1")
        assert str(caught.value).startswith(f"{URL} {problem}")


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    """A web server at the port where Quadriga's page is looked for."""
    with web_server() as server:
        monkeypatch.setattr(server_side, "DEFAULT_HTTP_PORT", server.port)
        yield server


@pytest.fixture
def client(stand_in: Any) -> Iterator[Client]:
    with Client(stand_in.url) as connected:
        yield connected


def tell(stand_in: Any, *versions: str, **properties: str) -> None:
    metadata = pb.ModelMetadataResponse(name="m", versions=versions, properties=properties)
    stand_in.on("ModelMetadata", lambda request, context: metadata)


def statistics(answered: int) -> pb.ModelStatisticsResponse:
    def total(milliseconds: float) -> pb.StatisticDuration:
        return pb.StatisticDuration(count=answered, ns=int(answered * milliseconds * 1e6))

    sums = pb.InferStatistics(
        success=total(9),
        queue=total(1),
        compute_input=total(0.5),
        compute_infer=total(6),
        compute_output=total(0.25),
        fail=pb.StatisticDuration(count=3, ns=5),
    )
    model = pb.ModelStatistics(
        name="m", version="1", inference_count=8 * answered, execution_count=answered // 2, inference_stats=sums
    )
    return pb.ModelStatisticsResponse(model_stats=[model])


class TestFindProbe:
    def test_a_given_page_of_quadriga_is_asked_for_the_model_alone(self, pages: Pages, client: Client) -> None:
        pages.show(quadriga())
        probe = find_probe(client, "m", "1", pages.address)
        assert probe == PageProbe(f"http://{pages.address}/metrics?model=m", "m", "1")
        assert describe(probe) == ModelFacts(
            load_seconds=1.5,
            warm_up_seconds=0.25,
            file_bytes=4096,
            memory_bytes=30_000_000,
            server_memory_bytes=70_000_000,
            cpu_seconds=2.0,
        )

    def test_a_given_page_of_triton_is_read_as_it_is(self, pages: Pages, client: Client, stand_in: Any) -> None:
        tell(stand_in, "1")
        pages.show(triton(), "/other")
        url = f"http://{pages.address}/other"
        probe = find_probe(client, "m", "", url)
        assert probe == PageProbe(url, "m", "1")
        assert describe(probe) == ModelFacts()

    def test_a_given_page_has_to_work(self, pages: Pages, client: Client, stand_in: Any) -> None:
        stand_in.on("ModelStatistics", lambda request, context: statistics(4))
        with pytest.raises(LoadError, match="answered 404 Not Found"):
            find_probe(client, "m", "1", pages.address)
        with pytest.raises(LoadError, match="a metrics URL is HOST:PORT"):
            find_probe(client, "m", "1", "metrics:url")

    def test_quadrigas_own_page_is_found(self, pages: Pages, client: Client, stand_in: Any) -> None:
        tell(stand_in, "9", "10", load_ms="1750")
        pages.show(quadriga(version="10") + quadriga(version="9", load_seconds=3.0))
        assert find_probe(client, "m", "", None) == PageProbe(f"http://{pages.address}/metrics?model=m", "m", "10")
        assert pages.asked == ["/metrics?model=m"]

    @pytest.mark.parametrize("load_ms", ["1752", "soon"])
    def test_another_servers_page_is_not_taken(self, pages: Pages, client: Client, stand_in: Any, load_ms: str) -> None:
        tell(stand_in, "1", load_ms=load_ms)
        stand_in.on("ModelStatistics", lambda request, context: statistics(4))
        pages.show(quadriga())
        assert isinstance(find_probe(client, "m", "1", None), StatisticsProbe)

    def test_servers_that_are_not_quadriga_are_not_guessed_at(
        self, pages: Pages, client: Client, stand_in: Any
    ) -> None:
        tell(stand_in, "1")
        stand_in.on("ModelStatistics", lambda request, context: statistics(4))
        assert isinstance(find_probe(client, "m", "1", None), StatisticsProbe)
        assert pages.asked == []

    @pytest.mark.parametrize("page", ["<html>", triton(), quadriga(model="n")])
    def test_a_page_that_was_only_guessed_may_be_anything(
        self, pages: Pages, client: Client, stand_in: Any, page: str
    ) -> None:
        tell(stand_in, "1", load_ms="1750")
        pages.show(page)
        assert find_probe(client, "m", "1", None) is None
        assert pages.asked == ["/metrics?model=m"]

    def test_statistics_give_means_per_request(self, client: Client, stand_in: Any) -> None:
        counts = iter((10, 10, 110))
        stand_in.on("ModelStatistics", lambda request, context: statistics(next(counts)))
        probe = find_probe(client, "m", "1", None)
        assert probe is not None
        before = probe.read()
        side = between(before, probe.read(), sent=104, mean_service_ms=9.75)
        assert (side.source, side.requests, side.only_ours) == ("ModelStatistics", 100, True)
        phases = (side.queue_ms, side.assembly_ms, side.compute_ms, side.response_ms, side.transport_ms)
        assert phases == pytest.approx((1.0, 0.5, 6.0, 0.25, 0.75))
        assert side.rows_per_batch == pytest.approx(16.0)
        assert (side.cpu_ms, side.memory_mb) == (None, None)
        assert [request.version for name, request in stand_in.requests if name == "ModelStatistics"] == ["1"] * 3

    def test_some_servers_tell_nothing(self, client: Client, stand_in: Any) -> None:
        assert find_probe(client, "m", "1", None) is None
        stand_in.on("ModelStatistics", lambda request, context: pb.ModelStatisticsResponse())
        assert find_probe(client, "m", "1", None) is None

    def test_versions_need_not_be_numbers(self, client: Client, stand_in: Any) -> None:
        tell(stand_in, "v0.1.0")
        stand_in.on("ModelStatistics", lambda request, context: statistics(1))
        assert find_probe(client, "m", "", None) == StatisticsProbe(client, "m", "")

    def test_a_server_that_goes_away_is_told(self, client: Client, stand_in: Any) -> None:
        def unload(request: Any, context: grpc.ServicerContext) -> None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no model 'm'")

        stand_in.on("ModelStatistics", lambda request, context: statistics(1))
        probe = find_probe(client, "m", "1", None)
        stand_in.on("ModelStatistics", unload)
        assert probe is not None
        with pytest.raises(LoadError, match=r"the server gives no statistics of model 'm': .*no model 'm'"):
            probe.read()
