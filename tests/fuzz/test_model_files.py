"""Model files that are damaged, or made to do harm: each costs its own load, whose reason is told, and nothing else.

One server with a good model of every format takes them all, by RepositoryModelLoad: those of tests/hostile_models.py
from its repository, and damaged copies of the good ones as uploads.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest
from fuzz_cases import CASES, chance, damaged
from hostile_models import ESCAPED, FILES, REASONS, SECRET, write_hostile_models
from oip import infer_request, method, model_index, outputs_of, rpc
from running_server import ON_CPU, START_SECONDS, RunningServer, wait_for, write_fake

from quadriga_proto import inference_pb2 as pb

#: Damaged copies per format.
COPIES = max(5, CASES // 2_000)
LOAD_SECONDS = 120.0
UNDER_WAY = 2
#: The workers of the good models, and the templates of all formats but ONNX.
PROCESSES = 1 + 2 * len(FILES) - 1
LONGEST_REASON = 2_000
BACKENDS = {"savedmodel": "tensorflow", "keras": "keras", "torchscript": "torchscript", "onnx": "onnx"}


class Home(NamedTuple):
    """What belongs to the server.

    Attributes:
        server: It.
        folder: Beside the repository lies nothing but what the test put there.
        temporary: Its TMPDIR.
    """

    server: RunningServer
    folder: Path
    temporary: Path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, demo_repository: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("hostile")
    repository, temporary = folder / "repository", folder / "temporary"
    repository.mkdir()
    temporary.mkdir()
    write_hostile_models(repository, demo_repository)
    write_fake(repository, "good")
    loads = [flag for name in ["good", *good_models()] for flag in ("--load-model", name)]
    repositories = ("--repository", str(repository), "--repository", str(demo_repository))
    server = RunningServer(
        *repositories, "--model-control", "explicit", *loads, env={"TMPDIR": str(temporary), **ON_CPU}
    )
    try:
        # From templates workers are forked, in a fraction of the time: else most of the test would be imports.
        wait_for(lambda: len(server.workers()) == PROCESSES, "the templates", START_SECONDS)
        workers = {server.worker_of(name) for name in ["good", *good_models()]}
        yield Home(server, folder, temporary)
        gone = workers - {process.pid for process in server.workers()}
        assert not gone, f"a worker of a good model died: {gone}\n{server.log}"
        expect_health(server)
        wait_for(lambda: is_clean(temporary), "the uploads to be removed")
    finally:
        server.stop()
    assert not list(temporary.glob("quadriga-uploads-*"))
    assert not (Path(tempfile.gettempdir()) / ESCAPED).exists()
    assert not list(folder.rglob(ESCAPED))
    assert {path.name for path in folder.iterdir()} == {"repository", "temporary", SECRET}


def is_clean(temporary: Path) -> bool:
    """Whether nothing is left of the uploads in the server's temporary folder but their lock."""
    uploads = list(temporary.glob("quadriga-uploads-*"))
    return all([path.name for path in folder.iterdir()] == ["lock"] for folder in uploads)


def good_models() -> list[str]:
    return [f"same_{kind}" for kind in FILES]


def expect_health(server: RunningServer) -> None:
    """All good models answer, and none of what happened was a fault of the server's own."""
    with grpc.insecure_channel(server.grpc) as channel:
        row = np.ones((1, 4), np.float32)
        assert np.array_equal(outputs_of(rpc(channel, "ModelInfer", infer_request("good", x=row)))["x"], row)
        for name in good_models():
            assert rpc(channel, "ModelReady", pb.ModelReadyRequest(name=name)).ready
    assert server.get("/metrics")[0] == 200
    assert "Traceback" not in server.log
    assert "this is a bug" not in server.log


def load_all(server: RunningServer, requests: Sequence[pb.RepositoryModelLoadRequest]) -> list[tuple[str, str]]:
    """Code and message of each load, in their order."""
    ends = []
    with grpc.insecure_channel(server.grpc) as channel:
        load = method(channel, "RepositoryModelLoad")
        for first in range(0, len(requests), UNDER_WAY):
            calls = [
                load.future(request.SerializeToString(), timeout=LOAD_SECONDS)
                for request in requests[first : first + UNDER_WAY]
            ]
            ends += [(call.code().name, call.details() or "") for call in calls]
    return ends


def check_reason(reason: str) -> None:
    """It can be read by an operator, in one line."""
    assert reason.isprintable(), repr(reason)
    assert 0 < len(reason) <= LONGEST_REASON, reason


