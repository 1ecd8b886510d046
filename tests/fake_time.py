"""Loops in which time passes only when a test says so: for tests of callbacks, without a sleep."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVarTuple, cast

import pytest

Arguments = TypeVarTuple("Arguments")


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """A loop in which time passes only when a test says so.

    Attributes:
        now_ns: What its clock shows.
    """

    now_ns = 1_000_000_000
    _more = False

    def time(self) -> float:
        """The clock of `call_later`."""
        return self.now_ns / 1e9

    def monotonic_ns(self) -> int:
        """The clock that stands in for `time.monotonic_ns`."""
        return self.now_ns

    def call_soon(
        self, callback: Callable[[*Arguments], object], *arguments: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        """As every loop has it; `settle` has to know of it."""
        self._more = True
        return super().call_soon(callback, *arguments, context=context)

    def settle(self) -> None:
        """Runs what is due now, and what follows of it, until nothing does. Called from outside the loop."""
        self._more = True
        while self._more:
            super().call_soon(self.stop)
            self._more = False
            self.run_forever()


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Runs a test in a loop and a time of its own."""

    def run() -> None:
        with asyncio.Runner(loop_factory=FakeTimeLoop) as runner, pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.monotonic_ns", cast("FakeTimeLoop", runner.get_loop()).monotonic_ns)
            runner.run(test())

    run.__name__ = test.__name__
    return run


async def pass_time(nanoseconds: int) -> None:
    """Moves the clock on, and lets what is due then happen."""
    cast("FakeTimeLoop", asyncio.get_running_loop()).now_ns += nanoseconds
    await turn()


async def turn() -> None:
    """Lets the loop run what is due, a few turns deep."""
    for _ in range(4):
        await asyncio.sleep(0)
