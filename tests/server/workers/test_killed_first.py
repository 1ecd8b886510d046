"""Who goes when memory runs out: the worker, in a process of its own, since the adjustment cannot be taken back."""

import subprocess
import sys
from pathlib import Path

import pytest

from quadriga.workers.process import OOM_MARGIN

PROGRAM = """
from pathlib import Path
from quadriga.workers.process import be_killed_first
for _ in range(6):
    be_killed_first()
    print(Path("/proc/self/oom_score_adj").read_text().strip())
"""


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="the kernel is not Linux")
def test_a_worker_counts_as_larger_than_the_server_up_to_what_the_kernel_takes() -> None:
    usual = int(Path("/proc/self/oom_score_adj").read_text())
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert [int(line) for line in result.stdout.split()] == [min(usual + OOM_MARGIN * n, 1000) for n in range(1, 7)]
