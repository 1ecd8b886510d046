"""Runs jobs in processes of their own and follows what they tell. Runs in the `quadriga zoo` command."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
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
    command = [sys.executable, "-m", "quadriga_zoo.job", task, json.dumps(dict(arguments))]
    environment = {**os.environ, "KERAS_BACKEND": keras_backend, "CUDA_VISIBLE_DEVICES": ""}
    printed: list[str] = []
    outcome: dict[str, Any] = {}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    ) as process:
        try:
            for line in process.stdout or ():
                event = parse_event(line)
                if event is None:
                    printed.append(line.rstrip())
                    if verbose:
                        print(line, end="", file=sys.stderr)
                elif event["event"] == "epoch":
                    on_epoch(event)
                else:
                    outcome = event
        except BaseException:
            process.kill()
            raise
    if outcome.get("event") == "done":
        result: dict[str, Any] = outcome["result"]
        return result
    if "message" in outcome:
        raise ZooError(outcome["message"])
    why = last_words(printed)
    raise ExportError(f"{task} ended with status {process.returncode}: {why} (run again with --verbose for everything)")


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
