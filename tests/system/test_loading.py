"""Loading and unloading by request: what is answered, what serves meanwhile, and what the index and the health say."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as tritonclient
from grpc_health.v1 import health_pb2, health_pb2_grpc
from oip import error_of, infer_request, method, outputs_of, rpc
from own_backends import OWN_BACKENDS
from running_server import RunningServer, wait_for, write_fake
from tritonclient.utils import InferenceServerException

from quadriga_proto import inference_pb2 as pb

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)
FAKE = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [4]}]})


def uploaded(root: Path) -> list[str]:
    """The versions whose files lie under `root`; unlike `Path.rglob` it bears that files go away meanwhile."""
    return sorted(Path(folder).name for folder, _, files in os.walk(root) if "model.fake" in files)


class Explicit:
    """A server under explicit control, started with "loaded" and without "other", and its own temporary folder."""

    def __init__(self, start: Callable[..., RunningServer], folder: Path, *arguments: str) -> None:
        self.repository = folder / "repository"
        for name in ("loaded", "other"):
            write_fake(self.repository, name)
        self.uploads = folder / "tmp"
        self.uploads.mkdir()
        flags = ("--repository", str(self.repository), "--model-control", "explicit", "--load-model", "loaded")
        self.env = {**OWN_BACKENDS, "TMPDIR": str(self.uploads)}
        self.server = start(*flags, *arguments, env=self.env)
        self.channel = grpc.insecure_channel(self.server.grpc)

    def load(self, name: str, **parameters: pb.ModelRepositoryParameter) -> None:
        rpc(self.channel, "RepositoryModelLoad", load_request(name, **parameters))

    def unload(self, name: str) -> None:
        rpc(self.channel, "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=name))

    def index(self, *, ready: bool = False) -> list[tuple[str, str, str, str]]:
        index = rpc(self.channel, "RepositoryIndex", pb.RepositoryIndexRequest(ready=ready))
        return [(model.name, model.version, model.state, model.reason) for model in index.models]

    def infer(self, name: str) -> str:
        """The version that answers, with the row that was sent."""
        response = rpc(self.channel, "ModelInfer", infer_request(name, x=ROW))
        np.testing.assert_array_equal(outputs_of(response)["x"], ROW)
        version: str = response.model_version
        return version

    def labels(self, name: str) -> str:
        metadata = rpc(self.channel, "ModelMetadata", pb.ModelMetadataRequest(name=name))
        return str(metadata.properties["labels"])

    def loads(self) -> int:
        """How many workers have become ready by the log, which may be read a little after what it tells of."""
        return self.server.log.count(" is ready: pid")


def load_request(name: str, **parameters: pb.ModelRepositoryParameter) -> pb.RepositoryModelLoadRequest:
    return pb.RepositoryModelLoadRequest(model_name=name, parameters=parameters)


def folder_names(folder: Path) -> list[str]:
    """The versions in a model's folder, ascending."""
    return sorted((path.name for path in folder.iterdir()), key=int)


def text(value: str) -> pb.ModelRepositoryParameter:
    return pb.ModelRepositoryParameter(string_param=value)


def content(value: str | bytes) -> pb.ModelRepositoryParameter:
    return pb.ModelRepositoryParameter(bytes_param=value.encode() if isinstance(value, str) else value)


@pytest.fixture(scope="module")
def shared(start: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explicit]:
    """A server whose tests leave it as they found it."""
    explicit = Explicit(start, tmp_path_factory.mktemp("explicit"))
    with explicit.channel:
        yield explicit


@pytest.fixture
def explicit(start: Callable[..., RunningServer], tmp_path: Path) -> Iterator[Explicit]:
    own = Explicit(start, tmp_path)
    with own.channel:
        yield own


