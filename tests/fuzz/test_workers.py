"""A worker runs code that is not ours, so whatever comes out of its socket ends with that worker: nothing else does."""

import asyncio
import os
import random
import socket
import struct
import time
from typing import Any, cast

import msgspec
import pytest
from fuzz_cases import CASES, chance, damaged

from quadriga.specs import ModelSpec, TensorSpec, check_contract
from quadriga.workers.channel import MOST_BYTES, Channel, ChannelClosed
from quadriga.workers.child import WorkerProcess
from quadriga.workers.messages import BatchDone, BatchFailed, FromWorker, Loaded, LoadFailed, Region
from quadriga.workers.slab import Segment, Slab
from quadriga.workers.worker import Assigned, Events, Worker

TENSOR = TensorSpec(name="x", datatype="FP32", shape=(4,))
SPEC = ModelSpec(inputs=(TENSOR,), outputs=(TENSOR,), batches=True, labels=("a",))
MESSAGES = (
    Loaded(SPEC, "cpu", 1, 2),
    LoadFailed("it cannot"),
    BatchDone(slot=0, segment_size=4096, outputs=(Region((1, 4), 0, 16),), started_ns=1, computed_ns=2, finished_ns=3),
    BatchFailed(0, "it cannot"),
)
#: Bytes of MessagePack that mean something to who reads them wrongly.
TRAPS = (
    b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\x91" * 5_000,
    b"\x81\xa1a" * 5_000, b"\xc9\xff\xff\xff\xff\x01", b"\xd3\x80" + bytes(7), b"\xcf" + b"\xff" * 8,
    b"\xa2\xff\xfe", b"\xc1",
)  # fmt: skip


def frame(body: bytes) -> bytes:
    """As it travels."""
    return struct.pack("<I", len(body)) + body


def nonsense(index: int) -> bytes:
    """What a worker that is not ours may send."""
    dice = chance("channel", index)
    whole = msgspec.msgpack.encode(dice.choice(MESSAGES))
    match dice.randrange(5):
        case 0:
            return dice.randbytes(dice.randrange(1, 200))
        case 1:
            return frame(dice.randbytes(dice.randrange(60)))
        case 2:
            return damaged(frame(whole), dice)
        case 3:
            at = dice.randrange(len(whole))
            return frame(whole[:at] + dice.choice(TRAPS) + whole[at:])
    return frame(damaged(whole, dice))


def test_a_channel_reads_messages_or_is_closed() -> None:
    closed = 0
    for index in range(CASES):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        channel: Channel[FromWorker] = Channel(ours, FromWorker)
        theirs.sendall(nonsense(index))
        try:
            assert all(isinstance(message, FromWorker) for message in channel.receive())
        except ChannelClosed as error:
            closed += 1
            assert str(error)
        channel.close()
        theirs.close()
    assert CASES // 4 < closed < CASES


def test_a_length_without_an_end_takes_no_memory() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        channel: Channel[FromWorker] = Channel(ours, FromWorker)
        theirs.sendall(struct.pack("<I", MOST_BYTES + 1))
        with pytest.raises(ChannelClosed, match="bytes long"):
            channel.receive()
        channel.close()


def test_memory_that_is_shared_with_a_worker_cannot_be_taken_away() -> None:
    """The server would die of the SIGBUS."""
    segment = Segment.create()
    segment.grow(1 << 20)
    with pytest.raises(PermissionError):
        os.ftruncate(segment.descriptor, 0)
    os.ftruncate(segment.descriptor, 1 << 21)  # a worker's own segments grow
    segment.close()


class StandInProcess:
    """A process that ends at once when it is to; its socket's other end is the test's."""

    name = "m/1"
    pid = 1

    def __init__(self) -> None:
        end, self.other_end = socket.socketpair()
        end.setblocking(False)
        self.loop = asyncio.get_running_loop()
        self.channel: Channel[FromWorker] = Channel(end, FromWorker)

    def death_watch(self) -> None:
        """None is there."""

    def last_words(self) -> str:
        """It said nothing."""
        return ""

    async def ended(self, *, kill: bool) -> str:
        """At once."""
        return "killed by SIGKILL"


