"""Updates of a repository that is polled: whatever is wrong with one, what serves goes on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
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

    def wait_for_log(self, text: str) -> None:
        """Returns when the server has logged `text`."""
        wait_for(lambda: text in self.server.log, f"{text!r} in the log")


@pytest.fixture
def polled(start: Callable[..., RunningServer], tmp_path: Path) -> Iterator[Polled]:
    folder = write_fake(tmp_path, "model")
    server = start("--repository", str(tmp_path), "--model-control", "poll", "--poll-seconds", "0.1")
    with grpc.insecure_channel(server.grpc) as channel:
        yield Polled(server, channel, folder)


def test_a_new_version_that_cannot_be_loaded_leaves_the_old_one(polled: Polled) -> None:
    (polled.folder / "2").mkdir()
    (polled.folder / "2" / "model.fake").write_text("{}")
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
