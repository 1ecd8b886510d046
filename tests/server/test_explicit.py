"""What loads and unloads by request may keep waiting; what they do is shown on running servers."""

import asyncio
from pathlib import Path, PurePosixPath

import pytest

from quadriga import explicit
from quadriga.config import ServerConfig
from quadriga.errors import Overloaded
from quadriga.explicit import ExplicitControl
from quadriga.load_parameters import LoadParameters
from quadriga.registry import ModelRegistry


def files(size: int) -> LoadParameters:
    return LoadParameters(None, {PurePosixPath("1/model.onnx"): bytes(size)})


def test_no_more_is_kept_waiting_than_a_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(explicit, "MOST_ASKED", 3)

    async def scenario() -> None:
        control = ExplicitControl(ServerConfig(repositories=(tmp_path,)), ModelRegistry(), [])
        for _ in range(3):
            control.unload("model")
        with pytest.raises(Overloaded, match="3 loads and unloads"):
            control.unload("other")
        control.stop()
        await control.close()
        control.unload("model")
        control.stop()
        await control.close()

    asyncio.run(scenario())


def test_files_that_wait_are_bounded_in_bytes_and_one_load_may_always_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(explicit, "MOST_BYTES", 10)

    async def scenario() -> None:
        control = ExplicitControl(ServerConfig(repositories=(tmp_path,)), ModelRegistry(), [])
        control.load("model", files(11))
        control.load("other", LoadParameters())
        with pytest.raises(Overloaded, match="11 bytes of models wait"):
            control.load("other", files(1))
        control.stop()
        await control.close()
        control.load("other", files(1))
        control.load("other", files(9))
        control.stop()
        await control.close()

    asyncio.run(scenario())
