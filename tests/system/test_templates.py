"""Workers forked from a template that has imported PyTorch: they answer the same, and nothing depends on it."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from oip import infer_request, method, outputs_of, rpc
from running_server import ON_CPU, START_SECONDS, RunningServer, is_alive, wait_for

from quadriga_proto import inference_pb2 as pb

MODEL = "same_torchscript"
ANOTHER = "another"
IMAGES = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
#: The server, its template and a worker may each take as long as a start does.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def repository(demo_repository: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / MODEL).symlink_to(demo_repository / MODEL)
    return folder


def wait_for_template(server: RunningServer, old: int = 0) -> int:
    """The pid of the template that was logged last, once it is another than `old`."""

    def found() -> int:
        pids = re.findall(r"template of torchscript is ready: pid (\d+)", server.log)
        return int(pids[-1]) if pids and int(pids[-1]) != old else 0

    pid: int = wait_for(found, "a template", START_SECONDS)
    return pid


def wait_for_worker(server: RunningServer, old: int) -> psutil.Process:
    """The model's worker, once it is another than `old`."""
    wait_for(lambda: server.worker_of(MODEL) != old, "a new worker", START_SECONDS)
    return psutil.Process(server.worker_of(MODEL))


def kill_worker(server: RunningServer) -> psutil.Process:
    """Kills the model's worker; the one that replaces it."""
    old = server.worker_of(MODEL)
    os.kill(old, signal.SIGKILL)
    return wait_for_worker(server, old)


def infer(channel: grpc.Channel, model: str = MODEL) -> np.ndarray[Any, Any]:
    """A model's answer to `IMAGES`."""
    return outputs_of(rpc(channel, "ModelInfer", infer_request(model, image=IMAGES), timeout=60.0))["scores"]


def test_a_dead_worker_is_replaced_by_a_fork(start: Callable[..., RunningServer], repository: Path) -> None:
    server = start("--repository", str(repository), env=ON_CPU)
    template = wait_for_template(server)
    old = server.worker_of(MODEL)
    assert psutil.Process(old).ppid() == server.process.pid
    with grpc.insecure_channel(server.grpc) as channel:
        answers = [infer(channel)]
        request = infer_request(MODEL, image=IMAGES).SerializeToString()
        pending = [method(channel, "ModelInfer").future(request, timeout=60) for _ in range(8)]
        os.kill(old, signal.SIGKILL)
        answers += [outputs_of(pb.ModelInferResponse.FromString(call.result()))["scores"] for call in pending]
        for _ in range(2):
            worker = wait_for_worker(server, old)
            assert worker.ppid() == template
            answers.append(infer(channel))
            old = worker.pid
            worker.kill()
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=1e-6)
    # The template reaped it, and told how it ended.
    wait_for(lambda: server.log.count("died: killed by SIGKILL") == 3, "three deaths")
    assert not psutil.pid_exists(old)


def test_a_further_model_is_forked_and_the_template_ends_with_the_last(
    start: Callable[..., RunningServer], repository: Path
) -> None:
    server = start("--repository", str(repository), "--model-control", "poll", "--poll-seconds", "0.1", env=ON_CPU)
    template = psutil.Process(wait_for_template(server))
    (repository / ANOTHER).symlink_to((repository / MODEL).resolve())
    wait_for(lambda: f"{ANOTHER}/1 is ready" in server.log, "another model", START_SECONDS)
    another = psutil.Process(server.worker_of(ANOTHER))
    assert another.ppid() == template.pid
    first = psutil.Process(server.worker_of(MODEL))
    (repository / MODEL).unlink()
    wait_for(lambda: not is_alive(first), "the worker of the removed model to end")
    with grpc.insecure_channel(server.grpc) as channel:
        assert infer(channel, ANOTHER).shape[0] == len(IMAGES)
    assert is_alive(template)
    (repository / ANOTHER).unlink()
    wait_for(lambda: not server.workers(), "the last worker and the template to end")


def test_a_template_that_dies_costs_nothing_for_good(start: Callable[..., RunningServer], repository: Path) -> None:
    server = start("--repository", str(repository), env=ON_CPU)
    template = wait_for_template(server)
    with grpc.insecure_channel(server.grpc) as channel:
        answer = infer(channel)
        forked = kill_worker(server)
        os.kill(template, signal.SIGKILL)
        spawned = wait_for_worker(server, forked.pid)
        assert spawned.ppid() == server.process.pid
        np.testing.assert_allclose(infer(channel), answer, atol=1e-6)
        another = wait_for_template(server, old=template)
        assert kill_worker(server).ppid() == another
        np.testing.assert_allclose(infer(channel), answer, atol=1e-6)
    assert "Traceback" not in server.log


def test_sigkill_of_the_server_takes_templates_and_their_workers_along(
    start: Callable[..., RunningServer], repository: Path
) -> None:
    server = start("--repository", str(repository), env=ON_CPU)
    template = wait_for_template(server)
    worker = kill_worker(server)
    assert {process.pid for process in server.workers()} == {template, worker.pid}
    assert {process.pid for process in server.slab_holders()} == {server.process.pid, worker.pid}
    server.process.kill()
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
