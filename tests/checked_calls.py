"""An open-loop caller: calls at fixed times whatever becomes of them, and says how each ended. In a process of its own.

Latencies count from the time that a call was due, so that a server that stalls cannot hide it by holding callers up.
Every answer is compared with what is expected of it. Some calls of a model can go over a stream, on which an answer
that is given twice, to no request or not at all would show.
"""

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Final, NamedTuple

import grpc
import numpy as np
from oip import SERVICE

from quadriga_proto import inference_pb2 as pb

#: The only outcomes besides gRPC's codes. On a stream an error carries a text and no code.
WRONG: Final = "wrong answer"
LOST: Final = "lost"
TWICE: Final = "answered twice"
STREAM_ERROR: Final = "error on a stream"
#: From its making to the first call: the process starts and connects.
START_SECONDS: Final = 3.0


class Subject(NamedTuple):
    """What one model is sent.

    Attributes:
        model: Its name.
        requests: Encoded requests without an id, sent in turn.
        answers: The first output that each of them has to get, FP32.
        calls_per_second: Unary ones.
        messages_per_second: On one stream.
    """

    model: str
    requests: tuple[bytes, ...]
    answers: tuple[np.ndarray[Any, Any], ...]
    calls_per_second: float
    messages_per_second: float = 0.0


class Terms(NamedTuple):
    """How all are called.

    Attributes:
        seconds: How long calls are made.
        deadline: Seconds that each unary call has.
        grace: Seconds beyond its deadline after which a call that has not ended is lost.
        stream_grace: Likewise on a stream, whose answers keep their order: each waits for those before it.
        tolerance: How far an element of an answer may be off.
    """

    seconds: float
    deadline: float
    grace: float
    stream_grace: float
    tolerance: float = 1e-4


class End(NamedTuple):
    """How one call ended; times are seconds on the monotonic clock."""

    model: str
    due: float
    ended: float
    outcome: str


class OpenLoop(NamedTuple):
    """Calls under way, in another process.

    Attributes:
        start: When the first call is due, on the monotonic clock.
        ends: Every call's, once all have ended.
    """

    start: float
    ends: "Future[list[End]]"


@contextlib.contextmanager
def checked_calls(address: str, subjects: Sequence[Subject], terms: Terms) -> Iterator[OpenLoop]:
    """Calls the models at `address`, from `start` on."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        start = time.monotonic() + START_SECONDS
        yield OpenLoop(start, executor.submit(_run, address, tuple(subjects), terms, start))


def _run(address: str, subjects: Sequence[Subject], terms: Terms, start: float) -> list[End]:
    return asyncio.run(_Caller(terms, start).run(address, subjects))


class _Caller:
    """All calls of one process; their ends are gathered here."""

    def __init__(self, terms: Terms, start: float) -> None:
        self._terms = terms
        self._start = start
        self._ends: list[End] = []

    async def run(self, address: str, subjects: Sequence[Subject]) -> list[End]:
        async with grpc.aio.insecure_channel(address) as channel, asyncio.TaskGroup() as tasks:
            await channel.channel_ready()
            infer = channel.unary_unary(f"/{SERVICE}/ModelInfer", bytes, pb.ModelInferResponse.FromString)
            for subject in subjects:
                tasks.create_task(self._call_all(subject, infer, tasks))
                if subject.messages_per_second:
                    tasks.create_task(self._stream(subject, channel))
        return self._ends

    def _due_times(self, per_second: float) -> Iterator[tuple[int, float]]:
        for number in range(int(self._terms.seconds * per_second)):
            yield number, self._start + number / per_second

    # ---- unary calls

    async def _call_all(self, subject: Subject, infer: Any, tasks: asyncio.TaskGroup) -> None:
        for number, due in self._due_times(subject.calls_per_second):
            await asyncio.sleep(max(due - time.monotonic(), 0))
            tasks.create_task(self._call(subject, infer, number, due))

    async def _call(self, subject: Subject, infer: Any, number: int, due: float) -> None:
        turn = number % len(subject.requests)
        try:
            async with asyncio.timeout(self._terms.deadline + self._terms.grace):
                response = await infer(_numbered(subject.requests[turn], number), timeout=self._terms.deadline)
        except TimeoutError:
            outcome = LOST
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
        else:
            outcome = self._judge(response, number, subject.answers[turn])
        self._ends.append(End(subject.model, due, time.monotonic(), outcome))

    # ---- streams

    async def _stream(self, subject: Subject, channel: grpc.aio.Channel) -> None:
        open_stream = channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", bytes, pb.ModelStreamInferResponse.FromString
        )
        stream = open_stream()
        waiting: dict[int, float] = {}
        reading = asyncio.create_task(self._read(subject, stream, waiting))
        for number, due in self._due_times(subject.messages_per_second):
            await asyncio.sleep(max(due - time.monotonic(), 0))
            waiting[number] = due
            await stream.write(_numbered(self._with_timeout(subject.requests[number % len(subject.requests)]), number))
        await stream.done_writing()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._terms.deadline + self._terms.stream_grace):
                await reading
        stream.cancel()
        self._ends += [End(subject.model, due, time.monotonic(), LOST) for due in waiting.values()]

    async def _read(self, subject: Subject, stream: Any, waiting: dict[int, float]) -> None:
        async for message in stream:
            response = message.infer_response
            number = int(response.id)
            ended = time.monotonic()
            due = waiting.pop(number, None)
            if due is None:
                outcome = TWICE
            elif ended - due > self._terms.deadline + self._terms.stream_grace:
                outcome = LOST
            elif message.error_message:
                outcome = STREAM_ERROR
            else:
                outcome = self._judge(response, number, subject.answers[number % len(subject.answers)])
            self._ends.append(End(subject.model, ended if due is None else due, ended, outcome))

    def _with_timeout(self, request: bytes) -> bytes:
        """A message of a stream has no deadline of its own but by this parameter."""
        added = pb.ModelInferRequest()
        added.parameters["timeout"].int64_param = int(self._terms.deadline * 1e6)
        return request + added.SerializeToString()

    def _judge(self, response: pb.ModelInferResponse, number: int, expected: np.ndarray[Any, Any]) -> str:
        got = np.frombuffer(response.raw_output_contents[0], np.float32)
        same = response.id == str(number) and got.size == expected.size
        return "OK" if same and np.abs(got - expected.ravel()).max() <= self._terms.tolerance else WRONG


def _numbered(request: bytes, number: int) -> bytes:
    """A request with an id: encoded messages that are joined are one message."""
    return request + pb.ModelInferRequest(id=str(number)).SerializeToString()
