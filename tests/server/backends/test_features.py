"""Half precision through every backend, and inputs that may be left out where a backend has such."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from installed_backends import KERAS, REAL, installed

FEATURES = Path(__file__).with_name("features.py")


@cache
def seen(backend: str) -> Any:
    """What was seen of a backend; run once per backend."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, str(FEATURES), backend, folder]
        result = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
@pytest.mark.parametrize("backend", REAL)
def test_half_precision_goes_in_and_out(backend: str, datatype: str) -> None:
    got = seen(backend)[datatype]
    assert got["inputs"] == [["x", datatype, [3]]]
    assert [tensor[1:] for tensor in got["outputs"]] == [[datatype, [3]]]
    assert got["dtype"] == {"FP16": "float16", "BF16": "bfloat16"}[datatype]
    assert got["values"] == [[2, 4, 6], [8, 10, 12]]


@pytest.mark.parametrize("backend", REAL)
def test_an_input_that_cannot_be_left_out_is_refused_as_optional(backend: str) -> None:
    assert "input 'x' is declared optional, but" in seen(backend)["refused"]


@installed("onnx")
def test_onnx_takes_initializers_that_are_declared_as_inputs() -> None:
    got = seen("onnx")["scale"]
    assert got["undeclared"] == [[["x", "FP32", [3]]], [[10, 10, 10]]]
    assert got["optional"] == ["scale"]
    assert got["given"] == [[4, 4, 4]]
    assert got["left out"] == [[10, 10, 10]]
    assert "input 'x' is declared optional, but" in got["refused"]


@pytest.mark.parametrize("backend", KERAS)
def test_keras_runs_without_its_optional_inputs(backend: str) -> None:
    got = seen(backend)["mask"]
    assert got["optional"] == ["mask"]
    assert got["left out"] == [pytest.approx([1 / 3, 1 / 3, 1 / 3])]
    assert got["given"] == [pytest.approx([0.5, 0, 0.5])]
    assert got["declared as required"] == [False, False]
