"""What grpc.health.v1 reports: nothing serves until it is said, and nothing serves again once the server drains."""

import asyncio
from typing import Any, cast

import grpc
import pytest
from fake_time import in_a_loop, turn
from grpc_health.v1 import health_pb2

from quadriga.health import SERVER, Health

SERVING = health_pb2.HealthCheckResponse.SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Context:
    """The part of a call's context that the servicer uses."""

    def __init__(self) -> None:
        self.written: list[int] = []

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise LookupError(code.name)

    async def write(self, response: health_pb2.HealthCheckResponse) -> None:
        self.written.append(int(response.status))


async def status(health: Health, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    response = await health.servicer.Check(request, cast("Any", Context()))
    return int(response.status)


class Watch:
    """A call that watches a service."""

    def __init__(self, health: Health, service: str) -> None:
        self._context = Context()
        request = health_pb2.HealthCheckRequest(service=service)
        self._task = asyncio.create_task(health.servicer.Watch(request, cast("Any", self._context)))

    async def told(self) -> list[int]:
        """All that it was told so far."""
        await turn()
        return self._context.written

    async def end(self) -> None:
        """The caller goes away."""
        self._task.cancel()
        await asyncio.wait({self._task})


@in_a_loop
async def test_the_server_does_not_serve_until_it_is_said() -> None:
    health = Health()
    assert await status(health, SERVER) == NOT_SERVING
    health.set(SERVER, serving=True)
    assert await status(health, SERVER) == SERVING


@in_a_loop
async def test_models_are_told_apart_and_the_last_word_counts() -> None:
    health = Health()
    health.set("good", serving=True)
    health.set("bad", serving=True)
    health.set("bad", serving=False)
    assert (await status(health, "good"), await status(health, "bad")) == (SERVING, NOT_SERVING)


@in_a_loop
async def test_a_drain_is_final() -> None:
    health = Health()
    health.set(SERVER, serving=True)
    health.set("model", serving=True)
    health.drain()
    assert (await status(health, SERVER), await status(health, "model")) == (NOT_SERVING, NOT_SERVING)
    health.set("model", serving=True)
    assert await status(health, "model") == NOT_SERVING


@in_a_loop
async def test_what_is_forgotten_is_as_unknown_as_what_never_was() -> None:
    health = Health()
    health.set("model", serving=True)
    health.forget("model")
    health.forget("nobody")
    for name in ("model", "nobody"):
        with pytest.raises(LookupError, match="NOT_FOUND"):
            await status(health, name)
    assert health.services == [SERVER]


@in_a_loop
async def test_a_watch_is_told_the_state_now_and_every_change_once() -> None:
    health = Health()
    watch = Watch(health, "model")
    assert await watch.told() == [UNKNOWN]
    for serving in (True, True, False):
        health.set("model", serving=serving)
        await watch.told()
    health.forget("model")
    assert await watch.told() == [UNKNOWN, SERVING, NOT_SERVING, UNKNOWN]
    await watch.end()
    assert health.services == [SERVER]


@in_a_loop
async def test_a_watcher_that_goes_takes_nothing_from_the_others() -> None:
    health = Health()
    first, second = Watch(health, "model"), Watch(health, "model")
    assert await first.told() == await second.told() == [UNKNOWN]
    await first.end()
    health.set("model", serving=True)
    assert await second.told() == [UNKNOWN, SERVING]
    health.drain()
    health.forget("model")
    assert await second.told() == [UNKNOWN, SERVING, NOT_SERVING]
    await second.end()
