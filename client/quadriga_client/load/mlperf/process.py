"""MLPerf's load generator at work. Runs in a process of its own, which its parent kills when it wants no more of it.

The load generator holds the main thread, in C++, until the run is over; requests are a second thread's. A third ends
everything when the parent is gone: nobody else would remove the folder of the logs.
"""

import os
import pickle
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from quadriga_client.load.errors import LoadError
from quadriga_client.load.frames import LARGEST_STREAM
from quadriga_client.load.mlperf.settings import MlperfSettings, Scenario
from quadriga_client.load.mlperf.system import SystemUnderTest
from quadriga_client.load.pool import Pool
from quadriga_client.load.target import LoadTarget

OUTCOME: Final = "outcome.json"
SUMMARY: Final = "mlperf_log_summary.txt"
#: Of the load before a run that tells what to expect of it; in the first half, everything warms up.
REHEARSAL_SECONDS: Final = 1.0
#: Of Offline, whose run is as long as its samples make it: too few make it invalid. Of queries one after the other the
#: load generator itself makes twice as many as should be needed, and keeps some 0.5 KB of each.
HEADROOM: Final = 1.5
#: TestSettings.FromConfig's kind of configuration: the mlperf.conf that the load generator carries.
_MLPERF_CONF: Final = 0


@dataclass(frozen=True, slots=True)
class Task:
    """What the process is to do, and the folder in which logs and the outcome are written."""

    target: LoadTarget
    scenario: Scenario
    settings: MlperfSettings
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it ended.

    Attributes:
        error: Why there is no run; empty where there is one.
        failures: gRPC's code -> requests that ended with it, other than OK.
        notes: Of what is less than MLPerf asks for.
    """

    error: str = ""
    failures: dict[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def main() -> None:
    """Runs the task that comes by stdin; its folder has the outcome afterwards."""
    task: Task = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, args=(task.folder,), daemon=True).start()
    try:
        outcome = _run(task)
    except LoadError as error:
        outcome = Outcome(error=str(error))
    _leave(task.folder, outcome)


def rehearse(
    system: SystemUnderTest,
    under_way: int,
    seconds: float = REHEARSAL_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Answers per second where `under_way` callers send one request after the other; never none.

    Args:
        system: Idle, and idle again afterwards.
        under_way: How many callers.
        seconds: Of which the second half is counted, and the answers to what was sent in it.
        clock: Seconds.

    Raises:
        LoadError: The server went away, or answers nothing.
    """
    start = clock()
    middle, end = start + seconds / 2, start + seconds
    ended = 0

    def send_again(samples: list[int]) -> None:
        nonlocal ended
        now = clock()
        ended += len(samples) if now >= middle else 0
        if now < end:
            system.issue(samples, samples)

    system.complete = send_again
    system.issue(range(under_way), range(under_way))
    while not system.idle:
        system.step()
    # What was under way at the end is counted, and the time that it took.
    return max(ended, 1) / (clock() - middle)


def generator_settings(
    loadgen: Any,  # noqa: ANN401  # the module, which has no types
    scenario: Scenario,
    settings: MlperfSettings,
    answers_per_second: float,
) -> tuple[Any, tuple[str, ...]]:
    """The load generator's own settings, and notes on what is less than a submission needs."""
    wanted = loadgen.TestSettings()
    wanted.FromConfig("", "", scenario, _MLPERF_CONF)
    wanted.scenario = getattr(loadgen.TestScenario, scenario)
    wanted.mode = loadgen.TestMode.PerformanceOnly
    wanted.multi_stream_samples_per_query = settings.samples_per_query
    notes = []
    if settings.min_duration is not None:
        milliseconds = max(round(settings.min_duration * 1000), 1)
        if milliseconds < wanted.min_duration_ms:
            notes.append(
                f"not a submission: min duration shortened to {settings.min_duration:g} s "
                f"from {wanted.min_duration_ms / 1000:g} s"
            )
        wanted.min_duration_ms = milliseconds
    if settings.min_queries is not None:
        if settings.min_queries < wanted.min_query_count:
            notes.append(
                f"not a submission: min query count lowered to {settings.min_queries} from {wanted.min_query_count}"
            )
        wanted.min_query_count = settings.min_queries
    _set_expectations(wanted, scenario, settings, answers_per_second)
    return wanted, tuple(notes)


