"""Models that have gone leave no memory behind; `make soak` has them come and go many times, and looks at all else."""

from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from oip import infer_request, model_index, rpc
from running_server import ON_CPU, START_SECONDS, RunningServer, wait_for

from quadriga_proto import inference_pb2 as pb

IMAGES = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)


def resident(server: RunningServer) -> int:
    """Bytes of all the server's processes."""
    return sum(process.memory_info().rss for process in server.processes())


@pytest.mark.timeout(900)
def test_unloading_gives_the_memory_back(start: Callable[..., RunningServer], demo_repository: Path) -> None:
    server = start("--repository", str(demo_repository), "--model-control", "explicit", env=ON_CPU)
    models = ("same_onnx", "same_torchscript")
    with grpc.insecure_channel(server.grpc) as channel:

        def load_and_use() -> None:
            for model in models:
                rpc(channel, "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=model), timeout=120)
                rpc(channel, "ModelInfer", infer_request(model, image=IMAGES))

        def unload() -> None:
            for model in models:
                rpc(channel, "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=model))
            wait_for(lambda: not any(model.state == "UNLOADING" for model in model_index(channel).values()), "the ends")
            wait_for(lambda: not server.workers(), "the workers, and their template, to end")

        load_and_use()
        unload()
        before = resident(server)
        load_and_use()
        wait_for(lambda: "template of torchscript is ready" in server.log, "the template", START_SECONDS)
        loaded = resident(server)
        unload()
        assert resident(server) == pytest.approx(before, rel=0.05)
        assert loaded > 2 * before
    server.stop()
