"""The framework without a server: a backend's `infer` in a process of its own, run on demand and idle in between."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import psutil

ANSWER = "answer "


class Bare:
    """The process, as who asks it sees it."""

    def __init__(self, path: Path, backend: str, batches: Sequence[int]) -> None:
        """Starts the process, loads the model and runs every batch size once."""
        command = [sys.executable, __file__, json.dumps([str(path), backend, sorted(set(batches))])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ask("1 0")

    def median_seconds(self, batch: int, seconds: float) -> float:
        """Runs one batch size for a while; the median of a call."""
        return self._ask(f"{batch} {seconds}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()

    def _ask(self, question: str) -> float:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("started without pipes")
        print(question, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                return float(line.removeprefix(ANSWER))
        raise SystemExit("the bare process ended")


def answer(path: str, backend_name: str, batches: list[int]) -> None:
    """What `Bare` starts: answers each line of stdin, a batch size and seconds, with the median of a call."""
    # What `Bare` is imported by needs no backend.
    from quadriga.backends import import_backend
    from quadriga.backends.base import ModelSource, zeros
    from quadriga.model_config import default_threads
    from quadriga.model_files import size_of

    backend = import_backend(backend_name)()
    source = ModelSource(path=path, threads=default_threads(1, psutil.cpu_count() or 1, size_of(Path(path))))
    backend.prepare(source)
    spec = backend.load(source)
    backend.warm_up(spec, batches)
    for line in sys.stdin:
        batch, seconds = line.split()
        shapes = [zeros(tensor, int(batch) if spec.batches else None) for tensor in spec.inputs]
        inputs = [np.random.default_rng(0).random(array.shape).astype(array.dtype) for array in shapes]
        taken: list[float] = []
        end = time.perf_counter() + float(seconds)
        while not taken or time.perf_counter() < end:
            started = time.perf_counter()
            backend.infer(inputs)
            taken.append(time.perf_counter() - started)
        print(f"{ANSWER}{np.median(taken)}", flush=True)


if __name__ == "__main__":
    answer(*json.loads(sys.argv[1]))
