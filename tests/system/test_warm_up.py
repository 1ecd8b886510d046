"""A model has run every batch size that it will be given before it is ready: no request pays for a first time."""

from collections.abc import Callable
from pathlib import Path

import pytest
from own_backends import OWN_BACKENDS
from running_server import RunningServer, write_fake

RECORDING = 'backend = "own_backends:Recording"\n'


@pytest.mark.parametrize(
    ("config", "largest"), [("max_batch_size = 5", 5), ("max_batch_size = 1", 1), ("", 16)], ids=["5", "1", "default"]
)
def test_every_batch_size_is_run_before_the_server_is_ready(
    start: Callable[..., RunningServer], tmp_path: Path, config: str, largest: int
) -> None:
    folder = write_fake(tmp_path, "recording", config=RECORDING + config)
    start("--repository", str(tmp_path), env=OWN_BACKENDS)
    rows = (folder / "1" / "rows").read_text().split()
    assert sorted(map(int, rows)) == list(range(1, largest + 1))


def test_every_worker_of_a_model_is_warmed_up(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    config = RECORDING + 'max_batch_size = 2\n[[instance_group]]\nkind = "KIND_CPU"\ncount = 3'
    folder = write_fake(tmp_path, "recording", config=config)
    server = start("--repository", str(tmp_path), env=OWN_BACKENDS)
    assert len(server.workers()) == 3
    rows = (folder / "1" / "rows").read_text().split()
    assert sorted(map(int, rows)) == [1, 1, 1, 2, 2, 2]


def test_a_model_that_does_not_batch_is_run_once(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    folder = write_fake(tmp_path, "recording", {"batches": False}, RECORDING)
    start("--repository", str(tmp_path), env=OWN_BACKENDS)
    assert (folder / "1" / "rows").read_text().split() == ["4"]
