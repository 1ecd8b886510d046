"""The repository's rpcs without a server: what is refused at once, and what becomes of a task that fails."""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fake_time import in_a_loop
from running_server import write_fake

from quadriga.config import ServerConfig
from quadriga.explicit import ExplicitControl
from quadriga.model_files import ModelFiles
from quadriga.registry import ModelRegistry
from quadriga.repository_service import RepositoryService
from quadriga.transports import Call
from quadriga_proto import inference_pb2 as pb


class Answered:
    """A call that keeps how it ended."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.ended: asyncio.Future[tuple[str, Any]] = asyncio.get_running_loop().create_future()

    def respond(self, response: bytes) -> None:
        self.ended.set_result(("OK", response))

    def fail(self, code: str, message: str, trailers: Mapping[str, str] | None = None) -> None:
        self.ended.set_result((code, message))


class Service:
    """The rpcs of a server with a repository, none of whose models is loaded."""

    def __init__(self, repository: Path) -> None:
        self.models = ModelRegistry()
        config = ServerConfig(repositories=(repository,), model_control="explicit")
        self.control = ExplicitControl(config, self.models, [])
        self.service = RepositoryService(config, self.models, self.control)

    async def call(self, name: str, request: Any) -> tuple[str, Any]:
        call = Answered(request.SerializeToString())
        self.service.handlers()[name](cast("Call", call))
        return await call.ended

    async def index(self) -> list[tuple[str, str]]:
        _, response = await self.call("RepositoryIndex", pb.RepositoryIndexRequest())
        return [(row.name, row.state) for row in pb.RepositoryIndexResponse.FromString(response).models]


LOAD = pb.RepositoryModelLoadRequest(model_name="model")
RPCS: dict[str, Any] = {
    "RepositoryIndex": pb.RepositoryIndexRequest(),
    "RepositoryModelLoad": LOAD,
    "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name="model"),
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_fake(tmp_path, "model")
    return tmp_path


@pytest.mark.parametrize("name", RPCS)
def test_a_draining_server_refuses(repository: Path, name: str) -> None:
    @in_a_loop
    async def test() -> None:
        service = Service(repository)
        service.models.draining = True
        code, message = await service.call(name, RPCS[name])
        assert code == "UNAVAILABLE"
        assert "shutting down" in message
        service.service.stop()
        await service.service.close()

    test()


def test_what_is_under_way_when_the_server_stops_is_answered(repository: Path) -> None:
    @in_a_loop
    async def test() -> None:
        service = Service(repository)  # not open yet: loads wait for those of the start
        calls = [asyncio.create_task(service.call("RepositoryModelLoad", LOAD)) for _ in range(3)]
        await asyncio.sleep(0)
        service.service.stop()
        assert [code for code, _ in await asyncio.gather(*calls)] == ["UNAVAILABLE"] * 3
        await service.service.close()
        assert (service.control._last, service.control._tasks) == ({}, set())

    test()


def test_loads_wait_for_the_start_and_a_failure_that_nobody_foresaw_is_internal(
    repository: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @in_a_loop
    async def test() -> None:
        service = Service(repository)
        begun: list[str] = []

        async def replace(model: ModelFiles) -> None:
            begun.append(model.name)
            raise ValueError("a surprise")

        monkeypatch.setattr(service.models, "replace", replace)
        loading = asyncio.create_task(service.call("RepositoryModelLoad", LOAD))
        assert await service.index() == [("model", "")]
        assert begun == []
        service.service.open()
        code, message = await loading
        assert (code, begun) == ("INTERNAL", ["model"])
        assert "a surprise" not in message
        assert "a surprise" in caplog.text
        service.service.stop()
        await service.service.close()

    test()


def test_what_is_asked_of_one_model_is_done_in_the_order_of_arrival_and_others_do_not_wait(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fake(repository, "other")

    @in_a_loop
    async def test() -> None:
        service = Service(repository)
        service.service.open()
        done: list[str] = []
        go = asyncio.Event()

        async def nothing() -> None:
            pass

        async def replace(model: ModelFiles) -> "asyncio.Task[None]":
            if model.name == "model":
                await go.wait()
            done.append(f"load {model.name}")
            return asyncio.create_task(nothing())

        def withdraw(name: str) -> "asyncio.Task[None]":
            done.append(f"unload {name}")
            return asyncio.create_task(nothing())

        monkeypatch.setattr(service.models, "replace", replace)
        monkeypatch.setattr(service.models, "withdraw", withdraw)
        names = ("RepositoryModelLoad", "RepositoryModelUnload", "RepositoryModelUnload", "RepositoryModelLoad")
        calls = [asyncio.create_task(service.call(name, RPCS[name])) for name in names]
        assert (await service.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="other")))[0] == "OK"
        assert done == ["load other"]
        go.set()
        assert [code for code, _ in await asyncio.gather(*calls)] == ["OK"] * 4
        assert done[1:] == ["load model", "unload model", "unload model", "load model"]
        service.service.stop()
        await service.service.close()

    test()


def test_the_index_of_a_repository_that_is_away_has_what_is_loaded(
    repository: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    @in_a_loop
    async def test() -> None:
        service = Service(repository)
        loaded = SimpleNamespace(name="kept", version_text="1", state="READY", reason="")
        service.models.all = lambda: [loaded]  # type: ignore[method-assign,list-item]
        assert await service.index() == [("kept", "READY"), ("model", "")]
        await asyncio.to_thread(repository.rename, tmp_path.with_name("away"))
        assert await service.index() == [("kept", "READY")]
        assert "the index has only what is loaded" in caplog.text
        service.service.stop()
        await service.service.close()

    test()


def test_models_whose_folders_are_gone_are_forgotten_by_the_next_load(repository: Path) -> None:
    @in_a_loop
    async def test() -> None:
        service = Service(repository)
        service.service.open()
        (repository / "model" / "1" / "model.fake").unlink()
        (repository / "model" / "model.toml").write_text("nonsense = 1")
        code, message = await service.call("RepositoryModelLoad", LOAD)
        assert (code, "'nonsense'" in message) == ("INVALID_ARGUMENT", True)
        assert await service.index() == [("model", "UNAVAILABLE")]
        await asyncio.to_thread(shutil.rmtree, repository / "model")
        code, message = await service.call("RepositoryModelLoad", LOAD)
        assert (code, "there is: nothing" in message) == ("INTERNAL", True)
        assert await service.index() == []
        assert service.models.names() == set()
        await asyncio.to_thread(repository.rmdir)
        code, message = await service.call("RepositoryModelLoad", LOAD)
        assert (code, "cannot be read" in message) == ("INTERNAL", True)
        service.service.stop()
        await service.service.close()

    test()
