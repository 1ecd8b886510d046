"""One server's turn under a load: from a generator's samples to figures. Runs in the study's process."""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from process_tree import ProcessTree

from quadriga_client.load.arrivals import ClosedLoop, Poisson
from quadriga_client.load.samples import Samples
from quadriga_client.load.saturation import due_between, saturation
from quadriga_client.load.scheduling import Look, starvation_in
from quadriga_client.load.source import LoadSource
from quadriga_client.load.status_codes import OK

#: Of a turn, what goes by before it counts: queues fill, and caches.
SETTLING_SHARE: Final = 0.25
#: What a generator's lag may be of the latency.
LAG_SHARE: Final = 0.1
_S_NS: Final = 1e9
_MS_NS: Final = 1e6


class Block(NamedTuple):
    """A turn's figures.

    Attributes:
        throughput: Answers per second.
        latencies_ms: Of answered requests that were due in the turn, from when they were due, [n].
        cpu_ms: CPU time of the server's processes per answer; None where nothing was answered.
        errors: Requests that were not answered.
        lag_p99_ms: How late the generator was.
        saturated: Whether the figures are the generator's own: it fell behind, or was short of a CPU.
    """

    throughput: float
    latencies_ms: npt.NDArray[np.float64]
    cpu_ms: float | None
    errors: int
    lag_p99_ms: float
    saturated: bool


def time_block(
    source: LoadSource,
    arrivals: ClosedLoop | Poisson,
    seconds: float,
    tree: ProcessTree,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Block:
    """Loads a server.

    Args:
        source: Of the load.
        arrivals: When requests are due.
        seconds: That count, after the settling.
        tree: The server's processes.
        clock: That of the samples, in ns.

    Raises:
        LoadError: The server cannot be reached.
    """
    run = source.start(arrivals)
    begin_ns = run.started_ns + round(seconds * SETTLING_SHARE * _S_NS)
    end_ns = begin_ns + round(seconds * _S_NS)
    parts = [run.collect(begin_ns)]
    used = tree.cpu_seconds()
    looks = [Look(clock(), run.scheduling())]
    parts.append(run.collect(end_ns))
    looks.append(Look(clock(), run.scheduling()))
    used = tree.cpu_seconds() - used
    parts.append(run.finish())
    return block_of(Samples.joined(parts), arrivals, run.started_ns, begin_ns, end_ns, used, looks)


def block_of(
    samples: Samples,
    arrivals: ClosedLoop | Poisson,
    started_ns: int,
    begin_ns: int,
    end_ns: int,
    cpu_seconds: float,
    looks: Sequence[Look] = (),
) -> Block:
    """The figures of what was due, and of what ended, in [begin, end); `looks` are at the generator, meanwhile."""
    due = samples.where((samples.due >= begin_ns) & (samples.due < end_ns))
    answered = due.where(due.codes == OK)
    ended = int(((samples.codes == OK) & (samples.ended >= begin_ns) & (samples.ended < end_ns)).sum())
    latencies_ms = (answered.ended - answered.due) / _MS_NS
    lag_p99_ms = float(np.percentile(due.begun - due.due, 99)) / _MS_NS if len(due.due) else 0.0
    behind = saturation(
        lag_p99_ms=lag_p99_ms,
        latency_p99_ms=float(np.percentile(latencies_ms, 99)) if len(latencies_ms) else None,
        lag_share=LAG_SHARE,
        begun=int(((samples.begun >= begin_ns) & (samples.begun < end_ns)).sum()),
        due=due_between(arrivals, begin_ns - started_ns, end_ns - started_ns),
    ) or starvation_in(
        looks,
        latency_ms=float(latencies_ms.mean()) if len(latencies_ms) else None,
        lag_share=LAG_SHARE,
        open_requests=0 if isinstance(arrivals, ClosedLoop) else len(latencies_ms),
    )
    return Block(
        throughput=ended * _S_NS / (end_ns - begin_ns),
        latencies_ms=latencies_ms,
        cpu_ms=cpu_seconds * 1e3 / ended if ended else None,
        errors=int((due.codes != OK).sum()),
        lag_p99_ms=lag_p99_ms,
        saturated=behind is not None,
    )