def hostile_answer(dice: random.Random) -> msgspec.Struct | bytes:
    """Of a batch of one row in slot 0: right, nearly right, or nonsense."""
    numbers = (0, 1, 4, 16, 17, 64, 4096, -1, -4096, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))

    def number() -> int:
        return dice.choice(numbers)

    if dice.random() < 0.1:
        return nonsense(dice.randrange(1_000))
    if dice.random() < 0.1:
        return dice.choice(MESSAGES)
    now = time.monotonic_ns()
    shape = dice.choice(((1, 4), (1,), (), (1, number()), (number(), number()), (1, 2, 2)))
    regions = [
        Region(shape, dice.choice((0, number())), dice.choice((16, number())))
        for _ in range(dice.choice((1, 1, 1, 0, 2)))
    ]
    return BatchDone(
        slot=dice.choice((0, 0, 0, 0, number())), segment_size=dice.choice((4096, number())), outputs=tuple(regions),
        started_ns=dice.choice((now, now, now, number())), computed_ns=now,
        finished_ns=dice.choice((now, now, now, number())),
    )  # fmt: skip


def test_answers_that_are_wrong_fail_their_batch_or_lose_the_worker() -> None:
    """And a right one still gets through."""
    ends = asyncio.run(_answer_all())
    assert set(ends) == {"done", "failed", "lost"}, ends


async def _answer_all() -> dict[str, int]:
    ends: dict[str, int] = {}
    unexpected: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(context))
    for index in range(CASES // 5):
        end = await _one_answer(chance("worker", index))
        ends[end] = ends.get(end, 0) + 1
        assert not unexpected, unexpected
    return ends


async def _one_answer(dice: random.Random) -> str:
    """How a batch ends that is answered so: with bytes of the slot alone, with an error, or with its worker."""
    process = StandInProcess()
    ends: asyncio.Queue[str] = asyncio.Queue()

    def done(worker: Worker[str], assigned: Assigned[str], message: BatchDone) -> None:
        view = assigned.slot.outputs.view
        for region in message.outputs:
            assert 0 <= region.offset <= region.offset + region.size <= len(view)
        worker.release(assigned.slot)
        ends.put_nowait("done")

    events = Events[str](
        done=done, failed=lambda *_: ends.put_nowait("failed"), lost=lambda *_: ends.put_nowait("lost")
    )
    worker: Worker[str] = Worker(cast("WorkerProcess", cast("Any", process)), Slab(2), SPEC, events)
    worker.run("batch", [[bytes(16)]], [(1, 4)])
    answer = hostile_answer(dice)
    content = answer if isinstance(answer, bytes) else frame(msgspec.msgpack.encode(answer))
    process.other_end.sendall(content)
    process.other_end.shutdown(socket.SHUT_WR)  # whatever is still missing never comes
    end = await asyncio.wait_for(ends.get(), 10)
    await worker.stop()
    process.other_end.close()
    return end


def _spec(**changes: Any) -> ModelSpec:
    return msgspec.structs.replace(SPEC, inputs=(msgspec.structs.replace(TENSOR, **changes),))


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (msgspec.structs.replace(SPEC, inputs=()), "no inputs"),
        (msgspec.structs.replace(SPEC, outputs=()), "no outputs"),
        (msgspec.structs.replace(SPEC, inputs=(TENSOR, TENSOR)), "'x' twice"),
        (_spec(name=""), "without a name"),
        (_spec(datatype="FP31"), "'FP31'"),
        (_spec(shape=(-2,)), "-2"),
        (_spec(shape=(2**63,)), str(2**63)),
        (_spec(shape=(2**40, 2**40)), "no array"),
    ],
)
def test_a_contract_that_nobody_can_keep_is_refused(spec: ModelSpec, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        check_contract(spec)
