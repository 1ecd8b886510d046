"""The check at the end of the system tests can fail: what outlives its server is seen, and what it holds."""

from pathlib import Path

import pytest
from own_backends import OWN_BACKENDS
from running_server import END_SECONDS, RunningServer, write_fake


def test_an_orphan_that_holds_shared_memory_is_noticed(tmp_path: Path) -> None:
    write_fake(tmp_path, "parent", config='backend = "own_backends:Orphaning"')
    server = RunningServer("--repository", str(tmp_path), env=OWN_BACKENDS)
    worker = server.worker_of("parent")
    server.process.terminate()
    assert server.process.wait(END_SECONDS) == 0
    (orphan,) = server.slab_holders()
    assert orphan.pid not in (server.process.pid, worker)
    with pytest.raises(AssertionError, match="to end"):
        server.wait_until_nothing_is_left(seconds=0)
    orphan.kill()
    server.stop()
