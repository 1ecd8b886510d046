"""A way to call a model, in a process of its own that idles between questions, so that ways can take turns."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Run = Callable[[Any], Any]
ANSWER = "answer "
#: Of the time of a question: calls before those that count, since caches and clocks have been others' meanwhile.
WARM_UP_SHARE = 0.1


class Timed(NamedTuple):
    """Medians of a call in milliseconds, CPU time of all threads and wall time, and what the first call answered.

    Only the first question of a batch size has an answer's elements.
    """

    cpu_ms: float
    wall_ms: float
    first: list[float]


class Variant:
    """The process, as who asks it sees it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Starts it.

        Args:
            command: Python's arguments; what it runs calls `answer_questions`.
            environment: Beside this process' own, whose modules it can import too.
        """
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        )

    def ask(self, batch: int, seconds: float) -> Timed | None:
        """Calls with so many rows for so long; None where the variant cannot run."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("started without pipes")
        with suppress(BrokenPipeError):
            print(batch, seconds, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                return Timed(*json.loads(line.removeprefix(ANSWER)))
        return None

    def close(self) -> None:
        """Ends the process."""
        with suppress(BrokenPipeError):
            self._process.communicate()


def answer_questions(run: Run, shape: Sequence[int]) -> None:
    """What a variant's process does: answers each line of stdin, a batch size and seconds, until its end.

    Args:
        run: Takes float32 [batch, *shape], the same every time.
        shape: Of a row.
    """
    # Ctrl-C is for the parent, whose end closes stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm: set[int] = set()
    for line in sys.stdin:
        size, for_seconds = line.split()
        batch, seconds = int(size), float(for_seconds)
        array = np.random.default_rng(0).random((batch, *shape), np.float32)
        first = [] if batch in warm else np.asarray(run(array)).ravel().tolist()
        warm.add(batch)
        call_for(run, array, seconds * WARM_UP_SHARE)
        medians = np.median(call_for(run, array, seconds), axis=0) * 1e3
        print(f"{ANSWER}{json.dumps([*medians.tolist(), first])}", flush=True)


def call_for(run: Run, array: Any, seconds: float) -> list[tuple[float, float]]:  # noqa: ANN401 - what `run` takes
    """CPU and wall seconds of each call, of which there is one at least."""
    taken: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        started, used = time.perf_counter(), time.process_time()
        run(array)
        taken.append((time.process_time() - used, time.perf_counter() - started))
    return taken
