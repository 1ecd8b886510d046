"""The warm-ups that a configuration gives: run in every instance before it is ready, and faults named with reasons."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from oip import infer_request, model_index, outputs_of, rpc
from own_backends import OWN_BACKENDS
from running_server import RunningServer, write_fake

from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import to_raw

TEXT = {"name": "x", "datatype": "BYTES", "shape": [2]}
OPEN = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
RECORDING = 'backend = "own_backends:Recording"\nmax_batch_size = 4\n'


def sample(name: str, data: str, data_type: str = "TYPE_FP32", dims: str = "4", rows: int = 1, count: int = 0) -> str:
    return f"""
[[model_warmup]]
name = "{name}"
batch_size = {rows}
count = {count}
[model_warmup.inputs.x]
data_type = "{data_type}"
dims = [{dims}]
{data}
"""


#: By model: what its backend does, its warm-up, and what the reason for its failure says besides the warm-up's name.
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "raises": ({"raise_on": 0}, sample("zeros", "zero_data = true"), "ValueError: an element is 0"),
    "dies": ({"die_on": 0}, sample("zeros", "zero_data = true"), "SIGKILL"),
    "misshapen": ({}, sample("short", "zero_data = true", dims="3"), "input 'x' has dims [3]; expected [4]"),
    "mistyped": ({}, sample("wide", "zero_data = true", "TYPE_FP64"), "has datatype FP64; expected FP32"),
    "fileless": ({}, sample("file", 'input_data_file = "gone"'), "warmup/gone cannot be read"),
    "oversized": (
        {},
        sample("many", "zero_data = true", rows=17),
        "batch_size is 17; expected 1 to max_batch_size, 16",
    ),
}


@pytest.fixture(scope="module")
def repository(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository: Path = tmp_path_factory.mktemp(transport)
    texts = write_fake(
        repository,
        "texts",
        {"inputs": [TEXT]},
        RECORDING
        + '[[instance_group]]\nkind = "KIND_CPU"\ncount = 2\n'
        + sample("file", 'input_data_file = "words"', "TYPE_STRING", "2", rows=3, count=2)
        + sample("empty", "zero_data = true", "TYPE_STRING", "2", rows=1),
    )
    (texts / "warmup").mkdir()
    (texts / "warmup" / "words").write_bytes(to_raw(np.array([[b"one", b"two"]] * 3, object)))
    write_fake(
        repository,
        "images",
        {"inputs": [OPEN]},
        RECORDING + sample("large", "random_data = true", dims="50, 3", rows=4),
    )
    for name, (behaviour, warm_up, _) in BAD.items():
        write_fake(repository, name, behaviour, warm_up)
    return repository


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], repository: Path) -> RunningServer:
    return start("--repository", str(repository), env=OWN_BACKENDS)


def rows_of(folder: Path) -> list[int]:
    return sorted(map(int, (folder / "1" / "rows").read_text().split()))


def test_texts_are_warmed_up_in_every_instance_before_the_server_is_ready(
    server: RunningServer, repository: Path
) -> None:
    assert rows_of(repository / "texts") == [1, 1, 3, 3, 3, 3]
    with grpc.insecure_channel(server.grpc) as channel:
        words = np.array([[b"a", b"b"]], object)
        response = rpc(channel, "ModelInfer", infer_request("texts", x=words))
    np.testing.assert_array_equal(outputs_of(response)["x"], words)


def test_open_dimensions_are_warmed_up_at_the_size_that_is_given_after_every_batch_size(
    server: RunningServer, repository: Path
) -> None:
    assert server.metric("quadriga_model_ready", model="images") == 1
    assert rows_of(repository / "images") == [1, 2, 3, 4, 4]


def test_a_warm_up_that_cannot_be_run_fails_its_model_alone_with_its_name_and_the_reason(server: RunningServer) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        index = model_index(channel)
    reasons = {name: model.reason for name, model in index.items() if model.state == "UNAVAILABLE"}
    assert set(reasons) == set(BAD)
    for name, (_, _, expected) in BAD.items():
        assert expected in reasons[name]
        assert "\n" not in reasons[name]
        if name != "dies":
            assert "model_warmup '" in reasons[name]
    assert "Traceback" not in server.log


def test_the_folder_of_the_files_is_not_taken_for_a_version(server: RunningServer) -> None:
    assert "is ignored" not in server.log


def test_clients_see_the_warm_ups(server: RunningServer) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        config = rpc(channel, "ModelConfig", pb.ModelConfigRequest(name="texts")).config
    file, empty = config.model_warmup
    assert (file.name, file.batch_size, file.count, file.inputs["x"].input_data_file) == ("file", 3, 2, "words")
    assert (empty.name, empty.batch_size, empty.count, empty.inputs["x"].zero_data) == ("empty", 1, 1, True)


def test_a_file_outside_the_folder_ends_the_server_at_the_start(
    start: Callable[..., RunningServer], tmp_path: Path
) -> None:
    write_fake(tmp_path, "m", config=sample("spy", 'input_data_file = "../1/model.fake"'))
    with pytest.raises(AssertionError, match=r"the server ended with [1-9][0-9]*:\n.*model_warmup 'spy': input 'x'"):
        start("--repository", str(tmp_path))
