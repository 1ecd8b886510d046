"""One run of MLPerf's load generator, from its settings to its verdict. Runs in the command's process.

The load generator has a process and a session of its own, so that Ctrl-C on a terminal does not reach it: this process
ends it.
"""

import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import grpc
import msgspec

from quadriga_client.load import report
from quadriga_client.load.errors import LoadError
from quadriga_client.load.mlperf.process import OUTCOME, SUMMARY, Outcome, Task
from quadriga_client.load.mlperf.settings import MlperfSettings, scenario_of
from quadriga_client.load.mlperf.summary import parse
from quadriga_client.load.target import LoadTarget

PACKAGE: Final = "mlperf_loadgen"
_PROGRAM: Final = "from quadriga_client.load.mlperf.process import main; main()"
_ERRORS: Final = "stderr.txt"


def run_scenario(target: LoadTarget, scenario: str, *, settings: MlperfSettings) -> report.Mlperf:
    """Runs a scenario to its end and leaves nothing behind, also when it is interrupted.

    Args:
        target: Whose requests are the samples.
        scenario: "SingleStream", "MultiStream", "Server" or "Offline", in any case.
        settings: Of the run.

    Raises:
        LoadError: The load generator is not installed or failed, the settings do not suit the scenario, the server
            cannot be reached, went away or stopped answering.
    """
    kind = scenario_of(scenario, settings)
    if importlib.util.find_spec(PACKAGE) is None:
        raise LoadError("MLPerf's load generator is not installed; run: pip install 'quadriga[mlperf]'")
    with tempfile.TemporaryDirectory(prefix="quadriga-mlperf-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        outcome = _outcome(Task(target, kind, settings, folder))
        if outcome.error:
            raise LoadError(outcome.error)
        return verdict(kind, (folder / SUMMARY).read_text(), outcome)


def verdict(scenario: str, summary: str, outcome: Outcome) -> report.Mlperf:
    """The load generator's verdict; a run with failed requests is not valid whatever it says, since it cannot know.

    Raises:
        LoadError: The summary holds none.
    """
    parsed = parse(summary)
    errors = {_name(code): count for code, count in sorted(outcome.failures.items())}
    failed = tuple(f"{count} request{'s' * (count > 1)} failed: {code}" for code, count in errors.items())
    return report.Mlperf(
        scenario=scenario,
        valid=parsed.valid and not failed,
        reasons=failed + parsed.reasons,
        summary=parsed.figures,
        notes=outcome.notes,
        settings=parsed.parameters,
        errors=errors,
    )


def _outcome(task: Task) -> Outcome:
    """Runs the process to its end, or ends it."""
    errors = task.folder / _ERRORS
    with (
        errors.open("wb") as stderr,
        # -P: a file of the user's in the current folder must not stand in for a module.
        subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=stderr,
            stderr=stderr,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        ) as process,
    ):
        try:
            assert process.stdin is not None
            try:
                process.stdin.write(pickle.dumps(task))
                process.stdin.flush()  # and not closed: its end would tell the process that this one is gone
            except BrokenPipeError:  # it ended before it read everything; so does closing what is not written
                with suppress(BrokenPipeError):
                    process.stdin.close()
            status = process.wait()
        finally:
            process.kill()
    try:
        return msgspec.json.decode((task.folder / OUTCOME).read_bytes(), type=Outcome)
    except FileNotFoundError:
        last = errors.read_text(errors="replace").strip().rpartition("\n")[2]
        raise LoadError(f"MLPerf's load generator ended with status {status}{': ' * bool(last)}{last}") from None


def _name(code: int) -> str:
    """The name of a gRPC code; one that is not of gRPC counts as UNKNOWN."""
    return next((each.name for each in grpc.StatusCode if each.value[0] == code), grpc.StatusCode.UNKNOWN.name)
