"""MLPerf's load generator at work. Runs in a process of its own, which its parent kills when it wants no more of it.

The load generator holds the main thread, in C++, until the run is over; requests are a second thread's. A third ends
everything when the parent is gone: nobody else would remove the folder of the logs.
"""

import os
import shutil
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import msgspec

from quadriga_client.load.engine.frames import LARGEST_STREAM
from quadriga_client.load.engine.pool import Pool
from quadriga_client.load.errors import LoadError
from quadriga_client.load.mlperf.configuration import generator_settings
from quadriga_client.load.mlperf.cpu import CpuShare
from quadriga_client.load.mlperf.rehearsal import FEW_CALLERS, rehearse
from quadriga_client.load.mlperf.settings import MlperfSettings, Scenario
from quadriga_client.load.mlperf.system import SystemUnderTest
from quadriga_client.load.packing import Packer
from quadriga_client.load.target import LoadTarget
from quadriga_client.tls import TlsOptions

OUTCOME: Final = "outcome.json"
SUMMARY: Final = "mlperf_log_summary.txt"
DETAILED_LOG: Final = "mlperf_log_detail.txt"


@dataclass(frozen=True, slots=True)
class Task:
    """What the process is to do, and the folder in which logs and the outcome are written."""

    target: LoadTarget
    scenario: Scenario
    settings: MlperfSettings
    folder: Path


_PACKER: Final = Packer((Task, LoadTarget, TlsOptions, MlperfSettings))
_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it ended.

    Attributes:
        error: Why there is no run; empty where there is one.
        failures: gRPC's code -> requests that ended with it, other than OK.
        notes: Of what is not as MLPerf asks for, and of what failed before the run.
        cores: How many processors the process kept busy during the run, on average.
    """

    error: str = ""
    failures: dict[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cores: float = 0.0


def pack_task(task: Task) -> bytes:
    """A task's bytes, their number before them: stdin stays open behind them."""
    packed = _PACKER.pack(task)
    return _LENGTH.pack(len(packed)) + packed


def read_task(stream: BinaryIO) -> Task:
    """The task at the start of a stream."""
    (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
    task: Task = _PACKER.unpack(stream.read(length))
    return task


def main() -> None:
    """Runs the task that comes by stdin; its folder has the outcome afterwards."""
    task = read_task(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, args=(task.folder,), daemon=True).start()
    try:
        outcome = _run(task)
    except LoadError as error:
        outcome = Outcome(error=str(error))
    _leave(task.folder, outcome)


def _run(task: Task) -> Outcome:
    import mlperf_loadgen as loadgen

    target, settings = task.target, task.settings
    pool = Pool(target, settings.connections, LARGEST_STREAM)
    pool.fill()
    most = settings.most_under_way(task.scenario)
    system = SystemUnderTest(
        pool, requests=len(target.requests), timeout=target.timeout, most_under_way=most, complete=lambda samples: None
    )
    rehearsal = rehearse(system, most or FEW_CALLERS)
    wanted, notes = generator_settings(
        loadgen,
        task.scenario,
        settings,
        requests=len(target.requests),
        answers_per_second=rehearsal.answers_per_second,
    )
    share = CpuShare()

    def issue(samples: list[int], indexes: list[int]) -> None:
        share.mark()
        system.issue(samples, indexes)

    def complete(samples: list[int]) -> None:
        # Before the last one is told of: what comes then is the load generator's own arithmetic.
        share.mark()
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample, 0, 0) for sample in samples])

    system.complete = complete
    over = threading.Event()
    thread = threading.Thread(target=_serve, args=(system, over, task.folder), daemon=True)
    thread.start()
    _generate(loadgen, issue, wanted, settings.sample_count or len(target.requests), task.folder)
    over.set()
    system.wake()
    thread.join()
    return Outcome(failures=dict(system.failures), notes=notes + rehearsal.notes, cores=share.cores)


def _generate(
    loadgen: Any,  # noqa: ANN401  # the module
    issue: Callable[[list[int], list[int]], None],
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
    sut = loadgen.ConstructFastSUT(issue, lambda: None)
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
    unfinished = folder / f"{OUTCOME}.part"
    unfinished.write_bytes(msgspec.json.encode(outcome))
    unfinished.rename(folder / OUTCOME)  # whoever sees it sees all of it
    sys.stderr.flush()
    os._exit(0)


def _end_with_parent(folder: Path) -> None:
    """Waits until stdin closes. The parent closes it when it is gone, or no earlier than it has the outcome."""
    os.read(sys.stdin.fileno(), 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
