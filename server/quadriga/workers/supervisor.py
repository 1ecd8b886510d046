"""Keeps the workers of one model version alive: boots, restarts with back-off, stops. Server process.

A worker that cannot load its model is a boot failure, and ends the attempt: nothing would change by trying again at
once. A worker that dies after it was ready is a crash, and is replaced.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple

import msgspec

from quadriga.workers.boot import BootFailure, UnreadyWorker
from quadriga.workers.messages import Load, Loaded
from quadriga.workers.templates import Templates
from quadriga.workers.worker import NO_LIMITS, Assigned, Events, Loss, LossReason, TimeLimits, Work, Worker

log = logging.getLogger("quadriga.workers.supervisor")

FIRST_BACKOFF_SECONDS: Final = 0.5
LONGEST_BACKOFF_SECONDS: Final = 30.0
#: A worker that lived this long is taken to be sound: the next crash is a first one again.
SOUND_SECONDS: Final = 60.0


class Backoff:
    """How long to wait before a worker is started again; pure.

    The first restart is immediate, each further one waits twice as long as the one before, up to a limit.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def next_delay(self, lived_seconds: float) -> float:
        """Seconds to wait, given how long the worker that just ended had been ready (0: it never was)."""
        if lived_seconds >= SOUND_SECONDS:
            self._next = 0.0
        delay = self._next
        self._next = min(max(2 * delay, FIRST_BACKOFF_SECONDS), LONGEST_BACKOFF_SECONDS)
        return delay

    def forgive(self) -> None:
        """What happened so far was not the worker's fault: the next crash is a first one."""
        self._next = 0.0


class Lifecycle(NamedTuple, Generic[Work]):
    """What a supervisor reports to the model version.

    Attributes:
        ready: A worker can take batches.
        lost: A worker was lost; how, and the batches it held, the one that was running first. Returns whether that is
            put down to what it ran: it is replaced at once, and what happened before is forgiven all workers.
        recovery_failed: A worker could not be replaced yet, and why; it is tried again later.
    """

    ready: Callable[[Worker[Work]], None]
    lost: Callable[[Worker[Work], Loss, list[Assigned[Work]]], bool]
    recovery_failed: Callable[[str], None]


class Supervisor(Generic[Work]):
    """The workers of one model version, one per instance.

    Attributes:
        restarts: How many workers were started to replace a lost one.
        deaths: How many were lost, by reason.
    """

    def __init__(
        self,
        name: str,
        loads: Sequence[Load],
        events: Events[Work],
        lifecycle: Lifecycle[Work],
        templates: Templates,
        limits: TimeLimits = NO_LIMITS,
    ) -> None:
        """Prepares one worker per element of `loads`; `events.lost` is not used, the lifecycle's is."""
        self.restarts = 0
        self.deaths: Counter[LossReason] = Counter()
        self._names = [f"{name}#{index}" if len(loads) > 1 else name for index in range(len(loads))]
        self._loads = loads
        self._events = events._replace(lost=self._on_lost)
        self._lifecycle = lifecycle
        self._workers: dict[str, Worker[Work]] = {}
        self._ready_since: dict[str, float] = {}
        self._backoffs = {worker: Backoff() for worker in self._names}
        self._recoveries: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._templates = templates
        self._limits = limits
        self._lease = templates.lease(loads)

    @property
    def workers(self) -> list[Worker[Work]]:
        """Those that can take batches now."""
        return list(self._workers.values())

    async def start(self) -> Loaded:
        """Boots all instances side by side and returns what the slowest reports.

        Raises:
            BootFailure: One of them cannot load the model; the others are stopped.
        """
        self._lease.hold()
        try:
            async with asyncio.TaskGroup() as boots:
                tasks = [
                    boots.create_task(self._boot(name, msgspec.structs.replace(load, yields=True)))
                    for name, load in zip(self._names, self._loads, strict=True)
                ]
        except BaseExceptionGroup as failures:
            await self.stop()
            raise failures.exceptions[0] from None
        except asyncio.CancelledError:
            await self.stop()
            raise
        return max((task.result() for task in tasks), key=lambda loaded: loaded.load_ns + loaded.warm_up_ns)

    async def stop(self) -> None:
        """Ends every worker, and every attempt to replace one; nothing of them is left when this returns."""
        self._stopping = True
        for recovery in self._recoveries:
            recovery.cancel()
        # They stay in the table until they have ended: whoever is cancelled here can be followed by another that waits.
        await asyncio.gather(*self._recoveries, *(worker.stop() for worker in self.workers), return_exceptions=True)
        self._workers.clear()
        await self._lease.release()

    async def _boot(self, name: str, load: Load) -> Loaded:
        with self._templates.boot():
            unready: UnreadyWorker[Work] = UnreadyWorker(name, load, await self._templates.fork(load))
            worker, loaded = await unready.wait_until_ready(self._events, self._limits)
        self._workers[name] = worker
        self._ready_since[name] = time.monotonic()
        log.info("%s is ready: pid %d, loaded in %.0f ms", name, worker.pid, loaded.load_ns / 1e6)
        self._lifecycle.ready(worker)
        self._templates.want(load, loaded.device)
        return loaded

    def _on_lost(self, worker: Worker[Work], loss: Loss, held: list[Assigned[Work]]) -> None:
        self._workers.pop(worker.name, None)
        self.deaths[loss.reason] += 1
        excused = self._lifecycle.lost(worker, loss, held)
        if excused:
            for backoff in self._backoffs.values():
                backoff.forgive()
        if not self._stopping:
            recovery = asyncio.create_task(self._recover(worker.name, excused), name=f"recovery of {worker.name}")
            self._recoveries.add(recovery)
            recovery.add_done_callback(self._recoveries.discard)

    async def _recover(self, name: str, excused: bool) -> None:
        load = self._loads[self._names.index(name)]
        lived = time.monotonic() - self._ready_since[name]
        why = "its worker keeps dying"
        while True:
            delay = 0.0 if excused else self._backoffs[name].next_delay(lived)
            if delay:
                self._lifecycle.recovery_failed(f"{why}; the next start is in {delay:.1f} s")
                await asyncio.sleep(delay)
            self.restarts += 1
            try:
                # A model that no other worker serves is waited for.
                await self._boot(name, msgspec.structs.replace(load, yields=bool(self._workers)))
                return
            except Exception as failure:
                # Not only boot failures: a machine that is short of processes or descriptors for a while must not
                # cost a model for good.
                unexpected = not isinstance(failure, (BootFailure, OSError))
                log.warning("%s cannot be restarted: %s", name, failure, exc_info=unexpected)
                why = f"its worker died and cannot be restarted: {failure}"
                self._lifecycle.recovery_failed(why)
                lived, excused = 0.0, False
