"""Workers that die under load: the others do not notice, the model is back, and no call hangs or is lost."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest
from oip import error_of, infer_request, method, model_index
from running_server import SLAB, RunningServer, open_files, wait_for, write_fake
from steady_load import CALL_SECONDS, Load

from quadriga_proto.conventions import PUSHBACK_TRAILER


class Held(NamedTuple):
    """How many descriptors a server has open, and how many of them are segments of shared memory."""

    descriptors: int
    slabs: int


def held_by(server: RunningServer) -> Held:
    files = open_files(server.process.pid)
    return Held(len(files), sum(SLAB in file for file in files))


def test_an_instance_that_hangs_holds_up_no_other(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "m", {"hang_on": 99.0}, "[[instance_group]]\ncount = 2\n")
    server = start("--repository", str(tmp_path), "--drain-seconds", "0.1")
    with grpc.insecure_channel(server.grpc) as channel:
        infer = method(channel, "ModelInfer")
        hanging = infer.future(infer_request("m", x=np.full((1, 4), 99.0, np.float32)).SerializeToString())
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="m") == 1, "the batch to hang")
        with Load(server.grpc, "m", callers=8) as load:
            load.wait_for_answers()
            load.wait_for_answers()
        assert set(load.outcomes) == {"OK"}
        assert not hanging.done()
        hanging.cancel()


def is_another_worker(server: RunningServer, old: int) -> bool:
    return server.worker_of("victim") != old


def test_sigkill_of_a_worker_under_load(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "victim", {"sleep_ms": 2})
    write_fake(tmp_path, "neighbour", {"sleep_ms": 2})
    server = start("--repository", str(tmp_path))
    neighbour = server.worker_of("neighbour")
    before = held_by(server)
    assert before.slabs > 0
    with Load(server.grpc, "victim") as victims, Load(server.grpc, "neighbour") as neighbours:
        for kills in range(1, 4):
            victims.wait_for_answers()
            victim = server.worker_of("victim")
            os.kill(victim, signal.SIGKILL)
            wait_for(partial(is_another_worker, server, victim), "a new worker")
            assert server.metric("quadriga_worker_restarts_total", model="victim") == kills
        victims.wait_for_answers()
    assert set(victims.outcomes) <= {"OK", "UNAVAILABLE"}
    assert set(neighbours.outcomes) == {"OK"}
    assert victims.wrong == neighbours.wrong == 0
    assert server.worker_of("neighbour") == neighbour
    assert server.metric("quadriga_worker_restarts_total", model="neighbour") == 0
    wait_for(lambda: held_by(server) == before, f"the server to hold {before} again")


def test_deadlines_and_timeouts_are_kept_while_the_worker_is_busy(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    write_fake(tmp_path, "hanging", {"hang_on": 13}, "max_batch_size = 1")
    server = start("--repository", str(tmp_path))
    with grpc.insecure_channel(server.grpc) as channel:
        call = method(channel, "ModelInfer")
        stuck = infer_request("hanging", x=np.full((1, 4), 13, np.float32)).SerializeToString()
        held = [call.future(stuck, timeout=CALL_SECONDS) for _ in range(2)]
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="hanging") == 2, "both slots to be taken")
        request = infer_request("hanging", x=np.zeros((1, 4), np.float32))
        request.parameters["timeout"].int64_param = 50_000
        code, message = error_of(channel, "ModelInfer", request)
        assert code == "DEADLINE_EXCEEDED"
        assert "queue" in message
        labels = {"model": "hanging", "outcome": "failed"}
        assert server.metric("quadriga_requests_total", code="DEADLINE_EXCEEDED", reason="deadline", **labels) == 1
        patient = infer_request("hanging", x=np.zeros((1, 4), np.float32)).SerializeToString()
        cancelled = call.future(patient, timeout=CALL_SECONDS)
        wait_for(lambda: server.metric("quadriga_queue_depth", model="hanging") == 1, "the call to wait")
        cancelled.cancel()

        def is_counted() -> bool:
            # A cancelled request is met when the queue is looked through, which a deadline that passes makes it be.
            error_of(channel, "ModelInfer", request)
            return server.metric("quadriga_requests_total", code="CANCELLED", reason="cancelled", **labels) == 1

        wait_for(is_counted, "the cancelled call to be counted")
        assert server.metric("quadriga_queue_depth", model="hanging") == 0
        for future in held:
            future.cancel()


def test_a_full_queue_refuses_and_counts(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    config = "max_batch_size = 1\n[dynamic_batching.default_queue_policy]\nmax_queue_size = 3"
    write_fake(tmp_path, "narrow", {"hang_on": 13}, config)
    server = start("--repository", str(tmp_path))
    with grpc.insecure_channel(server.grpc) as channel:
        call = method(channel, "ModelInfer")
        stuck = infer_request("narrow", x=np.full((1, 4), 13, np.float32)).SerializeToString()
        held = [call.future(stuck, timeout=CALL_SECONDS) for _ in range(2)]
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="narrow") == 2, "both slots to be taken")
        held += [call.future(stuck, timeout=CALL_SECONDS) for _ in range(3)]
        wait_for(lambda: server.metric("quadriga_queue_depth", model="narrow") == 3, "the queue to fill")
        with pytest.raises(grpc.RpcError) as refusal:
            call(stuck, timeout=CALL_SECONDS)
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        hints = [entry.value for entry in refusal.value.trailing_metadata() if entry.key == PUSHBACK_TRAILER]
        assert [str(hint) for hint in hints] == ["50"]
        assert server.metric("quadriga_requests_total", model="narrow", reason="overloaded") == 1
        for future in held:
            future.cancel()


def test_a_worker_that_leaves_during_load_is_a_boot_failure(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    write_fake(tmp_path, "stillborn", {"die_on_load": True})
    write_fake(tmp_path, "healthy")
    server = start("--repository", str(tmp_path))
    with grpc.insecure_channel(server.grpc) as channel:
        index = model_index(channel)
    assert index["healthy"].state == "READY"
    assert index["stillborn"].state == "UNAVAILABLE"
    assert "SIGKILL" in index["stillborn"].reason
    assert [process.pid for process in server.workers()] == [server.worker_of("healthy")]
