"""An open-loop caller: calls at fixed times whatever becomes of them, and says how each ended. In a process of its own.

Latencies count from the time that a call was due, so that a server that stalls cannot hide it by holding callers up.
Every answer is compared with what is expected of it. Some calls of a model can go over a stream, on which an answer
that is given twice, to no request or not at all would show.

A machine that is busy holds this process up as well. A call is lost where the caller was there for longer than the call
had, and no status came; what came while the caller stood still is no loss.
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
#: From when the process has started to the first call: it connects.
CONNECT_SECONDS: Final = 1.0
#: That a process may take to start and import this module, on a busy machine.
_START_SECONDS: Final = 120.0
#: So often calls that have not ended are looked for.
_BEAT_SECONDS: Final = 0.1
#: How much longer than its terms a run may take, before it is given up as stuck.
_MOST_HELD_UP_SECONDS: Final = 120.0


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
        grace: Seconds beyond its deadline after which a call that has not ended is lost, on the `CallerClock`.
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


class Outcome(NamedTuple):
    """What came of all calls.

    Attributes:
        ends: Every call's.
        longest_stall: Seconds for which the caller was held up at most.
    """

    ends: list[End]
    longest_stall: float


class OpenLoop(NamedTuple):
    """Calls under way, in another process.

    Attributes:
        start: When the first call is due, on the monotonic clock.
        outcome: There once all have ended; TimeoutError: they did not.
    """

    start: float
    outcome: "Future[Outcome]"


class CallerClock:
    """Time that stands still while the caller's event loop is held up; pure.

    Attributes:
        seconds: Of it, so far.
        longest_stall: Seconds between two beats, at most, beyond those that were meant.
    """

    def __init__(self, now: float) -> None:
        """`now` is on the monotonic clock, as is that of a beat."""
        self.seconds = 0.0
        self.longest_stall = 0.0
        self._last = now

    def beat(self, now: float) -> None:
        """The loop is there; it meant to be `_BEAT_SECONDS` after the last beat."""
        passed = now - self._last
        self._last = now
        self.seconds += min(passed, 2 * _BEAT_SECONDS)
        self.longest_stall = max(self.longest_stall, passed - _BEAT_SECONDS)


@contextlib.contextmanager
def checked_calls(address: str, subjects: Sequence[Subject], terms: Terms) -> Iterator[OpenLoop]:
    """Calls the models at `address`, from `start` on."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        executor.submit(_has_started).result(_START_SECONDS)
        start = time.monotonic() + CONNECT_SECONDS
        yield OpenLoop(start, executor.submit(_run, address, tuple(subjects), terms, start))


def _has_started() -> None:
    """To find this function the process imports what it needs, which can take longer than the calls."""


def _run(address: str, subjects: Sequence[Subject], terms: Terms, start: float) -> Outcome:
    limit = CONNECT_SECONDS + terms.seconds + terms.deadline + terms.stream_grace + _MOST_HELD_UP_SECONDS
    return asyncio.run(asyncio.wait_for(_Caller(terms, start).run(address, subjects), limit))


class _Message(NamedTuple):
    """One that has no answer yet: when it was due, and when it was sent on the caller's clock."""

    due: float
    since: float


class _Caller:
    """All calls of one process; their ends are gathered here."""

    def __init__(self, terms: Terms, start: float) -> None:
        self._terms = terms
        self._start = start
        self._ends: list[End] = []
        self._clock = CallerClock(time.monotonic())
        self._open: dict[Any, float] = {}  # since when, on the caller's clock

    async def run(self, address: str, subjects: Sequence[Subject]) -> Outcome:
        async with grpc.aio.insecure_channel(address) as channel:
            await channel.channel_ready()
            watch = asyncio.create_task(self._watch())
            infer = channel.unary_unary(f"/{SERVICE}/ModelInfer", bytes, pb.ModelInferResponse.FromString)
            async with asyncio.TaskGroup() as tasks:
                for subject in subjects:
                    tasks.create_task(self._call_all(subject, infer, tasks))
                    if subject.messages_per_second:
                        tasks.create_task(self._stream(subject, channel))
            watch.cancel()
        return Outcome(self._ends, self._clock.longest_stall)

    async def _watch(self) -> None:
        """Gives up the calls that got no status, not even that of their deadline."""
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            self._clock.beat(time.monotonic())
            for call, since in list(self._open.items()):
                if self._clock.seconds - since > self._terms.deadline + self._terms.grace:
                    call.cancel()

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
        call = infer(_numbered(subject.requests[turn], number), timeout=self._terms.deadline)
        self._open[call] = self._clock.seconds
        try:
            response = await call
        except asyncio.CancelledError:
            if not call.cancelled():
                raise
            outcome = LOST
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
        else:
            outcome = self._judge(response, number, subject.answers[turn])
        del self._open[call]
        self._ends.append(End(subject.model, due, time.monotonic(), outcome))

    # ---- streams

    async def _stream(self, subject: Subject, channel: grpc.aio.Channel) -> None:
        open_stream = channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", bytes, pb.ModelStreamInferResponse.FromString
        )
        stream = open_stream()
        waiting: dict[int, _Message] = {}
        reading = asyncio.create_task(self._read(subject, stream, waiting))
        for number, due in self._due_times(subject.messages_per_second):
            await asyncio.sleep(max(due - time.monotonic(), 0))
            waiting[number] = _Message(due, self._clock.seconds)
            await stream.write(_numbered(self._with_timeout(subject.requests[number % len(subject.requests)]), number))
        await stream.done_writing()
        end = self._clock.seconds + self._terms.deadline + self._terms.stream_grace
        while not reading.done() and self._clock.seconds < end:
            await asyncio.wait([reading], timeout=_BEAT_SECONDS)
        stream.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        self._ends += [End(subject.model, message.due, time.monotonic(), LOST) for message in waiting.values()]

    async def _read(self, subject: Subject, stream: Any, waiting: "dict[int, _Message]") -> None:
        async for message in stream:
            response = message.infer_response
            number = int(response.id)
            ended = time.monotonic()
            sent = waiting.pop(number, None)
            if sent is None:
                outcome = TWICE
            elif self._clock.seconds - sent.since > self._terms.deadline + self._terms.stream_grace:
                outcome = LOST
            elif message.error_message:
                outcome = STREAM_ERROR
            else:
                outcome = self._judge(response, number, subject.answers[number % len(subject.answers)])
            self._ends.append(End(subject.model, ended if sent is None else sent.due, ended, outcome))

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
