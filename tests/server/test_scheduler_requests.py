"""The scheduler and what requests ask for: responses that cannot be delivered, inputs that are left out."""

import time
from collections.abc import Sequence

import numpy as np
import pytest
from fake_time import in_a_loop, turn
from scheduler_harness import Caller, FakeWorker, make

from quadriga.errors import RegionUnusable
from quadriga.requests import Course, Output, Request


@pytest.mark.parametrize(
    ("error", "limit", "code"),
    [(RegionUnusable, 2**31, "INTERNAL"), (ValueError, 7, "INVALID_ARGUMENT")],
)
def test_a_response_that_cannot_be_delivered_tells_why(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], limit: int, code: str
) -> None:
    monkeypatch.setattr("quadriga.answers.MAX_MESSAGE_BYTES", limit)

    class Undeliverable(Caller):
        def answer(self, outputs: Sequence[Output], course: Course) -> None:
            raise error("it does not fit")

    @in_a_loop
    async def body() -> None:
        scheduler = make()
        worker = FakeWorker(scheduler)
        caller = Undeliverable()
        scheduler.submit(Request(caller, (bytes(8),), ((1, 2),), ((2,),), 1, time.monotonic_ns(), 0))
        await turn()
        worker.finish()
        assert caller.error is not None
        assert caller.error.code == code
        assert scheduler.counters.failed == {(code, caller.error.reason): 1}

    body()


@in_a_loop
async def test_requests_that_leave_an_input_out_share_batches_of_their_own() -> None:
    scheduler = make()
    worker = FakeWorker(scheduler)
    callers = [Caller() for _ in range(3)]
    for caller, there in zip(callers, (False, False, True), strict=True):
        data, shape, key = (bytes(8), (1, 2), (2,)) if there else (None, None, None)
        scheduler.submit(Request(caller, (data,), (shape,), (key,), 1, time.monotonic_ns(), 0))
    await turn()
    assert worker.rows == [2, 1]
    worker.finish([np.ones((2, 2), np.float32)])
    worker.finish()
    assert [caller.outputs for caller in callers] == [
        [((1, 2), np.ones(2, np.float32).tobytes())],
        [((1, 2), np.ones(2, np.float32).tobytes())],
        [((1, 2), bytes(8))],
    ]
