"""The C library's allocator, set in a process of its own."""

import json
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource
import numpy as np
from quadriga.backends.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(16 << 20, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = faults()
keep_freed_memory()
faults()
print(json.dumps([plain, faults()]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_freed_memory_is_used_again_without_asking_the_system_for_it() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    plain, kept = json.loads(result.stdout)
    assert kept * 10 < plain