def test_a_model_comes_and_goes(shared: Explicit) -> None:
    assert shared.index() == [("loaded", "1", "READY", ""), ("other", "", "", "")]
    assert shared.index(ready=True) == [("loaded", "1", "READY", "")]
    code, _ = error_of(shared.channel, "ModelInfer", infer_request("other", x=ROW))
    assert code == "NOT_FOUND"
    shared.load("other")
    assert shared.infer("other") == "1"
    assert shared.index() == [("loaded", "1", "READY", ""), ("other", "1", "READY", "")]
    shared.unload("other")
    wait_for(lambda: ("other", "1", "UNAVAILABLE", "unloaded") in shared.index(), "the model to be unloaded")
    assert [name for name, *_ in shared.index(ready=True)] == ["loaded"]
    assert not rpc(shared.channel, "ModelReady", pb.ModelReadyRequest(name="other")).ready
    open_version = infer_request("other", x=ROW)
    assert error_of(shared.channel, "ModelInfer", open_version)[0] == "NOT_FOUND"
    open_version.model_version = "1"
    assert error_of(shared.channel, "ModelInfer", open_version)[0] == "UNAVAILABLE"
    open_version.model_version = "2"
    assert error_of(shared.channel, "ModelInfer", open_version)[0] == "NOT_FOUND"
    for version in ("", "1"):
        request = pb.ModelStatisticsRequest(name="other", version=version)
        assert error_of(shared.channel, "ModelStatistics", request)[0] == "INVALID_ARGUMENT"
    assert 'model="other"' not in shared.server.get("/metrics")[1]


def test_statistics_begin_again_with_a_load(shared: Explicit) -> None:
    def counted() -> int:
        stats = rpc(shared.channel, "ModelStatistics", pb.ModelStatisticsRequest(name="other")).model_stats
        return int(stats[0].inference_count)

    for _ in range(2):
        shared.load("other")
        assert counted() == 0
        shared.infer("other")
        assert counted() == 1
        shared.unload("other")


def test_extensions_are_advertised(shared: Explicit) -> None:
    extensions = rpc(shared.channel, "ServerMetadata", pb.ServerMetadataRequest()).extensions
    assert {"model_repository", "model_repository(unload_dependents)"} <= set(extensions)
    assert rpc(shared.channel, "ServerReady", pb.ServerReadyRequest()).ready


@pytest.mark.parametrize("control", ["none", "poll"])
def test_without_explicit_control_nothing_is_loaded_by_request(
    start: Callable[..., RunningServer], tmp_path: Path, control: str
) -> None:
    write_fake(tmp_path, "loaded")
    server = start("--repository", str(tmp_path), "--model-control", control, "--poll-seconds", "600")
    write_fake(tmp_path, "later")
    with grpc.insecure_channel(server.grpc) as channel:
        for name in ("RepositoryModelLoad", "RepositoryModelUnload"):
            code, message = error_of(channel, name, load_request("loaded"))
            assert code == "UNAVAILABLE"
            assert "--model-control explicit" in message
        index = rpc(channel, "RepositoryIndex", pb.RepositoryIndexRequest())
        assert [(model.name, model.state) for model in index.models] == [("later", ""), ("loaded", "READY")]


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (load_request(""), "INVALID_ARGUMENT", ["empty"]),
        (load_request("../loaded"), "INVALID_ARGUMENT", ["'../loaded'", "path"]),
        (load_request(".."), "INVALID_ARGUMENT", ["'..'"]),
        (load_request("a\\b"), "INVALID_ARGUMENT", ["path"]),
        (load_request("n" * 300), "INVALID_ARGUMENT", ["255"]),
        (load_request("nobody"), "INTERNAL", ["'nobody'", "loaded, other"]),
        (pb.RepositoryModelLoadRequest(repository_name="r", model_name="loaded"), "UNIMPLEMENTED", ["repository_name"]),
        (load_request("loaded", colour=text("red")), "INVALID_ARGUMENT", ["'colour'", "config", "file:"]),
        (load_request("loaded", config=content("{}")), "INVALID_ARGUMENT", ["'config'", "bytes_param", "string_param"]),
        (load_request("loaded", config=text("{")), "INVALID_ARGUMENT", ["'config'", "JSON"]),
        (load_request("loaded", config=text('{"max_batchsize": 3}')), "INVALID_ARGUMENT", ["'max_batchsize'"]),
        (load_request("loaded", config=text('{"max_batch_size": -3}')), "INVALID_ARGUMENT", ["max_batch_size", "-3"]),
        (load_request("loaded", config=text('{"name": "x"}')), "INVALID_ARGUMENT", ["'x'", "'loaded'"]),
        (load_request("loaded", **{"file:1/model.fake": content(FAKE)}), "INVALID_ARGUMENT", ["'config'"]),
        (b"\xff", "INVALID_ARGUMENT", ["RepositoryModelLoadRequest"]),
    ],
)
def test_a_load_that_cannot_be_is_refused_and_changes_nothing(
    shared: Explicit, request_: Any, code: str, words: list[str]
) -> None:
    refused, message = error_of(shared.channel, "RepositoryModelLoad", request_)
    assert refused == code
    assert all(word in message for word in words), message
    assert shared.infer("loaded") == "1"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.RepositoryModelUnloadRequest(), "INVALID_ARGUMENT"),
        (pb.RepositoryModelUnloadRequest(model_name="loaded", repository_name="r"), "UNIMPLEMENTED"),
        (pb.RepositoryModelUnloadRequest(model_name="loaded", parameters={"x": text("y")}), "INVALID_ARGUMENT"),
        (
            pb.RepositoryModelUnloadRequest(model_name="loaded", parameters={"unload_dependents": text("y")}),
            "INVALID_ARGUMENT",
        ),
    ],
)
def test_an_unload_that_cannot_be_is_refused(shared: Explicit, request_: Any, code: str) -> None:
    assert error_of(shared.channel, "RepositoryModelUnload", request_)[0] == code
    assert shared.infer("loaded") == "1"


