"""The shipped fake backend: what its file may say, and what it then does."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quadriga.backends.base import ModelLoadError, ModelSource
from quadriga.backends.fake import FakeBackend
from quadriga.specs import TensorSpec

INPUT = {"name": "x", "datatype": "FP32", "shape": [2]}


def write(folder: Path, **content: Any) -> ModelSource:
    path = folder / "model.fake"
    path.write_text(json.dumps({"inputs": [INPUT], **content}))
    return ModelSource(path=str(path))


def test_it_repeats_its_inputs_under_the_outputs_names(tmp_path: Path) -> None:
    backend = FakeBackend()
    output = {"name": "y", "datatype": "FP32", "shape": [2]}
    spec = backend.load(write(tmp_path, outputs=[output], labels=["no", "yes"], batches=False))
    assert spec.outputs == (TensorSpec(name="y", datatype="FP32", shape=(2,)),)
    assert (spec.batches, spec.labels) == (False, ("no", "yes"))
    rows = np.array([1, 2], np.float32)
    assert backend.infer([rows])[0].tolist() == [1, 2]


def test_it_raises_on_the_value_that_it_is_made_to_fail_on(tmp_path: Path) -> None:
    backend = FakeBackend()
    backend.load(write(tmp_path, raise_on=7))
    backend.infer([np.array([[6, 8]], np.float32)])
    with pytest.raises(ValueError, match=r"7\.0"):
        backend.infer([np.array([[6, 7]], np.float32)])


def started(source: ModelSource) -> subprocess.Popen[str]:
    """A process that loads a model, runs it on 1 and on 3, and says how far it came."""
    code = (
        "import numpy, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "from quadriga.backends.base import ModelSource\n"
        "from quadriga.backends.fake import FakeBackend\n"
        "backend = FakeBackend()\n"
        "print('loading', flush=True)\n"
        "backend.load(ModelSource(path=sys.argv[1]))\n"
        "backend.infer([numpy.array([[1.0]])])\n"
        "print('ran', flush=True)\n"
        "backend.infer([numpy.array([[3.0]])])\n"
        "print('survived', flush=True)\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, source.path], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("key", "status"), [("die_on", -signal.SIGKILL), ("segfault_on", -signal.SIGSEGV), ("exit_on", 3)]
)
def test_it_ends_its_process_on_request(tmp_path: Path, key: str, status: int) -> None:
    with started(write(tmp_path, **{key: 3})) as process:
        assert process.stdout is not None
        assert process.wait(30) == status
        assert process.stdout.read() == "loading\nran\n"


@pytest.mark.parametrize(("key", "status"), [("die_on_load", -signal.SIGKILL), ("exit_on_load", 3)])
def test_it_ends_its_process_while_it_loads(tmp_path: Path, key: str, status: int) -> None:
    with started(write(tmp_path, **{key: True})) as process:
        assert process.stdout is not None
        assert process.wait(30) == status
        assert process.stdout.read() == "loading\n"


@pytest.mark.parametrize(
    ("content", "before"), [({"hang_on": 3}, ["loading\n", "ran\n"]), ({"hang_on_load": True}, ["loading\n"])]
)
def test_it_hangs_on_request(tmp_path: Path, content: dict[str, Any], before: list[str]) -> None:
    with started(write(tmp_path, **content)) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in before] == before
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.kill()
        assert process.stdout.read() == ""


def test_it_takes_memory_up_to_its_limit_and_gives_it_back(tmp_path: Path) -> None:
    backend = FakeBackend()
    backend.load(write(tmp_path, grow_on=3, grow_bytes=40_000_000))
    with pytest.raises(MemoryError, match="50331648 bytes were taken"):
        backend.infer([np.array([[3]], np.float32)])
    assert backend.infer([np.array([[2]], np.float32)])[0].tolist() == [[2]]


def test_it_fails_to_load_with_the_text_that_it_is_given(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"^out of luck$"):
        FakeBackend().load(write(tmp_path, load_error="out of luck"))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"slep_ms": 1}, "slep_ms"),
        ({"inputs": []}, "needs inputs"),
        ({"outputs": [INPUT, INPUT]}, "as many as"),
        ({"sleep_ms": -1}, "sleep_ms"),
        ({"inputs": [{"name": "x", "datatype": "FLOAT", "shape": [1]}]}, "'FLOAT'"),
        ({"inputs": [{"name": "x", "datatype": "FP32"}]}, "shape"),
        ({"raise_on": "seven"}, "raise_on"),
        ({"grow_bytes": -1}, "grow_bytes"),
    ],
)
def test_a_wrong_description_is_refused_by_what_is_wrong(tmp_path: Path, content: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelLoadError, match=named):
        FakeBackend().load(write(tmp_path, **content))
