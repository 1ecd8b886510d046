"""KServe's InferenceGRPCClient against the server. `KSERVE_PYTHON` names a Python that has it: `make test-clients`."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from running_server import RunningServer, write_fake

PYTHON = os.environ.get("KSERVE_PYTHON")
SESSION = Path(__file__).parents[1] / "kserve_session.py"
SECONDS = 120


@pytest.mark.skipif(not PYTHON, reason="no Python with kserve is named; make test-clients installs one")
def test_a_session(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_fake(tmp_path, "numbers")
    write_fake(tmp_path, "words", {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [3]}]})
    server = start("--repository", str(tmp_path))
    command = [str(PYTHON), str(SESSION), server.grpc]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert (seen["live"], seen["ready"], seen["model"], seen["unknown"]) == (True, True, True, False)
    assert seen["numbers, raw True"] == seen["numbers, raw False"] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert (seen["id"], seen["version"]) == ("an id", "1")
    assert seen["words"] == ["61", "", "ff"]
    assert "INVALID_ARGUMENT" in seen["refused"]
    assert "[2, 3]" in seen["refused"]
