"""A worker that is lost, without a process: what it held stays in hand until it is handed back."""

import asyncio
import socket
from typing import Any, cast

from quadriga.specs import ModelSpec, TensorSpec
from quadriga.workers.channel import Channel
from quadriga.workers.child import WorkerProcess
from quadriga.workers.messages import FromWorker
from quadriga.workers.slab import Slab
from quadriga.workers.worker import Assigned, Events, Worker

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
            done=lambda *_: None, failed=lambda *_: None, lost=lambda worker, how, held: lost.put_nowait(held)
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
