"""A world of scheduling: real scheduler, queue, answers, workers and slabs; callers, processes and time are played.

What may happen is marked with `action`; all of it happens in the process of pytest. What is known of it is in
`observed_scheduler`, what is promised in `scheduling_promises`, and how workers are played in `simulated_pool`.
Whatever is not as it was promised is noted as a fault at the moment it shows; `check` raises it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import pytest
from fake_time import FakeTimeLoop
from observed_scheduler import ObservedScheduler, refusal
from scheduling_promises import check_accounts, check_settled
from simulated_call import Stage
from simulated_pool import SimulatedPool
from state_machines import World, action

from quadriga.queue_policy import BatchPolicy, QueuePolicy
from quadriga.units import MICROSECOND_NS

_MOST_WORKERS: Final = 3
_ROUNDS_TO_END: Final = 400


class SimulatedScheduling(World):
    """See the module.

    Attributes:
        over: Whether it was closed.
    """

    SETUP: ClassVar[Mapping[str, Sequence[Any]]] = {
        "max_batch_size": (0, 1, 2, 4, 4, 8, 8),
        "delay_us": (0, 0, 700, 3_000, 3_000),
        "preferred": ((), (), (2,), (3,), (2, 4), (2, 4), (2, 7)),
        "ordered": (False, True),
        "levels": (0, 0, 1, 3),
        "queue": (
            QueuePolicy(),
            QueuePolicy(max_queue_size=3),
            QueuePolicy(default_timeout_us=1_500),
            QueuePolicy(default_timeout_us=900, timeout_action="delay"),
            QueuePolicy(default_timeout_us=2_500, timeout_action="delay", max_queue_size=8),
        ),
        "first_queue": (
            None,
            QueuePolicy(max_queue_size=2),
            QueuePolicy(default_timeout_us=600, timeout_action="delay"),
        ),
        "workers": (0, 1, 1, 2, 3),
        "limit_ms": (0, 0, 4, 15),
    }

    def __init__(
        self,
        max_batch_size: int,
        delay_us: int,
        preferred: Sequence[int],
        ordered: bool,
        levels: int,
        queue: QueuePolicy,
        first_queue: QueuePolicy | None,
        workers: int,
        limit_ms: int,
    ) -> None:
        policy = BatchPolicy(
            max_batch_size=max_batch_size,
            max_queue_delay_us=delay_us if max_batch_size else 0,
            preferred_batch_sizes=tuple(size for size in preferred if size <= max_batch_size),
            preserve_ordering=ordered,
            priority_levels=levels,
            default_priority_level=(levels + 1) // 2,
            queue=queue,
            level_queues={1: first_queue} if levels and first_queue else {},
        )
        self.over = False
        self._draining: asyncio.Task[None] | None = None
        self._loop = FakeTimeLoop()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr("time.monotonic_ns", self._loop.monotonic_ns)
        self._seen = ObservedScheduler(policy, limit_ms, self._loop)
        self._pool = SimulatedPool(self._seen)
        for _ in range(workers):
            self.join()

    # ---- what may happen

    @action(
        30,
        rows=(1, 1, 1, 2, 3, 8),
        width=(2, 2, 2, 2, 2, 1, 300),
        priority=(0, 1, 2, 3, 9),
        patience_us=(0, 0, 0, 0, -5, 300, 2_000, 5_000, 20_000),
        nature=(*["good"] * 24, "raises", "raises", "kills", "hangs"),
        encore=(False, False, False, True),
    )
    def submit(self, rows: int, width: int, priority: int, patience_us: int, nature: str, encore: bool) -> bool:
        """A request comes; -5: it is too late already."""
        return self._seen.submit(rows, width, priority, patience_us, nature, encore)

    @action(4, which=range(8))
    def cancel(self, which: int) -> bool:
        """A caller leaves."""
        if not self._seen.open:
            return False
        list(self._seen.open.values())[which % len(self._seen.open)].cancelled = True
        return True

    @action(20)
    def turn(self) -> None:
        """The loop does what there is to do."""
        self._loop.settle()
        check_settled(self._seen)
        self._check_drained()

    @action(12, microseconds=(1, 100, 300, 500, 1_000, 2_600, 10_000))
    def pass_time(self, microseconds: int) -> None:
        """Time passes."""
        self._loop.now_ns += microseconds * MICROSECOND_NS
        self.turn()

    @action(24, which=range(_MOST_WORKERS), misshapen=(*[False] * 20, True))
    def compute(self, which: int, misshapen: bool) -> bool:
        """A worker computes its oldest batch, if that lets it; rarely with outputs that break the contract."""
        worker = self._pool.busy(which)
        if worker is not None:
            self._pool.compute(worker, misshapen and self._seen.spec.batches)
        return worker is not None

    @action(2, which=range(_MOST_WORKERS))
    def raise_error(self, which: int) -> bool:
        """A worker's backend raises for no reason."""
        worker = self._pool.busy(which)
        if worker is not None:
            worker.process.fail("ValueError: no")
        return worker is not None

    @action(3, which=range(_MOST_WORKERS), how=("silently", "stream", "kernel", "babbling"), reap=(True, False))
    def die(self, which: int, how: str, reap: bool) -> bool:
        """A worker dies; its owner hears of it in one way or another, or only when it sends it something."""
        alive = [worker for worker in self._seen.workers if worker.process.alive]
        if not alive:
            return False
        process = alive[which % len(alive)].process
        if how == "babbling":
            process.babble()
        else:
            process.die()
        if how == "stream":
            process.end_of_stream()
        if how == "kernel":
            process.exit_status()
        if reap:
            process.reap()
        return True

    @action(4)
    def reap(self) -> bool:
        """The dead are noticed, and what became of them is known."""
        return self._pool.reap()

    @action(4)
    def join(self) -> bool:
        """A worker comes, or comes back."""
        if len(self._seen.workers) >= _MOST_WORKERS:
            return False
        self._pool.join()
        return True

    @action(1, which=range(_MOST_WORKERS))
    def run_out_of_memory(self, which: int) -> bool:
        """A worker's next batch finds no memory."""
        workers = self._seen.workers
        if not workers:
            return False
        workers[which % len(workers)].run_out_of_memory()
        return True

    @action(12, on=(True, *[False] * 15))
    def refuse(self, on: bool) -> bool:
        """The model takes no requests for a while."""
        return self._draining is None and self._seen.refuse(on)

    @action(1)
    def fail_waiting(self) -> None:
        """What waits is given up, as when a worker cannot be replaced, and no more is taken for a while."""
        self.refuse(on=True)
        for call in self._seen.in_stage(Stage.WAITING, Stage.AGAIN):
            call.given_up = True
            call.stage = Stage.HELD
        self._seen.scheduler.fail_waiting(refusal)
        self.turn()

    @action(1)
    def drain(self) -> bool:
        """No more requests are taken, and somebody waits for the last to end."""
        if self._draining is not None:
            return False
        self.refuse(on=True)
        self._draining = self._loop.create_task(self._seen.scheduler.drained())
        self.turn()
        return True

    @action(1, chance=range(4))
    def close(self, chance: int) -> bool:
        """The model goes, whatever is under way; one time in four that this could happen."""
        if chance:
            return False
        self.over = True
        self.refuse(on=True)
        for call in self._seen.open.values():
            call.given_up = True
        self._pool.stop()
        for call in self._seen.open.values():
            call.stage = Stage.HELD
        self._seen.scheduler.close(refusal)
        self._loop.settle()
        self._seen.expect(not self._seen.open, f"left by close: {list(self._seen.open.values())}")
        check_accounts(self._seen)
        return True

    # ---- ends and checks

    def end(self) -> None:
        """Lets all that is open end, and checks that it did and what is left."""
        for _ in range(_ROUNDS_TO_END):
            if self.over or not self._seen.open:
                break
            self.reap()
            if not any(worker.process.alive for worker in self._seen.workers):
                self.join()
            self.turn()
            for which in range(len(self._seen.workers)):
                self.compute(which, misshapen=False)
            self.pass_time(10_000 if any(worker.process.stuck for worker in self._seen.workers) else 500)
            self.check()
        self._seen.expect(not self._seen.open, f"never ended: {list(self._seen.open.values())}")
        if not self.over:
            self.turn()
            self.close(0)
        self._seen.expect(self._draining is None or self._draining.done(), "drained() waits for nothing")
        self.check()
        self.discard()

    def _check_drained(self) -> None:
        """Whoever waits for the last to end is told of it then, and not before."""
        if self._draining is not None:
            left = len(self._seen.open)
            self._seen.expect(self._draining.done() != bool(left), f"drained() does not tell of {left}")
            if self._draining.done():
                self._draining = None
                self.refuse(on=False)

    def check(self) -> None:
        """Raises the faults."""
        assert not self._seen.faults, "; ".join(self._seen.faults)

    def discard(self) -> None:
        """Gives everything up."""
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.settle()
        self._pool.discard()
        self._loop.close()
        self._patch.undo()
