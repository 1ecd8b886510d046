"""A worker that is lost, without a process: what it held stays in hand until it is handed back; what it said counts."""

import asyncio
import socket
from typing import Any, cast

from quadriga.specs import ModelSpec, TensorSpec
from quadriga.workers.channel import Channel
from quadriga.workers.child import WorkerProcess
from quadriga.workers.messages import BatchDone, BatchFailed, FromWorker, RunBatch
from quadriga.workers.slab import Slab
from quadriga.workers.worker import Assigned, Events, Loss, Worker

TENSOR = TensorSpec(name="x", datatype="UINT8", shape=(4,))
SPEC = ModelSpec(inputs=(TENSOR,), outputs=(TENSOR,), batches=True)


class StandInProcess:
    """A process whose other end and whose end are the test's."""

    name = "m/1"

    def __init__(self) -> None:
        end, self.other_end = socket.socketpair()
        end.setblocking(False)
        self.loop = asyncio.get_running_loop()
        self.channel: Channel[FromWorker] = Channel(end, FromWorker)
        self.gone = asyncio.Event()

    def death_watch(self) -> None:
        """None is there."""

    def last_words(self) -> str:
        """It said nothing."""
        return ""

    async def ended(self, *, kill: bool) -> str:
        """When the test says so."""
        await self.gone.wait()
        return "killed by SIGKILL"


def test_the_batches_of_a_dead_worker_are_in_hand_until_they_are_handed_back() -> None:
    async def scenario() -> None:
        process = StandInProcess()
        lost = asyncio.Queue[list[Assigned[str]]]()
        events = Events[str](
            done=lambda *_: None, failed=lambda *_: None, lost=lambda worker, loss, held: lost.put_nowait(held)
        )
        worker: Worker[str] = Worker(cast("WorkerProcess", cast("Any", process)), Slab(2), SPEC, events)
        worker.run("batch", [[bytes(4)]], [(1, 4)])
        process.other_end.close()
        async with asyncio.timeout(10):
            while worker.free_slots:
                await asyncio.sleep(0)
        assert worker.in_flight == 1
        process.gone.set()
        held = await asyncio.wait_for(lost.get(), 10)
        assert [assigned.work for assigned in held] == ["batch"]
        assert worker.in_flight == 0

    asyncio.run(scenario())


class Reported:
    """What a worker tells its owners, in their order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.lost = asyncio.Event()
        self.events = Events[str](done=self._done, failed=self._failed, lost=self._lost)

    def _done(self, worker: Worker[str], assigned: Assigned[str], done: BatchDone) -> None:
        self.told.append(("done", assigned.work))
        worker.release(assigned.slot)

    def _failed(self, worker: Worker[str], assigned: Assigned[str], reason: str) -> None:
        self.told.append(("failed", assigned.work))

    def _lost(self, worker: Worker[str], loss: Loss, held: list[Assigned[str]]) -> None:
        self.told.append((loss.reason, [assigned.work for assigned in held]))
        self.lost.set()


def test_what_was_answered_before_the_end_counts_though_the_end_was_noticed_first() -> None:
    async def scenario() -> None:
        process, reported = StandInProcess(), Reported()
        worker: Worker[str] = Worker(cast("WorkerProcess", cast("Any", process)), Slab(2), SPEC, reported.events)
        for batch in ("first", "second"):
            worker.run(batch, [[bytes(4)]], [(1, 4)])
        Channel[RunBatch](process.other_end, RunBatch).send(BatchFailed(0, "no"))
        worker._lose("died")  # as the kernel's report does, which may come before the socket is read
        process.gone.set()
        await asyncio.wait_for(reported.lost.wait(), 10)
        process.other_end.close()
        assert reported.told == [("failed", "first"), ("died", ["second"])]

    asyncio.run(scenario())


def test_a_worker_whose_oldest_batch_takes_too_long_hangs() -> None:
    async def scenario() -> None:
        process, reported = StandInProcess(), Reported()
        worker: Worker[str] = Worker(cast("WorkerProcess", cast("Any", process)), Slab(2), SPEC, reported.events, 0.01)
        worker.run("batch", [[bytes(4)]], [(1, 4)])
        process.gone.set()
        await asyncio.wait_for(reported.lost.wait(), 10)
        process.other_end.close()
        assert reported.told == [("hung", ["batch"])]
        assert worker.free_slots == 0

    asyncio.run(scenario())


def test_a_worker_that_answers_out_of_turn_is_broken() -> None:
    async def scenario() -> None:
        process, reported = StandInProcess(), Reported()
        worker: Worker[str] = Worker(cast("WorkerProcess", cast("Any", process)), Slab(2), SPEC, reported.events)
        worker.run("batch", [[bytes(4)]], [(1, 4)])
        Channel[RunBatch](process.other_end, RunBatch).send(BatchFailed(1, "no"))
        process.gone.set()
        await asyncio.wait_for(reported.lost.wait(), 10)
        process.other_end.close()
        assert reported.told == [("broken", ["batch"])]

    asyncio.run(scenario())
