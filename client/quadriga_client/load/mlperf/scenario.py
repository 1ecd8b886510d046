"""One run of MLPerf's load generator, from its settings to its verdict. Runs in the command's process.

The load generator has a process and a session of its own, so that Ctrl-C on a terminal does not reach it: this process
ends it.
"""

import importlib.util
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from quadriga_client.load import report
from quadriga_client.load.engine.child import END_SECONDS, spawn
from quadriga_client.load.errors import LoadError
from quadriga_client.load.mlperf import detailed_log
from quadriga_client.load.mlperf.process import DETAILED_LOG, OUTCOME, SUMMARY, Outcome, Task, pack_task
from quadriga_client.load.mlperf.settings import MlperfSettings, scenario_of
from quadriga_client.load.mlperf.summary import parse
from quadriga_client.load.status_codes import counts_by_name
from quadriga_client.load.target import LoadTarget

PACKAGE: Final = "mlperf_loadgen"
PROCESS: Final = "quadriga_client.load.mlperf.process"
#: How often a run is looked at: whether it has an outcome, and its process no end.
LOOK_SECONDS: Final = 1.0
#: Of one processor; from here on, the process may be what keeps answers waiting.
BUSY_CORES: Final = 0.9
CORES_KEY: Final = "CPU of the load generator's process (cores)"
_ERRORS: Final = "stderr.txt"


def run_scenario(target: LoadTarget, scenario: str, *, settings: MlperfSettings) -> report.Mlperf:
    """Runs a scenario to its end and leaves nothing behind, also when it is interrupted.

    Args:
        target: Whose requests are the samples.
        scenario: "SingleStream", "MultiStream", "Server" or "Offline", in any case.
        settings: Of the run.

    Raises:
        LoadError: The load generator is not installed or failed, the settings do not suit the scenario or make it too
            large, the server cannot be reached, answers nothing with OK, went away or stopped answering.
    """
    kind = scenario_of(scenario, settings)
    if importlib.util.find_spec(PACKAGE) is None:
        raise LoadError("MLPerf's load generator is not installed; run: pip install 'quadriga[mlperf]'")
    with tempfile.TemporaryDirectory(prefix="quadriga-mlperf-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        outcome = _outcome(Task(target, kind, settings, folder))
        if outcome.error:
            raise LoadError(outcome.error)
        return verdict(kind, _summary(folder), outcome, _logged(folder))


def verdict(scenario: str, summary: str, outcome: Outcome, logged: Sequence[str] = ()) -> report.Mlperf:
    """The load generator's verdict; a run with failed requests is not valid whatever it says, since it cannot know.

    Args:
        scenario: Of the run.
        summary: The load generator's.
        outcome: The process's.
        logged: The errors in the detailed log; without any, the summary's own word that there are some.

    Raises:
        LoadError: The summary holds none.
    """
    parsed = parse(summary)
    errors = counts_by_name(outcome.failures)
    failed = tuple(f"{count} request{'s' * (count > 1)} failed: {code}" for code, count in errors.items())
    valid = parsed.valid and not failed
    said = tuple(f"the load generator's error: {text}" for text in logged or parsed.errors)
    return report.Mlperf(
        scenario=scenario,
        valid=valid,
        reasons=failed + parsed.reasons + (() if valid else said),
        summary=parsed.figures | {CORES_KEY: f"{outcome.cores:.2f}"},
        notes=outcome.notes + _busy(outcome.cores) + (said if valid else ()),
        settings=parsed.parameters,
        errors=errors,
    )


def _outcome(task: Task) -> Outcome:
    """Runs the process to its end, or ends it."""
    errors, written = task.folder / _ERRORS, task.folder / OUTCOME
    with errors.open("wb") as output, spawn(PROCESS, stdout=output, stderr=output) as process:
        try:
            _give(process, task)
            status = _wait(process, written)
        finally:
            process.kill()
    try:
        return msgspec.json.decode(written.read_bytes(), type=Outcome)
    except FileNotFoundError:
        last = errors.read_text(errors="replace").strip().rpartition("\n")[2]
        raise LoadError(f"MLPerf's load generator ended with status {status}{': ' * bool(last)}{last}") from None
    except msgspec.DecodeError as error:
        raise LoadError(f"MLPerf's load generator left an outcome that cannot be read: {error}") from error


def _give(process: subprocess.Popen[bytes], task: Task) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(pack_task(task))
        process.stdin.flush()  # and not closed: its end would tell the process that this one is gone
    except BrokenPipeError:  # it ended before it read everything; so does closing what is not written
        with suppress(BrokenPipeError):
            process.stdin.close()


def _wait(process: subprocess.Popen[bytes], outcome: Path) -> int | None:
    """Waits for the end of a process, however long its run is; once there is an outcome, not for long.

    Returns:
        Its status; None where it has an outcome, and no end.
    """
    while not outcome.exists():
        with suppress(subprocess.TimeoutExpired):
            return process.wait(LOOK_SECONDS)
    with suppress(subprocess.TimeoutExpired):
        return process.wait(END_SECONDS)
    return None


def _summary(folder: Path) -> str:
    try:
        return (folder / SUMMARY).read_text()
    except FileNotFoundError:
        raise LoadError(f"MLPerf's load generator ended without a verdict: it left no {SUMMARY}") from None


def _logged(folder: Path) -> tuple[str, ...]:
    try:
        with (folder / DETAILED_LOG).open(errors="replace") as lines:
            return tuple(detailed_log.errors(lines))
    except FileNotFoundError:
        return ()


def _busy(cores: float) -> tuple[str, ...]:
    if cores < BUSY_CORES:
        return ()
    return (
        f"the process that sends and receives kept {cores:.2f} processors busy, and one is all that it can use for "
        "that: the server may be faster than this run shows",
    )
