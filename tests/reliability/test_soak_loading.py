"""Memory is stable: models that come and go hundreds of times leave the server as large as it was."""

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from figures import Figures
from model_cycles import come_and_go, make_config
from oip import infer_request, rpc
from process_figures import History, check_growth
from running_server import RunningServer, wait_for
from soak_traffic import inputs

from quadriga_proto import inference_pb2 as pb

pytestmark = pytest.mark.soak

PROMISE = "Memory is stable"
#: Over both transports; each loads and unloads two models.
CYCLES = int(os.environ.get("QUADRIGA_SOAK_CYCLES", "500"))
#: For one cycle of real models, which take seconds to load.
FAKE_FOR_REAL = 20
LEAST_REAL = 6
MOST_GROWTH, ALWAYS_ALLOWED = 0.02, 4_000_000
FEW = 2
REAL = ("same_onnx", "same_torchscript")


def test_fake_models_come_and_go(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    """The server is in this process, with all its tables; a client is, too."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    history = History({"server": os.getpid()})
    config = make_config(tmp_path / "repository", transport)
    before, after = asyncio.run(come_and_go(config, CYCLES // 2, history.sample))
    check_growth(figures, PROMISE, f"loads and unloads, {transport}", history.growths(), MOST_GROWTH, ALWAYS_ALLOWED)
    assert after == before
    assert after["health"] == ["", "broken", "inference.GRPCInferenceService"]
    assert after["registry"] == [1, 0, 0, 0]  # the model that failed to load, which the index shows with its reason
    assert (after["processes"], after["templates"], after["plans"]) == (0, 0, 0)
    assert list(temporary.iterdir()) == []


@pytest.mark.either_transport
def test_real_models_come_and_go(
    start: Callable[..., RunningServer], demo_repository: Path, transport: str, figures: Figures
) -> None:
    server = start("--repository", str(demo_repository), "--model-control", "explicit", "--templates", "off")
    history = History({"server": server.process.pid})
    with grpc.insecure_channel(server.grpc) as channel:
        for number in range(max(CYCLES // 2 // FAKE_FOR_REAL, LEAST_REAL)):
            for model in REAL:
                rpc(channel, "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=model), timeout=300)
                rpc(channel, "ModelInfer", infer_request(model, **inputs(model, 4)))
            for model in REAL:
                rpc(channel, "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=model))
            wait_for(lambda: not server.workers(), "the workers to end")
            history.sample(number)
    what = f"loads and unloads of {' and '.join(REAL)}, {transport}"
    check_growth(figures, PROMISE, what, history.growths(), MOST_GROWTH, ALWAYS_ALLOWED)
    # asyncio's pool of threads, and a socket of a call that has just ended, are a few; a leak is one each time.
    assert history.more(lambda holding: holding.descriptors, FEW) == {}
