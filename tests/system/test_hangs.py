"""Workers that hang, in whatever way: they are noticed by their time limit, killed, counted and replaced."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
from oip import error_of, infer_request, model_index, outputs_of, rpc
from running_server import RunningServer, wait_for, write_fake
from steady_load import Load

HANGING = np.full((1, 4), 13, np.float32)
ROW = np.zeros((1, 4), np.float32)
LIMIT = "[parameters]\nbatch_timeout_seconds = 2.5\n"


def hung(server: RunningServer, model: str) -> float:
    return server.metric("quadriga_worker_deaths_total", model=model, reason="hung")


def test_a_batch_that_never_ends_costs_two_workers_and_its_request_alone(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    write_fake(tmp_path, "m", {"hang_on": 13}, LIMIT)
    server = start("--repository", str(tmp_path))
    with grpc.insecure_channel(server.grpc) as channel, Load(server.grpc, "m") as load:
        code, message = error_of(channel, "ModelInfer", infer_request("m", x=HANGING))
        assert (code, "ran a batch for more than 2.5 s and was killed" in message) == ("INTERNAL", True)
        load.wait_for_answers()
        assert hung(server, "m") == 2
    assert set(load.outcomes) == {"OK"}
    assert load.wrong == 0
    assert server.log.count("hung: ran a batch for more than 2.5 s") == 2


def test_a_frozen_worker_is_replaced_and_no_request_is_lost(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    write_fake(tmp_path, "m", {"sleep_ms": 2}, LIMIT)
    server = start("--repository", str(tmp_path))
    frozen = server.worker_of("m")
    with Load(server.grpc, "m") as load:
        load.wait_for_answers()
        os.kill(frozen, signal.SIGSTOP)
        wait_for(lambda: server.worker_of("m") != frozen, "another worker")
        load.wait_for_answers()
    assert set(load.outcomes) == {"OK"}
    assert load.wrong == 0
    assert hung(server, "m") == 1
    assert frozen not in [process.pid for process in server.workers()]


def test_a_load_that_never_ends_is_given_up(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "m", {"hang_on_load": True}, "[parameters]\nload_timeout_seconds = 1\n")
    write_fake(tmp_path, "healthy")
    server = start("--repository", str(tmp_path))
    with grpc.insecure_channel(server.grpc) as channel:
        index = model_index(channel)
        assert index["healthy"].state == "READY"
        assert index["m"].state == "UNAVAILABLE"
        assert "did not load and warm up the model within 1 s and was killed" in index["m"].reason
        response = rpc(channel, "ModelInfer", infer_request("healthy", x=ROW))
        assert np.array_equal(outputs_of(response)["x"], ROW)
    assert [process.pid for process in server.workers()] == [server.worker_of("healthy")]
