"""Runs jobs in processes of their own and follows what they tell. Runs in the `quadriga zoo` command."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from quadriga_zoo.errors import ExportError, ZooError

#: The line of a traceback that says what happened.
_EXCEPTION: Final = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit): .")

OnEpoch = Callable[[Mapping[str, Any]], None]


def run_job(
    task: str,
    arguments: Mapping[str, object],
    *,
    keras_backend: str = "tensorflow",
    on_epoch: OnEpoch = lambda event: None,
    verbose: bool = False,
) -> dict[str, Any]:
    """Runs one task of `quadriga_zoo.job` and returns its result.

    Args:
        task: Its name.
        arguments: Its keyword arguments, JSON values.
        keras_backend: KERAS_BACKEND of the process.
        on_epoch: Hears of each epoch of a training.
        verbose: Passes what the frameworks print on to stderr.

    Raises:
        ZooError: The task failed; its own message, or the last line of what it printed that says why.
    """
    command = [sys.executable, "-m", "quadriga_zoo.job", task, json.dumps(dict(arguments)), str(os.getpid())]
    environment = {**os.environ, "KERAS_BACKEND": keras_backend, "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    ) as process:
        try:
            outcome, printed = _follow(process.stdout or (), on_epoch, verbose=verbose)
        except BaseException:
            process.kill()
            raise
    if outcome.get("event") == "done":
        result: dict[str, Any] = outcome["result"]
        return result
    raise _failure(task, process.returncode, outcome, printed)


def _follow(lines: Iterable[str], on_epoch: OnEpoch, *, verbose: bool) -> tuple[dict[str, Any], list[str]]:
    """Reads a job's output to its end; returns the event that ended it (empty: none did) and what else was printed."""
    outcome: dict[str, Any] = {}
    printed: list[str] = []
    for line in lines:
        event = parse_event(line)
        if event is None:
            printed.append(line.rstrip())
            if verbose:
                print(line, end="", file=sys.stderr)
        elif event["event"] == "epoch":
            on_epoch(event)
        else:
            outcome = event
    return outcome, printed


def _failure(task: str, status: int, outcome: Mapping[str, Any], printed: Sequence[str]) -> ZooError:
    if "message" in outcome:
        return ZooError(outcome["message"])
    return ExportError(
        f"{task} ended with status {status}: {last_words(printed)} (run again with --verbose for everything)"
    )


def last_words(printed: Sequence[str]) -> str:
    """The last line that names an exception, else the last line that is not empty."""
    lines = [line for line in printed if line.strip()]
    named = [line for line in lines if _EXCEPTION.match(line)]
    return (named or lines or ["it printed nothing"])[-1]


def parse_event(line: str) -> dict[str, Any] | None:
    """An event that a job told; None for what a framework printed."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