def test_an_unknown_model_is_unloaded_without_complaint(shared: Explicit) -> None:
    parameters = {"unload_dependents": pb.ModelRepositoryParameter(bool_param=True)}
    request = pb.RepositoryModelUnloadRequest(model_name="nobody", parameters=parameters)
    rpc(shared.channel, "RepositoryModelUnload", request)
    assert "nobody" not in str(shared.index())


def test_a_load_without_a_change_does_nothing_and_one_with_a_change_loads_anew(explicit: Explicit) -> None:
    before = wait_for(explicit.loads, "the worker in the log")
    explicit.load("loaded")
    assert explicit.loads() == before
    write_fake(explicit.repository, "loaded", {"labels": ["new"]})
    assert explicit.infer("loaded") == "1"
    explicit.load("loaded")
    wait_for(lambda: explicit.loads() == before + 1, "the new worker in the log")
    assert explicit.labels("loaded") == '["new"]'
    wait_for(lambda: len(explicit.server.workers()) == 1, "the old worker to end")


def test_a_new_version_takes_over_and_a_failing_one_does_not(explicit: Explicit) -> None:
    newer = explicit.repository / "loaded" / "2"
    newer.mkdir()
    (newer / "model.fake").write_text("{}")
    code, message = error_of(explicit.channel, "RepositoryModelLoad", load_request("loaded"))
    assert code == "INVALID_ARGUMENT"
    assert "version 2" in message
    assert explicit.infer("loaded") == "1"
    assert explicit.index()[0] == ("loaded", "1", "READY", "")
    (newer / "model.fake").write_text(FAKE)
    explicit.load("loaded")
    assert explicit.infer("loaded") == "2"
    assert explicit.index()[0] == ("loaded", "2", "READY", "")


def test_a_first_load_that_fails_is_in_the_index_with_its_reason(explicit: Explicit) -> None:
    write_fake(explicit.repository, "bad", {"load_error": "made to fail"})
    code, message = error_of(explicit.channel, "RepositoryModelLoad", load_request("bad"))
    assert code == "INVALID_ARGUMENT"
    assert "made to fail" in message
    (row,) = (row for row in explicit.index() if row[0] == "bad")
    assert row[:3] == ("bad", "1", "UNAVAILABLE")
    assert "made to fail" in row[3]
    write_fake(explicit.repository, "bad")
    explicit.load("bad")
    assert explicit.infer("bad") == "1"


