"""ModelStatistics of runs of which every batch is known: all numbers exactly, and every request in one of them."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from oip import error_of, infer_request, method, outputs_of, rpc
from own_backends import OWN_BACKENDS
from running_server import RunningServer, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

REQUESTS, FAILING, REFUSED, CALLERS = 90, 4, 3, 12
BAD = 13.0


@pytest.fixture(scope="module")
def repository(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("repository")
    recording = 'max_batch_size = 8\nbackend = "own_backends:Recording"'
    write_fake(repository, "counted", {"raise_on": BAD}, recording)
    write_fake(repository, "held", config='max_batch_size = 1\nbackend = "own_backends:Held"')
    return repository


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], repository: Path) -> RunningServer:
    return start("--repository", str(repository), env=OWN_BACKENDS)


def statistics(channel: grpc.Channel, model: str) -> pb.ModelStatistics:
    (found,) = rpc(channel, "ModelStatistics", pb.ModelStatisticsRequest(name=model)).model_stats
    assert isinstance(found, pb.ModelStatistics)
    return found


def request_of(rows: int, value: float) -> pb.ModelInferRequest:
    return infer_request("counted", x=np.full((rows, 4), value, np.float32))


def run_mixed(channel: grpc.Channel) -> list[int]:
    """Requests of one to five rows by many callers at once; returns their rows."""
    rows = list(islice(cycle([1, 2, 1, 5, 3, 8, 1]), REQUESTS))
    requests = [request_of(count, index + 100) for index, count in enumerate(rows)]
    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(lambda request: rpc(channel, "ModelInfer", request), requests))
    for index, (count, answer) in enumerate(zip(rows, answers, strict=True)):
        np.testing.assert_array_equal(outputs_of(answer)["x"], np.full((count, 4), index + 100))
    return rows


def test_every_request_of_a_run_is_in_the_statistics_once(server: RunningServer, repository: Path) -> None:
    record = repository / "counted" / "1" / "rows"
    warm_up = len(record.read_text().split())
    with grpc.insecure_channel(server.grpc) as channel:
        fresh = statistics(channel, "counted")
        assert (fresh.inference_count, fresh.execution_count, fresh.last_inference) == (0, 0, 0)
        before_ms = time.time_ns() // 1_000_000
        rows = run_mixed(channel)
        batches = Counter(int(line) for line in record.read_text().split()[warm_up:])
        for _ in range(FAILING):
            assert error_of(channel, "ModelInfer", request_of(2, BAD))[0] == "INTERNAL"
        for _ in range(REFUSED):
            assert error_of(channel, "ModelInfer", request_of(9, 1.0))[0] == "INVALID_ARGUMENT"
        after_ms = time.time_ns() // 1_000_000
        found = statistics(channel, "counted")

    assert found.inference_count == sum(rows)
    assert found.execution_count == batches.total()
    assert before_ms <= found.last_inference <= after_ms
    stats = found.inference_stats
    computed = (stats.compute_input, stats.compute_infer, stats.compute_output)
    assert stats.success.count == stats.queue.count == REQUESTS
    assert [part.count for part in computed] == [REQUESTS] * 3
    assert (stats.fail.count, stats.cache_hit.count, stats.cache_miss.count) == (FAILING, 0, 0)
    assert all(part.ns > 0 for part in (stats.fail, stats.queue, *computed))
    assert stats.success.ns == stats.queue.ns + sum(part.ns for part in computed)
    assert {batch.batch_size: batch.compute_infer.count for batch in found.batch_stats} == batches
    for batch in found.batch_stats:
        assert batch.compute_input.count == batch.compute_infer.count == batch.compute_output.count
    assert sum(batch.batch_size * batch.compute_infer.count for batch in found.batch_stats) == sum(rows)

    def counted(**labels: Any) -> float:
        return server.metric("quadriga_requests_total", model="counted", **labels)

    assert counted(outcome="answered") == REQUESTS
    assert counted(outcome="failed") == FAILING
    assert counted(outcome="refused") == REFUSED
    assert counted() == REQUESTS + FAILING + REFUSED
    assert server.metric("quadriga_rows_total", model="counted") == sum(rows)


def test_requests_that_expire_in_the_queue_count_as_failed(server: RunningServer, repository: Path) -> None:
    row = infer_request("held", x=np.ones((1, 4), np.float32))
    late = infer_request("held", x=np.ones((1, 4), np.float32))
    late.parameters["timeout"].int64_param = 1_000
    with grpc.insecure_channel(server.grpc) as channel:
        calls = [method(channel, "ModelInfer").future(row.SerializeToString(), timeout=30) for _ in range(2)]
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="held") == 2, "two batches")
        assert error_of(channel, "ModelInfer", late)[0] == "DEADLINE_EXCEEDED"
        (repository / "held" / "1" / "go").touch()
        for call in calls:
            call.result()
        found = statistics(channel, "held")
    assert (found.inference_count, found.execution_count) == (2, 2)
    assert (found.inference_stats.success.count, found.inference_stats.fail.count) == (2, 1)
    assert [(batch.batch_size, batch.compute_infer.count) for batch in found.batch_stats] == [(1, 2)]
