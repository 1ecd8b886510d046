"""A server in this very process, of which models come and go; what there could be more of afterwards."""

import asyncio
import gc
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from oip import SERVICE, infer_request
from prometheus_client import generate_latest
from running_server import open_files, write_fake

from quadriga.config import ServerConfig
from quadriga.metrics import make_registry
from quadriga.model_version import ModelVersion
from quadriga.plans import Plan
from quadriga.scheduler import Scheduler
from quadriga.server import Addresses, Server
from quadriga.workers.slab import Slab
from quadriga.workers.supervisor import Supervisor
from quadriga.workers.worker import Worker
from quadriga_proto import inference_pb2 as pb

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)
FAKE = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [4]}]})
#: Of each version there is one or more; a reference that is kept somewhere keeps all of them.
OWN = (ModelVersion, Supervisor, Worker, Slab, Scheduler, Plan)
#: Of the pool of `asyncio.to_thread`.
MOST_POOL_THREADS = min(32, (os.cpu_count() or 1) + 4)


def make_config(folder: Path, transport: str) -> ServerConfig:
    """A server under explicit control, with a model "model" and one that cannot be loaded, "broken"."""
    write_fake(folder, "model")
    write_fake(folder, "broken", {"load_error": "made to fail"})
    return ServerConfig(
        repositories=(folder,),
        grpc_port=0,
        http_port=0,
        model_control="explicit",
        transport=transport,  # type: ignore[arg-type]
    )


class Cycle:
    """A server in this very process, whose tables can be looked at, and a client that makes models come and go."""

    def __init__(self, server: Server, channel: grpc.aio.Channel) -> None:
        self.server = server
        self._channel = channel
        self._threads = psutil.Process().num_threads()
        # Such as the tracker of shared memory that another test's use of it has started.
        self._others = set(psutil.Process().children())

    async def call(self, name: str, request: Any) -> bytes:
        response: bytes = await self._channel.unary_unary(f"/{SERVICE}/{name}")(request.SerializeToString(), timeout=60)
        return response

    async def turn(self, number: int) -> None:
        """One model from disk and one from an upload are loaded, used, loaded anew, and unloaded."""
        uploaded = f"uploaded-{number}"
        parameters = {
            "config": pb.ModelRepositoryParameter(string_param="{}"),
            "file:1/model.fake": pb.ModelRepositoryParameter(bytes_param=FAKE.encode()),
        }
        loads = [
            pb.RepositoryModelLoadRequest(model_name="model"),
            pb.RepositoryModelLoadRequest(model_name=uploaded, parameters=parameters),
        ]
        for load in loads:
            await self.call("RepositoryModelLoad", load)
            for _ in range(3):
                await self.call("ModelInfer", infer_request(load.model_name, x=ROW))
        if number % 8 == 0:
            await self.call("RepositoryModelLoad", loads[1])
            for name in ("broken", "nobody"):
                with pytest.raises(grpc.aio.AioRpcError):
                    await self.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=name))
        for load in loads:
            await self.call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=load.model_name))
        await self.settled()

    def workers(self) -> set[psutil.Process]:
        """The server's child processes."""
        return set(psutil.Process().children()) - self._others

    async def settled(self) -> None:
        """Waits for the workers to end and for the uploads to go, which an unload does not."""
        control = self.server._repository._control
        assert control is not None
        async with asyncio.timeout(30):
            while self.server.models._retirements or control._removals or self.workers():
                await asyncio.sleep(0.005)

    async def steady(self, like: dict[str, Any] | None = None) -> dict[str, Any]:
        """The state once it is like another, or the same twice: calls end a moment after their answers have come."""
        end = time.monotonic() + 30
        last = self.state()
        while last != like and time.monotonic() < end:
            await asyncio.sleep(0.1)
            last, before = self.state(), last
            if like is None and last == before:
                break
        return last

    def state(self) -> dict[str, Any]:
        """All that could grow."""
        gc.collect()
        server, models, control = self.server, self.server.models, self.server._repository._control
        assert control is not None
        metrics = generate_latest(make_registry(models, server._inference)).decode()
        return {
            "objects": Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, OWN)),
            "descriptors": Counter(file.rstrip("0123456789[]") for file in open_files(os.getpid())),
            "processes": len(self.workers()),
            # asyncio's pool starts threads as they are needed, up to a limit of its own.
            "many threads": psutil.Process().num_threads() > self._threads + MOST_POOL_THREADS,
            "tasks": len(asyncio.all_tasks()),
            "health": server._health.services,
            "registry": [len(table) for table in (models.all(), models.broken(), models._ready, models._apart)],
            "control": [len(table) for table in (control._copies, control._last, control._tasks, control._removals)],
            "plans": sum(map(len, server._inference._plans._plans.values())),
            "templates": len(models._templates.users),
            "metrics": sum('model="' in line and 'model=""' not in line for line in metrics.splitlines()),
            # Unlike `Path.rglob`, this bears that files go away meanwhile.
            "uploads": [name for _, folders, files in os.walk(tempfile.gettempdir()) for name in folders + files],
        }


async def come_and_go(
    config: ServerConfig, cycles: int, after: Callable[[int], None] = lambda number: None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What there is after a few cycles, and after many more; `after` is called after each of those."""
    announced: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    server = Server(config)
    running = asyncio.create_task(server.run(lambda server, addresses: announced.set_result(addresses)))
    try:
        await asyncio.wait((running, announced), return_when=asyncio.FIRST_COMPLETED)
        async with grpc.aio.insecure_channel(announced.result().grpc) as channel:
            cycle = Cycle(server, channel)
            for number in range(4):
                await cycle.turn(number)
            before = await cycle.steady()
            for number in range(4, 4 + cycles):
                await cycle.turn(number)
                after(number)
            return before, await cycle.steady(like=before)
    finally:
        if not running.done():
            signal.raise_signal(signal.SIGTERM)
        await running
