"""Models that come and go leave nothing behind: no memory, process, descriptor, file, task or entry of a table."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from model_cycles import come_and_go, make_config
from oip import infer_request, rpc
from running_server import RunningServer, wait_for

from quadriga_proto import inference_pb2 as pb

#: How often models come and go here; `make soak` does it more often.
CYCLES = 15
IMAGES = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)


def resident(server: RunningServer) -> int:
    """Bytes of all the server's processes."""
    return sum(process.memory_info().rss for process in server.processes())


def test_unloading_gives_the_memory_back(start: Callable[..., RunningServer], demo_repository: Path) -> None:
    server = start("--repository", str(demo_repository), "--model-control", "explicit")
    models = ("same_onnx", "same_torchscript")
    with grpc.insecure_channel(server.grpc) as channel:

        def load_and_use() -> None:
            for model in models:
                rpc(channel, "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=model), timeout=120)
                rpc(channel, "ModelInfer", infer_request(model, image=IMAGES))

        def unload() -> None:
            for model in models:
                rpc(channel, "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=model))
            wait_for(lambda: not server.workers(), "the workers, and their template, to end")

        load_and_use()
        unload()
        before = resident(server)
        load_and_use()
        wait_for(lambda: "template of torchscript is ready" in server.log, "the template")
        loaded = resident(server)
        unload()
        assert resident(server) == pytest.approx(before, rel=0.05)
        assert loaded > 2 * before
    server.stop()


def test_cycles_of_loads_and_unloads_leave_nothing(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before, after = asyncio.run(come_and_go(make_config(tmp_path / "repository", transport), CYCLES))
    assert after == before
    assert after["health"] == ["", "broken", "inference.GRPCInferenceService"]
    assert after["registry"] == [1, 0, 0, 0]  # the model that failed to load, which the index shows with its reason
    assert (after["processes"], after["templates"], after["plans"]) == (0, 0, 0)
    assert list(temporary.iterdir()) == []