@pytest.fixture(scope="module")
def refusals(home: Home) -> dict[str, tuple[str, str]]:
    """How the load of each hostile model ended."""
    requests = [pb.RepositoryModelLoadRequest(model_name=name) for name in REASONS]
    return dict(zip(REASONS, load_all(home.server, requests), strict=True))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", REASONS)
def test_a_hostile_model_is_refused_with_its_reason(refusals: dict[str, tuple[str, str]], name: str) -> None:
    code, reason = refusals[name]
    assert code == "INVALID_ARGUMENT", reason
    assert REASONS[name] in reason
    check_reason(reason)


@pytest.mark.timeout(600)
def test_no_hostile_model_has_a_worker_or_brings_others_down(home: Home, refusals: dict[str, tuple[str, str]]) -> None:
    expect_health(home.server)
    with grpc.insecure_channel(home.server.grpc) as channel:
        states = {name: model.state for name, model in model_index(channel).items()}
    assert {name for name, state in states.items() if state == "READY"} == {"good", *good_models()}
    assert not {name for name in refusals if states.get(name) == "LOADING"}


def parts_of(kind: str, demo_repository: Path) -> dict[str, bytes]:
    """The files of a good model, by their path in its version's folder."""
    path = demo_repository / f"same_{kind}" / "1" / FILES[kind]
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
    return {str(file.relative_to(path.parent)): file.read_bytes() for file in files}


def upload(name: str, kind: str, parts: dict[str, bytes]) -> pb.RepositoryModelLoadRequest:
    """A load of a model that is made of these files."""
    request = pb.RepositoryModelLoadRequest(model_name=name)
    request.parameters["config"].string_param = json.dumps({"backend": BACKENDS[kind]})
    for path, content in parts.items():
        request.parameters[f"file:1/{path}"].bytes_param = content
    return request


def wrecked(kind: str, parts: dict[str, bytes], index: int) -> dict[str, bytes]:
    """A copy of a model in which one file is damaged, cut off, empty, or another format's."""
    dice = chance(kind, index)
    path = dice.choice(sorted(parts))
    content = parts[path]
    end = len(content) * (index % 16) // 16
    content = content[:end] if index % 4 == 0 else damaged(content, dice)
    return {**parts, path: content}


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("kind", FILES)
def test_damaged_copies_are_loaded_or_refused(home: Home, demo_repository: Path, kind: str) -> None:
    parts = parts_of(kind, demo_repository)
    requests = [upload("damaged", kind, wrecked(kind, parts, index)) for index in range(COPIES)]
    ends: Counter[str] = Counter()
    for (code, reason), request in zip(load_all(home.server, requests), requests, strict=True):
        assert code in ("OK", "INVALID_ARGUMENT"), (code, reason, request.parameters.keys())
        ends[code] += 1
        if code != "OK":
            check_reason(reason)
    assert ends["INVALID_ARGUMENT"], ends
    with grpc.insecure_channel(home.server.grpc) as channel:
        rpc(channel, "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="damaged"))
    expect_health(home.server)
    print(f"{kind}: {dict(ends)}")


def test_a_good_copy_is_loaded(home: Home, demo_repository: Path) -> None:
    """Else the damaged ones would be refused for something else."""
    requests = [upload(f"copy_{kind}", kind, parts_of(kind, demo_repository)) for kind in FILES]
    assert {code for code, _ in load_all(home.server, requests)} == {"OK"}
    with grpc.insecure_channel(home.server.grpc) as channel:
        for kind in FILES:
            rpc(channel, "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=f"copy_{kind}"))


PATHS = (
    "../model.onnx", "1/../../model.onnx", "1/..", "/etc/model.onnx", "1//model.onnx", "1/./model.onnx", "1",
    "1/", "", "01/model.onnx",
    "1/a\\..\\model.onnx", "1/\x00", "1/a\nb", "1/" + "a" * 256, "1/" + "a/" * 600 + "a", "-1/model.onnx",
    "1/model.onnx/../../../x",
)  # fmt: skip


def test_uploads_cannot_leave_their_folder(home: Home) -> None:
    # Files go only when the workers that may read them again have gone: those of the models above may lie there yet.
    wait_for(lambda: is_clean(home.temporary), "the uploads before these to be removed")
    before = set(home.folder.parent.rglob("*"))
    requests = []
    for path in PATHS:
        request = upload("damaged", "onnx", {"model.onnx": b"\x08\x07"})
        request.parameters[f"file:{path}"].bytes_param = b"x"
        requests.append(request)
    assert {code for code, _ in load_all(home.server, requests)} == {"INVALID_ARGUMENT"}
    wait_for(lambda: is_clean(home.temporary), "these to be removed")
    assert set(home.folder.parent.rglob("*")) - before == set()
