"""Start, stop and the operator's mistakes: what the screen says, the exit status, and that nothing is left behind."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from oip import infer_request, method, outputs_of, rpc
from own_backends import OWN_BACKENDS
from running_server import RunningServer, is_alive, run_cli, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

ROW = np.ones((1, 4), np.float32)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_is_clean(start: Callable[..., RunningServer], tmp_path: Path, number: signal.Signals) -> None:
    write_fake(tmp_path, "one")
    write_fake(tmp_path, "two")
    server = start("--repository", str(tmp_path))
    assert len(server.workers()) == 2
    assert server.stop(number) == 0
    assert "Traceback" not in server.log


def test_table_and_http_port(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "good", {"load_ms": 1})
    write_fake(tmp_path, "bad", {"load_error": "made to fail"})
    server = start("--repository", str(tmp_path))
    table = "\n".join(server.printed)
    assert all(word in table for word in ("good", "bad", "READY", "UNAVAILABLE", "fake"))
    assert server.get("/healthz/live")[0] == 200
    assert server.get("/healthz/ready") == (200, "ready\n")
    assert server.get("/nowhere")[0] == 404
    assert server.metric("quadriga_model_ready", model="good") == 1
    assert server.metric("quadriga_model_ready", model="bad") == 0
    assert server.metric("quadriga_workers_up", model="good", version="1", backend="fake", device="cpu") == 1
    assert server.metric("quadriga_worker_resident_memory_bytes", model="good") > 1e6
    assert server.metric("quadriga_build_info") == 1


def test_requests_in_hand_end_before_the_server_does(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    folder = write_fake(tmp_path, "held", config='backend = "own_backends:Held"')
    server = start("--repository", str(tmp_path), "--drain-seconds", "600", env=OWN_BACKENDS)
    with grpc.insecure_channel(server.grpc) as channel:
        call = method(channel, "ModelInfer")
        pending = call.future(infer_request("held", x=ROW).SerializeToString(), timeout=60)
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="held") == 1, "the batch to run")
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in server.log, "the server to begin its stop")
        assert server.get("/healthz/ready") == (503, "not ready\n")
        assert not pending.done()
        (folder / "1" / "go").touch()
        np.testing.assert_array_equal(outputs_of(pb.ModelInferResponse.FromString(pending.result(30)))["x"], ROW)
        assert server.process.wait(30) == 0
    assert "given up" not in server.log


def test_large_responses_on_their_way_arrive_whole(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    behaviour = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}
    folder = write_fake(tmp_path, "held", behaviour, 'backend = "own_backends:Held"\nmax_batch_size = 1')
    server = start("--repository", str(tmp_path), env=OWN_BACKENDS)
    array = np.random.default_rng(0).random((1, 8_000_000), np.float32)
    request = infer_request("held", x=array).SerializeToString()
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc, unlimited) as channel:
        pending = [method(channel, "ModelInfer").future(request, timeout=60) for _ in range(2)]
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="held") == 2, "both to be in hand")
        (folder / "1" / "go").touch()
        assert server.stop() == 0
        for future in pending:
            response = pb.ModelInferResponse.FromString(future.result(30))
            np.testing.assert_array_equal(outputs_of(response)["x"], array)


def test_a_second_signal_stops_at_once(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "hanging", {"hang_on": 1})
    server = start("--repository", str(tmp_path), "--drain-seconds", "600")
    with grpc.insecure_channel(server.grpc) as channel:
        call = method(channel, "ModelInfer")
        pending = call.future(infer_request("hanging", x=ROW).SerializeToString(), timeout=60)
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="hanging") == 1, "the batch to hang")
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in server.log, "the server to begin its stop")
        assert server.stop(signal.SIGTERM) == 0
        assert pending.exception(10) is not None


def test_a_watch_of_the_health_does_not_hold_the_stop_up(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "one")
    server = start("--repository", str(tmp_path), "--drain-seconds", "600")
    with grpc.insecure_channel(server.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="one"))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert server.stop() == 0
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_stop_while_models_load(tmp_path: Path) -> None:
    write_fake(tmp_path, "slow_to_load", {"load_ms": 60_000})
    command = [sys.executable, "-m", "quadriga", "serve", "--repository", str(tmp_path), "--grpc-port", "0"]
    process = subprocess.Popen([*command, "--http-port", "0"], stderr=subprocess.PIPE, text=True)
    parent = psutil.Process(process.pid)
    (worker,) = wait_for(lambda: parent.children(), "the worker to be spawned")
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    wait_for(lambda: not is_alive(worker), "the worker to end")


def test_sigkill_of_the_server_takes_the_workers_along(tmp_path: Path) -> None:
    write_fake(tmp_path, "idle")
    write_fake(tmp_path, "busy", {"hang_on": 1})
    server = RunningServer("--repository", str(tmp_path))
    assert len(server.workers()) == 2
    assert len(server.slab_holders()) == 3
    with grpc.insecure_channel(server.grpc) as channel:
        call = method(channel, "ModelInfer")
        pending = call.future(infer_request("busy", x=ROW).SerializeToString(), timeout=60)
        wait_for(lambda: server.metric("quadriga_batches_in_flight", model="busy") == 1, "the batch to hang")
        server.process.kill()
        wait_for(lambda: not server.slab_holders(), "the workers, and with them the shared memory, to go")
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        assert pending.exception(10) is not None


def test_environment_variables_are_flags(tmp_path: Path) -> None:
    write_fake(tmp_path, "one")
    write_fake(tmp_path, "two")
    env = {"QUADRIGA_REPOSITORY": str(tmp_path), "QUADRIGA_MODEL_CONTROL": "explicit", "QUADRIGA_LOAD_MODEL": "two"}
    server = RunningServer(env={**env, "QUADRIGA_LOG_FORMAT": "json"})
    with grpc.insecure_channel(server.grpc) as channel:
        index = rpc(channel, "RepositoryIndex", pb.RepositoryIndexRequest())
    assert server.stop() == 0
    assert [(model.name, model.state) for model in index.models] == [("one", ""), ("two", "READY")]
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])


def test_single_files_are_served(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    folder = write_fake(tmp_path, "ignored")
    file = (folder / "1" / "model.fake").rename(tmp_path / "my_model.fake")
    server = start(str(file))
    with grpc.insecure_channel(server.grpc) as channel:
        response = rpc(channel, "ModelInfer", infer_request("my_model", x=ROW))
    assert response.model_version == "1"


def port_in_use() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--repository", "{tmp}/nowhere"], ["nowhere", "does not exist"]),
        (["{tmp}/model.h5x"], ["model.h5x"]),
        ([], ["nothing to serve"]),
        (["--repository", "{tmp}", "--load-model", "x"], ["explicit"]),
        (["--repository", "{tmp}", "--model-control", "explicit", "--load-model", "x"], ["'x'"]),
        (["--repository", "{tmp}", "--grpc-port", "99999"], ["99999"]),
        (["--repository", "{tmp}", "--grpc-port", "{port}", "--http-port", "0"], ["{port}", "--grpc-port"]),
        (["--repository", "{tmp}", "--http-port", "{port}", "--grpc-port", "0"], ["{port}", "--http-port"]),
    ],
)
def test_the_operators_mistakes_are_one_line(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    with port_in_use() as taken:
        fill = {"tmp": str(tmp_path), "port": str(taken.getsockname()[1])}
        result = run_cli("serve", *[argument.format(**fill) for argument in arguments])
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert all(word.format(**fill) in line for word in words), line


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("max_batchsize = 8", ["unknown key 'max_batchsize'"]),
        ("[ensemble_scheduling]\nstep = []", ["ensemble_scheduling"]),
        ("max_batch_size = -3", ["max_batch_size", "-3"]),
        ("max_batch_size =", ["is not TOML"]),
    ],
)
def test_a_wrong_configuration_is_told_before_anything_is_loaded(tmp_path: Path, config: str, words: list[str]) -> None:
    write_fake(tmp_path, "good")
    wrong = write_fake(tmp_path, "wrong", config=config)
    result = run_cli("serve", "--repository", str(tmp_path), "--grpc-port", "0", "--http-port", "0")
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert all(word in line for word in ("Error: ", str(wrong / "model.toml"), *words)), line


def test_poll_follows_the_repository(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    write_fake(repository, "kept")
    gone = write_fake(repository, "gone")
    server = start("--repository", str(repository), "--model-control", "poll", "--poll-seconds", "0.2")
    kept_worker = server.worker_of("kept")
    with grpc.insecure_channel(server.grpc) as channel:

        def ready() -> dict[str, str]:
            index = rpc(channel, "RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
            return {model.name: model.version for model in index.models}

        assert ready() == {"kept": "1", "gone": "1"}
        write_fake(repository, "fresh")
        wait_for(lambda: ready().get("fresh") == "1", "the new model to be ready")
        (gone / "1" / "model.fake").unlink()
        (gone / "1").rmdir()
        gone.rmdir()
        wait_for(lambda: "gone" not in ready(), "the removed model to go")
        newer = repository / "fresh" / "2"
        newer.mkdir()
        (newer / "model.fake").write_text((repository / "fresh" / "1" / "model.fake").read_text())
        wait_for(lambda: ready().get("fresh") == "2", "the new version to take over")
        assert rpc(channel, "ModelInfer", infer_request("fresh", x=ROW)).model_version == "2"
        away = repository.rename(tmp_path / "away")
        wait_for(lambda: "cannot look for changes" in server.log, "the missing repository to be noticed")
        assert set(ready()) == {"kept", "fresh"}
        away.rename(repository)
    assert server.worker_of("kept") == kept_worker
    assert len(server.workers()) == 2
