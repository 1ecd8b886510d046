"""What lives in which process: the server holds no framework, a worker holds no gRPC, and an empty server is small."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from running_server import RunningServer, write_fake

from quadriga_client import Client

TESTS = Path(__file__).parents[1]
FRAMEWORKS = {"tensorflow", "keras", "torch", "onnxruntime", "onnx", "jax"}
SERVER_ONLY = {"grpc", "prometheus_client", "starlette", "uvicorn", "click"}
RSS_LIMIT = 120e6


def libraries(process: psutil.Process) -> set[str]:
    """Packages whose native libraries a process has mapped."""
    paths = [Path(mapped.path) for mapped in process.memory_maps() if "site-packages" in mapped.path]
    return {path.parts[path.parts.index("site-packages") + 1] for path in paths}


def imported_by(code: str) -> set[str]:
    """Top-level modules after running `code` in a fresh interpreter."""
    code += "\nimport sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def test_the_server_imports_no_framework() -> None:
    assert not imported_by("import quadriga.commands.serve") & FRAMEWORKS


@pytest.mark.parametrize("module", ["quadriga", "quadriga.cli"])
def test_what_every_process_imports_is_light(module: str) -> None:
    assert not imported_by(f"import {module}") & (FRAMEWORKS | {"grpc", "numpy", "starlette", "rich"})


def test_a_worker_imports_nothing_of_the_service(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "spy", config='backend = "spy_backend:Spy"')
    server = start("--repository", str(tmp_path), env={"PYTHONPATH": str(TESTS)})
    with Client(server.grpc) as client:
        labels = client.metadata("spy").properties["labels"]
    modules = set(json.loads(labels))
    assert "numpy" in modules
    assert not modules & (SERVER_ONLY | FRAMEWORKS)


def test_real_workers_hold_their_framework_and_no_grpc(
    start: Callable[..., RunningServer], demo_repository: Path
) -> None:
    names = {"same_savedmodel": "tensorflow", "same_torchscript": "torch", "same_onnx": "onnxruntime"}
    flags = [flag for name in names for flag in ("--load-model", name)]
    server = start("--repository", str(demo_repository), "--model-control", "explicit", *flags)
    assert not libraries(psutil.Process(server.process.pid)) & FRAMEWORKS
    assert "grpc" in libraries(psutil.Process(server.process.pid))
    for name, framework in names.items():
        held = libraries(psutil.Process(server.worker_of(name)))
        assert framework in held
        assert "grpc" not in held


def test_an_empty_server_is_small(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    server = start("--repository", str(tmp_path))
    assert psutil.Process(server.process.pid).memory_info().rss < RSS_LIMIT
    assert server.metric("quadriga_server_resident_memory_bytes") < RSS_LIMIT
