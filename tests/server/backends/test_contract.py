"""One contract for every backend, the fake included: the same tiny model in each format, run as a worker runs it."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from quadriga.backends import BACKENDS, import_backend

HARNESS = Path(__file__).parents[2] / "backend_harness.py"
REAL = sorted(set(BACKENDS) - {"fake"})
TOLERANCE = 1e-6


@cache
def seen(backend: str) -> Any:
    """What the harness saw of a backend; run once per backend."""
    with TemporaryDirectory() as folder:
        for task in ("make", "check"):
            command = [sys.executable, str(HARNESS), task, backend, folder]
            result = subprocess.run(command, capture_output=True, text=True, timeout=240)
            assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_the_contract_of_a_model_is_told(backend: str) -> None:
    got = seen(backend)
    assert got["inputs"] == [["x", "FP32", [4]]]
    assert got["outputs"] == [["x", "FP32", [4]] if backend == "fake" else ["y", "FP32", [3]]]
    assert got["batches"] is True
    assert got["labels"] == (["a", "b", "c"] if backend in ("fake", "onnx", "torchscript") else [])


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_every_batch_size_is_computed_right(backend: str) -> None:
    got = seen(backend)
    assert got["largest_difference"] < TOLERANCE
    assert got["dtype"] == "float32"
    assert got["shape"] == [1, 4 if backend == "fake" else 3]


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_bad_files_are_refused_by_name(backend: str) -> None:
    errors = seen(backend)["errors"]
    assert {"damaged", "empty"} <= set(errors)
    for bad, message in errors.items():
        assert message, f"{bad} was loaded"
        assert f"{bad}." in message
        assert bad == "nameless" or "\n" not in message


def test_what_is_wrong_is_said() -> None:
    assert "is empty" in seen("onnx")["errors"]["empty"]
    assert "zip archive" in seen("onnx")["errors"]["other"]
    assert "'Doubling'" in seen("keras")["errors"]["custom"]
    assert "Lambda" in seen("keras")["errors"]["lambda"]
    assert "protocol buffer" in seen("torchscript")["errors"]["other"]
    assert "[[input]]" in seen("torchscript")["errors"]["nameless"]
    assert "saved_model.pb" in seen("tensorflow")["errors"]["empty"]


@pytest.mark.parametrize("backend", REAL)
def test_a_configuration_that_contradicts_the_file_is_refused(backend: str) -> None:
    contradictions = seen(backend)["contradictions"]
    assert "image" in contradictions["name"]
    assert "INT8[4]" in contradictions["datatype"]
    assert "FP32[4]" in contradictions["datatype"]
    assert "FP32[5]" in contradictions["shape"]


def test_a_backend_of_the_users_own_is_imported_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_backends.py").write_text(
        "from quadriga.backends.fake import FakeBackend\nclass Mine(FakeBackend): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert import_backend("my_backends:Mine").__name__ == "Mine"
    with pytest.raises(AttributeError):
        import_backend("my_backends:Other")
    with pytest.raises(ImportError):
        import_backend("no_such_module:Mine")