def test_a_name_in_two_repositories_is_told_and_not_loaded(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    for repository in ("first", "second"):
        write_fake(tmp_path / repository, "twice")
    flags = ["--repository", str(tmp_path / "first"), "--repository", str(tmp_path / "second")]
    server = start(*flags, "--model-control", "explicit")
    with grpc.insecure_channel(server.grpc) as channel:
        (row,) = rpc(channel, "RepositoryIndex", pb.RepositoryIndexRequest()).models
        assert (row.name, row.version, row.state) == ("twice", "", "UNAVAILABLE")
        assert "two models are called 'twice'" in row.reason
        code, message = error_of(channel, "RepositoryModelLoad", load_request("twice"))
        assert (code, row.reason in message) == ("INVALID_ARGUMENT", True)


def test_requests_in_hand_end_though_their_model_is_unloaded_and_loaded_again(explicit: Explicit) -> None:
    held = write_fake(explicit.repository, "held", config='backend = "own_backends:Held"')
    explicit.load("held")
    pending = method(explicit.channel, "ModelInfer").future(
        infer_request("held", x=ROW).SerializeToString(), timeout=60
    )
    wait_for(lambda: explicit.server.metric("quadriga_batches_in_flight", model="held") == 1, "the batch to run")
    explicit.unload("held")
    assert ("held", "1", "UNLOADING", "unloading") in explicit.index()
    assert error_of(explicit.channel, "ModelInfer", infer_request("held", x=ROW))[0] == "NOT_FOUND"
    explicit.load("held")
    assert ("held", "1", "READY", "") in explicit.index()
    assert not pending.done()
    (held / "1" / "go").touch()
    np.testing.assert_array_equal(outputs_of(pb.ModelInferResponse.FromString(pending.result(30)))["x"], ROW)
    assert explicit.infer("held") == "1"
    wait_for(lambda: len(explicit.server.workers()) == 2, "the worker of the unloaded copy to end")


def test_a_load_does_not_wait_for_that_of_another_model(explicit: Explicit) -> None:
    held = write_fake(explicit.repository, "held", config='backend = "own_backends:HeldLoad"')
    load, unload = method(explicit.channel, "RepositoryModelLoad"), method(explicit.channel, "RepositoryModelUnload")
    request = load_request("held").SerializeToString()
    first = load.future(request)
    wait_for(lambda: ("held", "1", "LOADING", "loading") in explicit.index(), "the load to begin")
    explicit.load("other")
    behind = [unload.future(request), load.future(request)]  # in the order in which they arrive, whichever that is
    assert not first.done()
    (held / "1" / "go").touch()
    for call in (first, *behind):
        call.result(30)
    explicit.load("held")
    assert explicit.infer("held") == "1"


def test_settings_of_any_size_reach_the_worker_or_are_refused(explicit: Explicit) -> None:
    # One read brings 36 KB of what comes with descriptors, and a socket's buffer holds some 200 KB.
    write_fake(explicit.repository, "much", config=f'[parameters]\nnote = "{"x" * 100_000}"\n')
    explicit.load("much")
    assert explicit.infer("much") == "1"
    write_fake(explicit.repository, "too-much", config=f'[parameters]\nnote = "{"x" * 900_000}"\n')
    with pytest.raises(grpc.RpcError, match="more than a worker can be told at once"):
        explicit.load("too-much")


def test_a_caller_that_goes_away_does_not_stop_its_load(explicit: Explicit) -> None:
    held = write_fake(explicit.repository, "held", config='backend = "own_backends:HeldLoad"')
    call = method(explicit.channel, "RepositoryModelLoad").future(load_request("held").SerializeToString())
    wait_for(lambda: ("held", "1", "LOADING", "loading") in explicit.index(), "the load to begin")
    call.cancel()
    (held / "1" / "go").touch()
    wait_for(lambda: ("held", "1", "READY", "") in explicit.index(), "the load to end")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_the_middle_of_loads_answers_their_callers_and_leaves_nothing(
    start: Callable[..., RunningServer], tmp_path: Path, number: signal.Signals
) -> None:
    explicit = Explicit(start, tmp_path, "--drain-seconds", "600")
    write_fake(explicit.repository, "endless", {"load_ms": 600_000})
    config = {"config": text("{}")}
    endless = json.dumps({**json.loads(FAKE), "load_ms": 600_000})
    upload = {**config, "file:1/model.fake": content(endless)}
    requests = [load_request("endless"), load_request("loaded", **upload), load_request("uploaded", **upload)]
    with explicit.channel:
        load = method(explicit.channel, "RepositoryModelLoad")
        calls = [load.future(request.SerializeToString()) for request in [*requests, requests[0]]]
        wait_for(lambda: len(explicit.server.workers()) >= 3, "the workers of the loads")
        assert explicit.server.stop(number) == 0
        for call in calls:
            error = call.exception(10)
            assert isinstance(error, grpc.Call)
            assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert list(explicit.uploads.iterdir()) == []
    assert "Traceback" not in explicit.server.log


def test_a_stop_while_an_unloaded_model_still_holds_a_request_leaves_nothing(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    explicit = Explicit(start, tmp_path, "--drain-seconds", "0.5")
    write_fake(explicit.repository, "hanging", {"hang_on": 1})
    with explicit.channel:
        explicit.load("hanging")
        request = infer_request("hanging", x=ROW).SerializeToString()
        pending = method(explicit.channel, "ModelInfer").future(request, timeout=60)
        in_flight = {"name": "quadriga_batches_in_flight", "model": "hanging"}
        wait_for(lambda: explicit.server.metric(**in_flight) == 1, "the batch to hang")
        explicit.unload("hanging")
        explicit.load("hanging")
        assert explicit.server.stop() == 0
        assert pending.exception(10) is not None
    assert "Traceback" not in explicit.server.log


def test_watchers_of_a_models_health_see_it_come_and_go(explicit: Explicit) -> None:
    serving, unknown = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    stub = health_pb2_grpc.HealthStub(explicit.channel)
    request = health_pb2.HealthCheckRequest(service="other")
    first, second = stub.Watch(request, timeout=60), stub.Watch(request, timeout=60)
    assert (next(first).status, next(second).status) == (unknown, unknown)

    def until(status: int) -> None:
        for response in second:
            if response.status == status:
                return

    explicit.load("other")
    until(serving)
    first.cancel()  # the others go on hearing of it
    assert stub.Check(request).status == serving
    explicit.unload("other")
    until(unknown)
    with pytest.raises(grpc.RpcError) as error:
        stub.Check(request)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    explicit.load("other")
    until(serving)
    second.cancel()


def test_files_and_configuration_that_come_with_a_load(explicit: Explicit) -> None:
    name = "up"
    given = {"config": text('{"max_batch_size": 3, "parameters": {"threads": 1}}')}
    described = json.dumps({**json.loads(FAKE), "labels": ["uploaded"]})
    explicit.load(name, **given, **{"file:7/model.fake": content(described)})
    assert explicit.infer(name) == "7"
    assert explicit.labels(name) == '["uploaded"]'
    assert rpc(explicit.channel, "ModelConfig", pb.ModelConfigRequest(name=name)).config.max_batch_size == 3
    (root,) = explicit.uploads.iterdir()
    assert root.stat().st_mode & 0o777 == 0o700
    assert uploaded(root) == ["7"]
    explicit.load(name, config=text("{}"), **{"file:8/model.fake": content(FAKE)})
    assert explicit.infer(name) == "8"
    wait_for(lambda: uploaded(root) == ["8"], "the replaced files to go")
    bad = load_request(name, config=text("{}"), **{"file:9/model.fake": content("{}")})
    assert error_of(explicit.channel, "RepositoryModelLoad", bad)[0] == "INVALID_ARGUMENT"
    assert explicit.infer(name) == "8"
    explicit.unload(name)
    wait_for(lambda: not uploaded(root), "the unloaded model's files to go")
    assert (name, "8", "UNAVAILABLE", "unloaded") in explicit.index()
    missing = load_request("never", config=text("{}"), **{"file:9/weights": content("{}")})
    assert error_of(explicit.channel, "RepositoryModelLoad", missing)[0] == "INVALID_ARGUMENT"
    assert [row[0] for row in explicit.index()] == ["loaded", "other"]  # what is on no disk is forgotten


def test_a_saved_model_comes_as_the_files_of_its_folder(
    start: Callable[..., RunningServer], demo_repository: Path, tmp_path: Path
) -> None:
    folder = demo_repository / "same_savedmodel" / "1"
    files = {f"file:5/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert any("variables" in key for key in files)
    server = start("--repository", str(tmp_path), "--model-control", "explicit")
    with grpc.insecure_channel(server.grpc) as channel:
        request = load_request("sent", config=text("{}"), **{key: content(data) for key, data in files.items()})
        rpc(channel, "RepositoryModelLoad", request, timeout=120)
        images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
        response = rpc(channel, "ModelInfer", infer_request("sent", image=images))
    assert response.model_version == "5"
    assert outputs_of(response)["scores"].shape == (2, 10)


def test_a_configuration_alone_is_laid_over_the_models_folder_until_the_next_load(explicit: Explicit) -> None:
    def largest() -> int:
        config = rpc(explicit.channel, "ModelConfig", pb.ModelConfigRequest(name="loaded")).config
        return int(config.max_batch_size)

    explicit.load("loaded", config=text('{"max_batch_size": 5}'))
    assert largest() == 5
    explicit.load("loaded")
    assert largest() == 16


def test_what_a_killed_server_left_is_removed_by_the_next(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    explicit = Explicit(start, tmp_path)
    upload = {"config": text("{}"), "file:1/model.fake": content(FAKE)}
    with explicit.channel:
        explicit.load("up", **upload)
    explicit.server.process.kill()
    explicit.server.stop(signal.SIGKILL)
    (left,) = explicit.uploads.iterdir()
    flags = ("--repository", str(explicit.repository), "--model-control", "explicit")
    second = start(*flags, env=explicit.env)
    assert not left.exists()
    with grpc.insecure_channel(second.grpc) as channel:
        rpc(channel, "RepositoryModelLoad", load_request("up", **upload))
        (in_use,) = explicit.uploads.iterdir()
        start(*flags, env=explicit.env)
        assert in_use.exists()
        rpc(channel, "ModelInfer", infer_request("up", x=ROW))


def test_every_answer_is_the_old_copys_or_the_new_ones_while_a_model_is_loaded_anew(explicit: Explicit) -> None:
    stop = threading.Event()
    answers: list[tuple[str, bytes]] = []
    errors: list[Exception] = []
    request = infer_request("loaded", x=ROW).SerializeToString()

    def call() -> None:
        with grpc.insecure_channel(explicit.server.grpc) as channel:
            infer = method(channel, "ModelInfer")
            while not stop.is_set():
                try:
                    response = pb.ModelInferResponse.FromString(infer(request, timeout=30))
                    answers.append((response.model_version, response.raw_output_contents[0]))
                except Exception as error:
                    errors.append(error)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    folder = explicit.repository / "loaded"
    try:
        wait_for(lambda: answers, "the old copy to answer")
        for number in range(2, 12):
            (folder / str(number)).mkdir()
            (folder / str(number) / "model.fake").write_text(FAKE)
            explicit.load("loaded")
            wait_for(lambda: answers and answers[-1][0] == folder_names(folder)[-1], "requests to the new copy")
    finally:
        stop.set()
        for caller in callers:
            caller.join(30)
    assert errors == []
    assert {raw for _, raw in answers} == {ROW.tobytes()}
    assert {int(version) for version, _ in answers} == set(range(1, 12))
    assert explicit.infer("loaded") == "11"


def test_tritonclient_loads_and_unloads(explicit: Explicit) -> None:
    client = tritonclient.InferenceServerClient(explicit.server.grpc)
    client.load_model("other")
    assert client.is_model_ready("other")
    client.load_model("other", config='{"max_batch_size": 2}', files={"file:3/model.fake": FAKE.encode()})
    assert client.get_model_config("other").config.max_batch_size == 2
    assert client.get_model_metadata("other").versions == ["3"]
    states = {model.name: model.state for model in client.get_model_repository_index().models}
    assert states == {"loaded": "READY", "other": "READY"}
    client.unload_model("other")
    assert not client.is_model_ready("other")
    with pytest.raises(InferenceServerException, match="nobody"):
        client.load_model("nobody")
    client.close()
