"""Which Python runs a backend's workers, and what of the variable is refused."""

import asyncio
import sys
from pathlib import Path

import pytest

from quadriga.backends.base import ModelSource
from quadriga.errors import ConfigError
from quadriga.workers.child import spawn_worker
from quadriga.workers.interpreters import VARIABLE, interpreter_of, interpreters
from quadriga.workers.messages import Load


def test_a_backend_without_an_entry_has_this_one() -> None:
    assert interpreters({}) == {}
    assert interpreter_of("onnx", {}) == sys.executable
    assert interpreter_of("my_package.mod:Mine", {VARIABLE: "onnx=/bin/true"}) == sys.executable


def test_each_backend_has_its_own() -> None:
    environment = {VARIABLE: "tensorflow=/bin/true  keras=/bin/false"}
    assert interpreter_of("tensorflow", environment) == "/bin/true"
    assert interpreter_of("keras", environment) == "/bin/false"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tensorflov=/bin/true", "'tensorflov=/bin/true'; expected BACKEND=PATH with one of tensorflow"),
        ("/bin/true", "'/bin/true'; expected BACKEND=PATH"),
        ("keras=/none", "gives keras the interpreter '/none', which cannot be run"),
        ("keras=", "gives keras the interpreter '', which cannot be run"),
    ],
)
def test_what_cannot_be_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        interpreters({VARIABLE: text})
    assert expected in str(caught.value)


def test_a_worker_runs_in_its_backends_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho $0 $3\n")
    python.chmod(0o755)
    monkeypatch.setenv(VARIABLE, f"fake={python}")
    child = spawn_worker(Load("fake", ModelSource(path=""), 1, 1))
    try:
        assert child.output.read() == f"{python} quadriga.workers.process\n".encode()
    finally:
        child.end.close()
        child.output.close()
        assert asyncio.run(child.wait()) == 0
