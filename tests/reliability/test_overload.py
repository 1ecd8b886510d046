"""Overload degrades, not collapses: at three times what a model can do, the server goes on answering what it can.

The generator shares the machine's cores with the server. So that the server is measured and not the machine, one model
sleeps: what it can do is bound by time, and the CPU is left for refusing the rest. The other model computes, and its
generator competes with it: its figures are shown, and held against less.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from figures import Figures
from oip import infer_request
from running_server import RunningServer, write_fake
from server_vitals import Vitals, forget_peak, vitals

from quadriga_client.load.arrivals import Arrivals, ClosedLoop, Poisson
from quadriga_client.load.engine.fleet import Fleet
from quadriga_client.load.samples import Samples
from quadriga_client.load.target import LoadTarget

pytestmark = pytest.mark.chaos

PROMISE = "overload degrades, not collapses"
#: Of which each window is a sixth or more: a pause of the machine of up to 0.4 s is less than goodput may differ by.
SECONDS = max(float(os.environ.get("QUADRIGA_CHAOS_SECONDS", "60")), 24.0)
#: From which on the figures of a model whose generator competes with it rest on enough seconds to be held to a bound.
FULL_SECONDS = 30.0
OVERLOAD = 3.0
QUEUE = 64
SLEEP_MS = 20
#: What a grpcio server can refuse in a second takes a whole core; the model must be slow enough to leave some.
BATCH = {"native": 32, "grpcio": 4}
CONFIG = """max_batch_size = {batch}
[dynamic_batching.default_queue_policy]
max_queue_size = {queue}
"""
#: CPU time of a refusal, on a machine on which others want to run, too.
MOST_REFUSAL_US = {"native": 150.0, "grpcio": 1_000.0}
#: And in that of an answer, on whatever machine. Answers come many at a time, which makes them cheap.
MOST_ANSWERS_A_REFUSAL = 2.5
#: By which the server may grow under overload: requests that wait, and not what was refused.
MOST_GROWTH_MB = 64
#: An admitted request's p99 may be that many times what the queue's length and the throughput make of it: a machine
#: that does other things delays it as well.
TIMES_THE_BOUND = 3.0


class Load(NamedTuple):
    """What one level of load came to.

    Attributes:
        samples: Of the requests that ended while it lasted.
        seconds: That it lasted.
        before: Of the server, as it began.
        after: Of the server, as it ended.
    """

    samples: Samples
    seconds: float
    before: Vitals
    after: Vitals

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return int(np.count_nonzero(self.samples.codes == 0))

    @property
    def refused(self) -> int:
        """Requests that were not."""
        return len(self.samples.codes) - self.answered

    @property
    def goodput(self) -> float:
        """Answers per second."""
        return self.answered / self.seconds

    @property
    def p99_ms(self) -> float:
        """Of those that were answered, from when they were sent."""
        answered = self.samples.where(self.samples.codes == 0)
        return float(np.percentile(answered.ended - answered.begun, 99)) / 1e6

    @property
    def cpu_seconds(self) -> float:
        """The server's own, without its workers'."""
        return self.after.cpu_seconds - self.before.cpu_seconds


@pytest.fixture(scope="module")
def server(
    start: Callable[..., RunningServer],
    transport: str,
    demo_repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> RunningServer:
    repository = tmp_path_factory.mktemp("repository")
    config = CONFIG.format(batch=BATCH[transport], queue=QUEUE)
    write_fake(repository, "sleeps", {"sleep_ms": SLEEP_MS}, config)
    return start("--repository", str(repository), str(demo_repository / "same_onnx"))


def load(server: RunningServer, request: bytes, arrivals: Arrivals, seconds: float) -> Load:
    """Puts a load on the server from a process of its own; counts what ended after a second of it."""
    target = LoadTarget(url=server.grpc, requests=(request,), timeout=30.0)
    pid = server.process.pid
    with Fleet(target, connections=4, processes=1) as fleet:
        run = fleet.start(arrivals)
        first = run.started_ns + 1_000_000_000
        run.collect(first)
        before, last = vitals(pid), first + int(seconds * 1e9)
        samples, after = run.collect(last), vitals(pid)
        run.finish()
    return Load(samples, seconds, before, after)


def overload(server: RunningServer, request: bytes, transport: str) -> tuple[Load, Load, Load]:
    """As many callers as are answered, three times what they get, and those callers again."""
    callers = ClosedLoop(QUEUE + BATCH[transport])  # all fit into the queue and the two batches in hand
    peak = load(server, request, callers, SECONDS / 6)
    forget_peak(server.process.pid)
    beyond = load(server, request, Poisson(OVERLOAD * peak.goodput), SECONDS / 3)
    return peak, beyond, load(server, request, callers, SECONDS / 6)


def show(figures: Figures, where: str, peak: Load, beyond: Load, afterwards: Load) -> tuple[float, float]:
    """Takes the figures down; returns the CPU time of one refusal, and of one answer, in microseconds."""
    answer_us = peak.cpu_seconds / max(peak.answered, 1) * 1e6
    refusal_us = max(beyond.cpu_seconds - answer_us * beyond.answered / 1e6, 0.0) / max(beyond.refused, 1) * 1e6
    add = figures.add
    add(PROMISE, f"goodput at 3x capacity, {where}", f"{beyond.goodput / peak.goodput:.0%} of {peak.goodput:.0f}/s")
    add(PROMISE, f"goodput afterwards, {where}", f"{afterwards.goodput / peak.goodput:.0%}")
    add(PROMISE, f"p99 of those admitted, {where}", f"{beyond.p99_ms:.0f} ms")
    add(
        PROMISE,
        f"CPU of a refusal, {where}",
        f"{refusal_us:.0f} us of {beyond.refused} refusals, {answer_us:.0f} us of an answer",
    )
    add(PROMISE, f"memory, {where}", f"{beyond.before.rss_mb:.0f} MB, at most {beyond.after.peak_mb:.0f} MB")
    return refusal_us, answer_us


def test_a_model_bound_by_time_keeps_its_goodput_and_its_queue(
    server: RunningServer, transport: str, figures: Figures
) -> None:
    request = infer_request("sleeps", x=np.zeros((1, 4), np.float32)).SerializeToString()
    peak, beyond, afterwards = overload(server, request, transport)
    refusal_us, answer_us = show(figures, f"a model that sleeps, {transport}", peak, beyond, afterwards)
    assert beyond.refused > beyond.answered
    assert beyond.goodput > 0.9 * peak.goodput
    assert afterwards.goodput > 0.9 * peak.goodput
    assert refusal_us < MOST_REFUSAL_US[transport]
    assert refusal_us < MOST_ANSWERS_A_REFUSAL * answer_us
    # The queue before it, the batches in both slots, and its own.
    bound_ms = (QUEUE + 3 * BATCH[transport]) / peak.goodput * 1_000
    figures.add(PROMISE, f"what the queue makes of it, {transport}", f"{bound_ms:.0f} ms")
    assert beyond.p99_ms < TIMES_THE_BOUND * bound_ms
    assert beyond.after.peak_mb < beyond.before.rss_mb + MOST_GROWTH_MB


@pytest.mark.either_transport
def test_a_model_that_computes_goes_on_and_is_as_before_when_it_is_over(
    server: RunningServer, transport: str, figures: Figures
) -> None:
    request = infer_request("same_onnx", image=np.zeros((1, 32, 32, 3), np.float32)).SerializeToString()
    peak, beyond, afterwards = overload(server, request, transport)
    show(figures, f"ONNX Runtime beside the generator, {transport}", peak, beyond, afterwards)
    assert beyond.answered
    assert afterwards.answered
    if SECONDS >= FULL_SECONDS:
        assert afterwards.goodput > 0.5 * peak.goodput
