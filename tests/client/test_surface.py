"""The clients' surface: both have the same, and importing it brings nothing heavy."""

import inspect
import json
import subprocess
import sys

import pytest

import quadriga_client
from quadriga_client import AsyncClient, Client

METHODS = sorted(name for name, value in vars(Client).items() if callable(value) and not name.startswith("_"))


def test_the_promised_methods_are_there() -> None:
    reading = ["live", "metadata", "ready", "repository_index", "statistics", "status"]
    assert sorted(["classify", "close", "infer", "load_model", "unload_model", *reading]) == METHODS


def test_both_clients_have_the_same_methods() -> None:
    assert sorted(name for name in vars(AsyncClient) if not name.startswith("_")) == METHODS


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_signatures_are_equal(name: str) -> None:
    asynchronous = getattr(AsyncClient, name)
    assert inspect.signature(getattr(Client, name)) == inspect.signature(asynchronous)
    assert inspect.iscoroutinefunction(asynchronous) is (name != "__init__")


def test_all_names_what_is_exported() -> None:
    public = {
        name
        for name, value in vars(quadriga_client).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(quadriga_client.__all__) == public


def test_importing_the_client_brings_nothing_heavy() -> None:
    program = "import json, sys, quadriga_client; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    imported = set(json.loads(answer.stdout))
    heavy = {
        "quadriga",
        "quadriga_zoo",
        "PIL",
        "tensorflow",
        "keras",
        "torch",
        "onnxruntime",
        "click",
        "rich",
        "msgspec",
    }
    assert "quadriga_client" in imported
    assert imported & heavy == set()