def _set_expectations(
    wanted: Any,  # noqa: ANN401  # TestSettings
    scenario: Scenario,
    settings: MlperfSettings,
    answers_per_second: float,
) -> None:
    """Rates, latencies and percentiles, whose names differ from scenario to scenario."""
    prefix = {"SingleStream": "single_stream", "MultiStream": "multi_stream", "Server": "server"}.get(scenario)
    if settings.target_percentile is not None and prefix:
        setattr(wanted, f"{prefix}_target_latency_percentile", settings.target_percentile / 100)
    if scenario == "Offline":
        wanted.offline_expected_qps = settings.expected_qps or answers_per_second * HEADROOM
    elif scenario == "Server":
        wanted.server_target_qps = settings.target_qps
        if settings.target_latency_ms is not None:
            wanted.server_target_latency_ns = max(round(settings.target_latency_ms * 1e6), 1)
    else:
        samples = settings.samples_per_query if scenario == "MultiStream" else 1
        seen_ms = samples / answers_per_second * 1e3
        setattr(wanted, f"{prefix}_expected_latency_ns", (settings.expected_latency_ms or seen_ms) * 1e6)


def _run(task: Task) -> Outcome:
    import mlperf_loadgen as loadgen

    target, settings = task.target, task.settings
    pool = Pool(target, settings.connections, LARGEST_STREAM)
    pool.fill()
    most = settings.most_under_way(task.scenario)
    system = SystemUnderTest(
        pool, requests=len(target.requests), timeout=target.timeout, most_under_way=most, complete=lambda samples: None
    )
    rate = rehearse(system, most or settings.concurrency)
    system.failures.clear()
    wanted, notes = generator_settings(loadgen, task.scenario, settings, rate)
    system.complete = lambda samples: loadgen.QuerySamplesComplete(
        [loadgen.QuerySampleResponse(sample, 0, 0) for sample in samples]
    )
    over = threading.Event()
    thread = threading.Thread(target=_serve, args=(system, over, task.folder), daemon=True)
    thread.start()
    _generate(loadgen, system, wanted, settings.sample_count or len(target.requests), task.folder)
    over.set()
    system.wake()
    thread.join()
    return Outcome(failures=dict(system.failures), notes=notes)


def _generate(
    loadgen: Any,  # noqa: ANN401  # the module
    system: SystemUnderTest,
    wanted: Any,  # noqa: ANN401  # TestSettings
    sample_count: int,
    folder: Path,
) -> None:
    """The run itself, from the first sample to the summary."""
    output = loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    log = loadgen.LogSettings()
    log.log_output = output
    log.enable_trace = False
    sut = loadgen.ConstructFastSUT(system.issue, lambda: None)
    library = loadgen.ConstructQSL(sample_count, sample_count, lambda indexes: None, lambda indexes: None)
    # An audit.config in the current folder would change the run.
    loadgen.StartTestWithLogSettings(sut, library, wanted, log, str(folder / "audit.config"))
    loadgen.DestroyQSL(library)
    loadgen.DestroyFastSUT(sut)


def _serve(system: SystemUnderTest, over: threading.Event, folder: Path) -> None:
    """The second thread: requests, until the run is over. It cannot be ended early but with the process."""
    try:
        while not over.is_set():
            system.step()
    except LoadError as error:
        _leave(folder, Outcome(error=str(error)))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def _leave(folder: Path, outcome: Outcome) -> NoReturn:
    (folder / OUTCOME).write_bytes(msgspec.json.encode(outcome))
    sys.stderr.flush()
    os._exit(0)


def _end_with_parent(folder: Path) -> None:
    """Waits until stdin closes. The parent closes it when it is gone, or no earlier than it has the outcome."""
    os.read(sys.stdin.fileno(), 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
