"""Health of the service as a whole: it serves while there is a model that can answer, which `quadriga health` asks."""

import shutil
from collections.abc import Callable
from pathlib import Path

from running_server import RunningServer, run_cli, wait_for, write_fake

SERVES = (0, "")


def health(server: RunningServer) -> tuple[int, str]:
    """The command's exit status, and what it says is wrong."""
    result = run_cli("health", "--url", server.grpc)
    return result.returncode, result.stderr


def test_the_service_is_healthy_while_any_model_can_answer(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "model.fake").write_text("{}")
    server = start("--repository", str(tmp_path), "--model-control", "poll", "--poll-seconds", "0.1")
    status, said = health(server)
    assert status == 1
    assert "no model that can answer" in said
    assert run_cli("health", "broken", "--url", server.grpc).returncode == 1
    write_fake(tmp_path, "good")
    wait_for(lambda: health(server) == SERVES, "the model that came to serve")
    shutil.rmtree(tmp_path / "good")
    wait_for(lambda: health(server)[0] == 1, "the model that went to be missed")
