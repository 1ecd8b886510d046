"""What lives in which process: the server holds no framework, a worker holds no gRPC, and an empty server is small."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from own_backends import OWN_BACKENDS
from running_server import RunningServer, write_fake

FRAMEWORKS = {"tensorflow", "keras", "torch", "onnxruntime", "onnx", "jax"}
SERVER_ONLY = {"grpc", "prometheus_client", "starlette", "uvicorn", "click"}
#: What the server process alone may import of Quadriga.
SERVICE = {
    f"quadriga.{name}" for name in ("service", "control", "scheduler", "registry", "metrics", "transports", "web")
}
#: Backends by demo model.
REAL = {"same_savedmodel": "tensorflow", "same_keras": "keras", "same_torchscript": "torchscript", "same_onnx": "onnx"}
OWN_FRAMEWORKS: dict[str, set[str]] = {
    "same_savedmodel": {"tensorflow", "keras"},  # which TensorFlow imports by itself
    "same_keras": {"tensorflow", "keras"},
    "same_torchscript": {"torch"},
    "same_onnx": {"onnxruntime"},
    "fake": set(),
}
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


def observe(repository: Path, name: str, file: Path, backend: str, **parameters: str) -> Path:
    """Adds a model whose worker writes the names of its modules to a file, once it is warmed up; returns that file."""
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1" / file.name).symlink_to(file)
    modules = repository.with_name(f"modules of {name}")
    settings = {"observed": backend, "modules": str(modules), **parameters}
    lines = ['backend = "own_backends:Observed"', f'default_model_filename = "{file.name}"', "[parameters]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    (repository / name / "model.toml").write_text("\n".join(lines))
    return modules


def test_workers_hold_their_framework_and_nothing_of_the_service(
    start: Callable[..., RunningServer], demo_repository: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    modules = {}
    for name, backend in REAL.items():
        (file,) = (demo_repository / name / "1").iterdir()
        modules[name] = observe(repository, name, file, backend)
    fake = write_fake(tmp_path / "elsewhere", "fake") / "1" / "model.fake"
    modules["fake"] = observe(repository, "fake", fake, "fake")
    server = start("--repository", str(repository), env=OWN_BACKENDS)
    assert not libraries(psutil.Process(server.process.pid)) & FRAMEWORKS
    assert "grpc" in libraries(psutil.Process(server.process.pid))
    for name, file in modules.items():
        imported = set(file.read_text().split())
        roots = {module.partition(".")[0] for module in imported}
        own = OWN_FRAMEWORKS[name]
        assert "quadriga.workers.channel" in imported
        assert (name, roots & FRAMEWORKS) == (name, own)
        assert (name, roots & SERVER_ONLY, imported & SERVICE) == (name, set(), set())
        held = libraries(psutil.Process(server.worker_of(name)))
        assert (name, held & FRAMEWORKS) == (name, own - {"keras"})  # which has no native library
        assert (name, held & SERVER_ONLY) == (name, set())


def test_an_empty_server_is_small(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    server = start("--repository", str(tmp_path))
    assert psutil.Process(server.process.pid).memory_info().rss < RSS_LIMIT
    assert server.metric("quadriga_server_resident_memory_bytes") < RSS_LIMIT
