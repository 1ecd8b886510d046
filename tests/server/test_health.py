"""What grpc.health.v1 reports: nothing serves until it is said, and nothing serves again once the server drains."""

import asyncio

from fake_time import in_a_loop
from grpc_health.v1 import health_pb2

from quadriga.health import SERVER, Health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Context:
    """The part of a servicer's context that Check uses when it knows a service."""

    def set_code(self, code: object) -> None:
        raise AssertionError(f"Check failed: {code}")


async def status(health: Health, service: str) -> int:
    await asyncio.sleep(0)  # updates are tasks, which run in the loop's next turn
    response = await health.servicer.Check(health_pb2.HealthCheckRequest(service=service), Context())
    return int(response.status)


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
