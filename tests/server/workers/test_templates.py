"""Templates, of the fake backend: workers are forked where they can be, and otherwise nothing is lost but time."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable

import pytest

from quadriga.backends.base import ModelSource
from quadriga.backends.fake import FakeBackend
from quadriga.workers import child, template_child, templates
from quadriga.workers.child import ChildProcess
from quadriga.workers.messages import FromWorker, Load
from quadriga.workers.template_child import Template
from quadriga.workers.templates import Templates

#: For a template, which yields to all else on the machine, and for what comes of it.
SECONDS = 240.0


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not what is tested."""
    monkeypatch.setattr(template_child, "IMPORT_SECONDS", SECONDS)
    monkeypatch.setattr(template_child, "FORK_SECONDS", SECONDS)
    monkeypatch.setattr(child, "_STATUS_SECONDS", SECONDS)


class Threaded(FakeBackend):
    """Leaves a thread running by its import."""

    def import_framework(self) -> None:
        """See `Backend.import_framework`."""
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def load(backend: str = "fake", **parameters: str) -> Load:
    return Load(backend, ModelSource(path="model.fake", threads=3, parameters=parameters), 2, 1)


def with_template(scenario: Callable[[Template], Awaitable[None]], backend: str = "fake", **parameters: str) -> None:
    """Runs a scenario on a template that has prepared itself, or found itself useless."""

    async def run() -> None:
        changes: asyncio.Queue[Template] = asyncio.Queue()
        template = Template(load(backend, **parameters), changes.put_nowait)
        try:
            await asyncio.wait_for(changes.get(), SECONDS)
            await scenario(template)
        finally:
            await template.close()

    asyncio.run(run())


def test_a_worker_is_forked_and_its_status_told() -> None:
    async def scenario(template: Template) -> None:
        children = await asyncio.gather(*(template.fork() for _ in range(3)))
        workers: list[ChildProcess[FromWorker]] = [
            ChildProcess(f"worker {index}", forked, FromWorker) for index, forked in enumerate(children) if forked
        ]
        assert len({worker.pid for worker in workers}) == 3
        workers[0].channel.close()
        assert await workers[0].ended(kill=False) == "exited with status 0"
        assert await workers[1].ended(kill=True) == "killed by SIGKILL"
        os.kill(template._process.pid, signal.SIGKILL)
        assert await workers[2].ended(kill=False) == "ended with its template"
        assert await template.fork() is None
        for worker in workers[1:]:
            worker.channel.close()

    with_template(scenario)


def test_a_template_with_threads_forks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))

    async def scenario(template: Template) -> None:
        assert "1 threads" in template.useless
        assert await template.fork() is None

    with_template(scenario, "test_templates:Threaded")


@pytest.mark.parametrize(
    ("backend", "parameters"),
    [
        *((backend, {}) for backend in sorted(templates.TEMPLATE_BACKENDS)),
        ("keras", {"keras_backend": "torch"}),
    ],
)
def test_no_framework_of_ours_leaves_a_thread(backend: str, parameters: dict[str, str]) -> None:
    async def scenario(template: Template) -> None:
        assert not template.useless
        forked = await template.fork()
        assert forked
        forked.discard()

    with_template(scenario, backend, **parameters)


def test_a_template_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_child, "FORK_SECONDS", 0.1)

    async def scenario(template: Template) -> None:
        os.kill(template._process.pid, signal.SIGSTOP)
        assert await template.fork() is None
        assert template.gone

    with_template(scenario)


def test_a_template_whose_import_never_ends_is_given_up_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_child, "IMPORT_SECONDS", 0.1)

    async def scenario() -> None:
        changed = asyncio.Event()
        template = Template(load(), lambda _: changed.set())
        os.kill(template._process.pid, signal.SIGSTOP)
        async with asyncio.timeout(SECONDS):
            await changed.wait()
        assert (template.gone, "more than 0.1 s" in template.useless) == (True, True)
        assert await template.fork() is None

    asyncio.run(scenario())


def test_a_fork_that_nobody_waits_for_leaves_no_process() -> None:
    async def scenario(template: Template) -> None:
        fork = asyncio.create_task(template.fork())
        async with asyncio.timeout(SECONDS):
            while not template._asked:
                await asyncio.sleep(0)
            fork.cancel()
            await asyncio.wait((fork,))
            while template._asked or template._workers:
                await asyncio.sleep(0.01)

    with_template(scenario)


def test_one_template_is_shared_and_ends_with_its_last_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "TEMPLATE_BACKENDS", frozenset({"fake"}))
    monkeypatch.setattr(templates, "QUIET_SECONDS", 0.0)

    async def scenario() -> None:
        pool = Templates()
        leases = [pool.lease([load()]) for _ in range(2)]
        for lease in leases:
            lease.hold()
        with pool.boot():
            pool.want(load(), "cpu")
            pool.want(load(), "cuda:0")
            assert not pool._templates
            assert pool._timer is None  # nor will one be started while a worker starts
        async with asyncio.timeout(SECONDS):
            while not (child := await pool.fork(load())):
                await asyncio.sleep(0.01)
        child.discard()
        assert await pool.fork(load(other="parameters")) is None
        (template,) = pool._templates.values()
        await leases[0].release()
        await leases[0].release()
        assert not template.gone
        await leases[1].release()
        assert template.gone
        assert not pool._templates
        assert not pool.users

    asyncio.run(scenario())
