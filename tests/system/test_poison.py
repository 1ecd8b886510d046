"""Requests that take their worker, or their batch, down: they alone are refused, and all others are answered."""

from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from oip import error_of, infer_request, method, outputs_of, rpc
from running_server import RunningServer, write_fake
from steady_load import CALL_SECONDS, Load

from quadriga_proto import inference_pb2 as pb

POISON = 13.0
ROWS = [np.full((1, 4), value, np.float32) for value in range(32)]


def deaths(server: RunningServer, **labels: str) -> float:
    return server.metric("quadriga_worker_deaths_total", **labels)


@pytest.mark.parametrize("key", ["segfault_on", "exit_on"])
def test_one_among_many_is_refused_and_its_neighbours_are_answered(
    start: Callable[..., RunningServer], tmp_path: Path, key: str
) -> None:
    # Requests that wait for the same worker share a batch.
    write_fake(tmp_path, "mortal", {key: POISON, "sleep_ms": 5}, "max_batch_size = 32")
    server = start("--repository", str(tmp_path))
    with grpc.insecure_channel(server.grpc) as channel, Load(server.grpc, "mortal") as load:
        load.wait_for_answers()
        infer = method(channel, "ModelInfer")
        requests = [infer_request("mortal", x=row).SerializeToString() for row in ROWS]
        calls = [infer.future(request, timeout=CALL_SECONDS) for request in requests]
        for row, call in zip(ROWS, calls, strict=True):
            if row[0, 0] == POISON:
                error = call.exception()
                assert isinstance(error, grpc.Call)
                assert error.code() is grpc.StatusCode.INTERNAL
                assert "2 workers of model 'mortal' were lost" in str(error.details())
            else:
                response = pb.ModelInferResponse.FromString(call.result())
                assert np.array_equal(outputs_of(response)["x"], row)
        load.wait_for_answers()
    assert set(load.outcomes) == {"OK"}
    assert load.wrong == 0
    assert 2 <= deaths(server, model="mortal", reason="died") <= 3
    assert deaths(server, model="mortal") == server.metric("quadriga_worker_restarts_total", model="mortal")


def test_the_same_request_again_costs_no_worker(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "mortal", {"die_on": POISON})
    server = start("--repository", str(tmp_path))
    poison = infer_request("mortal", x=np.full((1, 4), POISON, np.float32))
    with grpc.insecure_channel(server.grpc) as channel:
        for offence in (1, 2):
            code, message = error_of(channel, "ModelInfer", poison)
            assert (code, "SIGKILL" in message) == ("INTERNAL", True)
            assert deaths(server, model="mortal") == 2 * offence
        code, message = error_of(channel, "ModelInfer", poison)
        assert (code, "same request before" in message) == ("INTERNAL", True)
        assert deaths(server, model="mortal") == 4
        row = np.zeros((1, 4), np.float32)
        response = rpc(channel, "ModelInfer", infer_request("mortal", x=row))
        assert np.array_equal(outputs_of(response)["x"], row)
        assert rpc(channel, "ModelReady", pb.ModelReadyRequest(name="mortal")).ready


def test_what_the_backend_raises_on_fails_alone(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "picky", {"raise_on": POISON}, "max_batch_size = 32")
    server = start("--repository", str(tmp_path))
    with grpc.insecure_channel(server.grpc) as channel, Load(server.grpc, "picky") as load:
        load.wait_for_answers()
        infer = method(channel, "ModelInfer")
        calls = [infer.future(infer_request("picky", x=row).SerializeToString(), timeout=CALL_SECONDS) for row in ROWS]
        codes = [call.code() for call in calls]
        load.wait_for_answers()
    assert [code is grpc.StatusCode.OK for code in codes] == [row[0, 0] != POISON for row in ROWS]
    assert set(load.outcomes) == {"OK"}
    assert server.metric("quadriga_requests_total", model="picky", reason="inference_failed") == 1
    assert deaths(server, model="picky") == 0


def test_memory_that_is_not_there_fails_a_request_and_not_the_model(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    write_fake(tmp_path, "greedy", {"grow_on": POISON, "grow_bytes": 64 << 20})
    server = start("--repository", str(tmp_path))
    with grpc.insecure_channel(server.grpc) as channel, Load(server.grpc, "greedy") as load:
        code, message = error_of(channel, "ModelInfer", infer_request("greedy", x=ROWS[13]))
        assert (code, "MemoryError" in message) == ("INTERNAL", True)
        load.wait_for_answers()
    assert set(load.outcomes) == {"OK"}
