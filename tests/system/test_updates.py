"""Updates of a repository that is polled: whatever is wrong with one, what serves goes on."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from oip import infer_request, rpc
from running_server import RunningServer, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


class Polled:
    """A server that follows a repository with one model, "model", at version 1."""

    def __init__(self, server: RunningServer, channel: grpc.Channel, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._channel = channel

    def version(self) -> str:
        """The version that answers a request."""
        response = rpc(self._channel, "ModelInfer", infer_request("model", x=ROW))
        assert isinstance(response, pb.ModelInferResponse)
        return response.model_version

    def states(self) -> dict[str, str]:
        """Of the model's versions."""
        index = rpc(self._channel, "RepositoryIndex", pb.RepositoryIndexRequest())
        return {model.version: model.state for model in index.models}

    def metadata(self) -> pb.ModelMetadataResponse:
        """Of the version that answers."""
        metadata = rpc(self._channel, "ModelMetadata", pb.ModelMetadataRequest(name="model"))
        assert isinstance(metadata, pb.ModelMetadataResponse)
        return metadata

    def failures(self) -> int:
        """How often version 2 could not be loaded."""
        return self.server.log.count("version 2 is unavailable")

    def health(self) -> str:
        """The model's status, or the code where it is not known."""
        try:
            answer = health_pb2_grpc.HealthStub(self._channel).Check(health_pb2.HealthCheckRequest(service="model"))
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return error.code().name
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def wait_for_log(self, text: str) -> None:
        """Returns when the server has logged `text`."""
        wait_for(lambda: text in self.server.log, f"{text!r} in the log")


def wait_until_tried_again(polled: Polled, failures: int) -> None:
    """Returns when version 2 has failed more often than `failures` times."""
    wait_for(lambda: polled.failures() > failures, "the incomplete file to be tried")


@pytest.fixture
def polled(start: Callable[..., RunningServer], tmp_path: Path) -> Iterator[Polled]:
    folder = write_fake(tmp_path, "model")
    server = start("--repository", str(tmp_path), "--model-control", "poll", "--poll-seconds", "0.1")
    with grpc.insecure_channel(server.grpc) as channel:
        yield Polled(server, channel, folder)


def test_a_new_version_that_cannot_be_loaded_leaves_the_old_one(polled: Polled) -> None:
    made = polled.folder.parent / ".made"
    made.mkdir()
    (made / "model.fake").write_text("{}")
    made.rename(polled.folder / "2")  # whole at once: an empty folder would be tried by itself
    polled.wait_for_log("version 2 is unavailable")
    assert polled.version() == "1"
    assert polled.states() == {"1": "READY", "2": "UNAVAILABLE"}
    (polled.folder / "2" / "model.fake").write_text((polled.folder / "1" / "model.fake").read_text())
    wait_for(lambda: polled.states() == {"2": "READY"}, "the mended version to take over")
    assert polled.version() == "2"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.toml", "max_batchsize = 8"),
        ("model.toml", f'default_model_filename = "{"long" * 100}"'),
        ("labels.txt", "\udcff"),
    ],
)
def test_a_wrong_update_leaves_what_serves(polled: Polled, file: str, content: str) -> None:
    (polled.folder / file).write_text(content, errors="surrogateescape")
    polled.wait_for_log("model model keeps serving what it had")
    assert polled.version() == "1"
    (polled.folder / file).unlink()
    wait_for(lambda: polled.states() == {"1": "READY"}, "the index to show the mended model alone")
    assert polled.version() == "1"


def test_a_folder_whose_name_no_message_can_carry_is_left_out(polled: Polled) -> None:
    unprintable = polled.folder.parent / "caf\udce9"
    (polled.folder / "1").joinpath("model.fake").touch()
    (unprintable / "1").mkdir(parents=True)
    polled.wait_for_log("is ignored: its name is not printable")
    assert polled.version() == "1"


def test_a_file_replaced_in_place_and_a_changed_configuration_are_taken_up(polled: Polled) -> None:
    def served() -> tuple[str, str]:
        metadata = polled.metadata()
        return metadata.properties.get("labels", ""), metadata.properties["max_batch_size"]

    assert served() == ("", "16")
    file = polled.folder / "1" / "model.fake"
    replacement = file.with_name("being-copied")
    replacement.write_text(json.dumps({**json.loads(file.read_text()), "labels": ["new"]}))
    replacement.rename(file)
    wait_for(lambda: served() == ('["new"]', "16"), "the file to be taken up")
    (polled.folder / "model.toml").write_text("max_batch_size = 3")
    wait_for(lambda: served() == ('["new"]', "3"), "the configuration to be taken up")
    assert polled.version() == "1"


def test_a_version_that_is_removed_goes_once_another_serves(polled: Polled) -> None:
    (polled.folder / "model.toml").write_text("[version_policy]\nall = {}")
    shutil.copytree(polled.folder / "1", polled.folder / "2")
    wait_for(lambda: polled.states() == {"1": "READY", "2": "READY"}, "both versions to serve")
    shutil.rmtree(polled.folder / "2")
    wait_for(lambda: polled.states() == {"1": "READY"}, "the removed version to go")
    assert polled.version() == "1"


def test_a_version_that_is_still_being_written_is_taken_up_when_it_is_complete(polled: Polled) -> None:
    whole = (polled.folder / "1" / "model.fake").read_text()
    newer = polled.folder / "2"
    newer.mkdir()
    polled.wait_for_log("version 2 is unavailable")
    for part in (len(whole) // 3, 2 * len(whole) // 3):
        failures = polled.failures()
        (newer / "model.fake").write_text(whole[:part])
        wait_until_tried_again(polled, failures)
        assert polled.version() == "1"
    (newer / "model.fake").write_text(whole)
    wait_for(lambda: polled.states() == {"2": "READY"}, "the complete version to take over")


def test_a_model_whose_folder_is_removed_goes_from_index_and_health(polled: Polled) -> None:
    shutil.rmtree(polled.folder)
    wait_for(lambda: polled.states() == {}, "the model to go")
    assert polled.health() == "NOT_FOUND"
    assert 'model="model"' not in polled.server.get("/metrics")[1]
    write_fake(polled.folder.parent, "model")
    wait_for(lambda: polled.states() == {"1": "READY"}, "the model to come back")
    assert polled.health() == "SERVING"
