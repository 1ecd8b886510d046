"""What a backend does to be fast changes no answer: CNNs beside the framework's plain way of running them."""

import importlib.util
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("optimised.py")
NEEDS = {
    "onnx": ("onnxruntime", "onnx"),
    "torchscript": ("torch",),
    "tensorflow": ("tensorflow", "keras"),
    "keras": ("tensorflow", "keras"),
    "keras_on_torch": ("torch", "keras"),
    "keras_on_jax": ("jax", "keras"),
}
TOLERANCE = 1e-4


def param(backend: str) -> Any:
    """A backend, skipped where what it needs is not there."""
    missing = [module for module in NEEDS[backend] if importlib.util.find_spec(module) is None]
    return pytest.param(backend, marks=pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"))


@cache
def seen(backend: str) -> dict[str, Any]:
    """What the script saw of a backend; run once per backend."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, str(SCRIPT), backend, folder]
        result = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("backend", [param(name) for name in NEEDS])
def test_optimised_answers_are_the_plain_ones(backend: str) -> None:
    differences = {name: value for name, value in seen(backend).items() if not isinstance(value, bool)}
    assert differences
    assert max(differences.values()) < TOLERANCE, differences


@pytest.mark.parametrize("backend", [param("torchscript")])
def test_a_torchscript_graph_is_rewritten_unless_it_changes_tensors_in_place(backend: str) -> None:
    assert seen(backend)["like_keras rewritten"]
    assert seen(backend)["casting rewritten"]
    assert not seen(backend)["in_place rewritten"]
