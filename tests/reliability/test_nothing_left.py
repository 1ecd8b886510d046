"""Nothing is left behind: no process, socket, shared memory or file, whichever process ends and however it does."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from figures import Figures
from oip import infer_request, method, rpc
from running_server import MARK, ON_CPU, READY, SLAB, RunningServer, is_alive, marked, open_files, wait_for, write_fake

from quadriga_client.load.engine.echo import EchoServer
from quadriga_proto import inference_pb2 as pb

pytestmark = pytest.mark.chaos

PROMISE = "Nothing is left behind"
ENDS = [signal.SIGTERM, signal.SIGINT, signal.SIGKILL]
#: Of this test run alone: others may go on beside it.
REGION = f"quadriga-left-{os.getpid()}"
DEV_SHM = Path("/dev/shm")
UPLOADED = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [4]}], "load_ms": %d}'
SECONDS = 120.0
#: What frameworks keep between runs, as after any end of theirs; torch adds the user's name.
CACHES = (".ses", "torchinductor_")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the processes under test have their temporary files, and nobody else."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def region() -> Iterator[str]:
    """Shared memory of a client's."""
    file = DEV_SHM / REGION
    file.write_bytes(bytes(4096))
    yield f"/{REGION}"
    file.unlink()


class Busy:
    """A server with everything in hand: calls, uploads that serve and that load, a client's memory; and a template."""

    def __init__(self, transport: str, repositories: tuple[Path, ...], temporary: Path, region: str) -> None:
        flags = [flag for folder in repositories for flag in ("--repository", str(folder))]
        models = ("--load-model", "busy", "--load-model", "same_torchscript")
        self.server = RunningServer(
            "--transport", transport, *flags, "--model-control", "explicit", *models, "--allow-client-shm",
            env={"TMPDIR": str(temporary), **ON_CPU},
        )  # fmt: skip
        # Before the upload: none is started while a worker loads.
        wait_for(lambda: "template of torchscript is ready" in self.server.log, "the template", SECONDS)
        self._channel = grpc.insecure_channel(self.server.grpc)
        register = pb.SystemSharedMemoryRegisterRequest(name="region", key=region, byte_size=4096)
        rpc(self._channel, "SystemSharedMemoryRegister", register)
        load = method(self._channel, "RepositoryModelLoad")
        load(self._upload("serving", 0), timeout=SECONDS)
        self._loading = load.future(self._upload("loading", 600_000), timeout=SECONDS)
        wait_for(lambda: len(list(temporary.rglob("model.fake"))) == 2, "the uploads", SECONDS)
        request = infer_request("busy", x=np.ones((1, 4), np.float32)).SerializeToString()
        self._calls = [method(self._channel, "ModelInfer").future(request, timeout=SECONDS) for _ in range(16)]
        wait_for(lambda: self.server.metric("quadriga_batches_in_flight", model="busy") == 2, "calls in hand", SECONDS)

    def pid_of(self, kind: str) -> int:
        """Of the server, of a worker with calls in hand, or of the template."""
        if kind == "server":
            return self.server.process.pid
        if kind == "worker":
            return self.server.worker_of("busy")
        return int(self.server.log.rpartition("template of torchscript is ready: pid ")[2].split()[0])

    def hang_up(self) -> None:
        """Ends the client."""
        for call in (*self._calls, self._loading):
            call.cancel()
        self._channel.close()

    @staticmethod
    def _upload(name: str, load_ms: int) -> bytes:
        parameters = {
            "config": pb.ModelRepositoryParameter(string_param="{}"),
            "file:1/model.fake": pb.ModelRepositoryParameter(bytes_param=UPLOADED % load_ms),
        }
        return pb.RepositoryModelLoadRequest(model_name=name, parameters=parameters).SerializeToString()


def sockets_of(pid: int) -> list[str]:
    """The abstract sockets that a server's name is in."""
    return [line for line in Path("/proc/net/unix").read_text().splitlines() if f"@quadriga-{pid}-" in line]


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    found = psutil.net_connections("tcp")
    return any(each.status == "LISTEN" and each.laddr == (host, int(port)) for each in found)


@pytest.mark.either_transport
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.name)
@pytest.mark.parametrize("kind", ["server", "worker", "template"])
def test_a_server_under_load_with_uploads_in_hand(
    transport: str, kind: str, end: signal.Signals, tmp_path: Path, demo_repository: Path, temporary: Path, region: str,
    figures: Figures,
) -> None:  # fmt: skip
    write_fake(tmp_path / "repository", "busy", {"sleep_ms": 200}, "max_batch_size = 1")
    busy = Busy(transport, (tmp_path / "repository", demo_repository), temporary, region)
    server = busy.server
    victim = psutil.Process(busy.pid_of(kind))
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.send_signal(end)
    if kind != "server":
        if end == signal.SIGKILL:
            wait_for(lambda: not is_alive(victim), f"the {kind} to end")
        server.process.send_signal(signal.SIGTERM)
    status = server.process.wait(SECONDS)
    assert status == (-signal.SIGKILL if (kind, end) == ("server", signal.SIGKILL) else 0), server.log
    server.stop(end)  # which is over; the checks of the fixtures' servers
    busy.hang_up()
    assert sockets_of(server.process.pid) == []
    assert not listens(server.grpc)
    assert not listens(server.http)
    assert not any(SLAB in file for process in marked(server.mark) for file in open_files(process.pid))
    if status:
        # What a killed server wrote, the next one removes.
        assert [folder.name.partition("-")[0] for folder in temporary.iterdir()] == ["quadriga"]
        flags = ("--repository", str(tmp_path / "repository"), "--model-control", "explicit")
        assert RunningServer(*flags, env={"TMPDIR": str(temporary)}).stop() == 0
    assert list(temporary.iterdir()) == []
    assert [
        file.name for file in DEV_SHM.iterdir() if "quadriga" in file.name and str(server.process.pid) in file.name
    ] == []
    figures.add(PROMISE, f"{kind} under load, {end.name}, {transport}", "nothing", "nothing")


class Command:
    """A command of ours with a mark and temporary files of its own, and its children."""

    def __init__(self, *command: str, temporary: Path) -> None:
        self.mark = f"{os.getpid()}-{temporary}"
        self._temporary = temporary
        environment = {**os.environ, MARK: self.mark, "TMPDIR": str(temporary)}
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def children(self) -> list[psutil.Process]:
        """All that has its mark beside itself."""
        return [process for process in marked(self.mark) if process.pid != self.process.pid]

    def wait_until_nothing_is_left(self) -> str:
        """After its end: what it printed."""
        printed, _ = self.process.communicate(timeout=SECONDS)
        wait_for(lambda: not marked(self.mark), "its processes to end")
        assert [file for file in self._temporary.iterdir() if not file.name.startswith(CACHES)] == []
        return printed


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that load tests are aimed at."""
    repository = tmp_path_factory.mktemp("repository")
    write_fake(repository, "echo")
    server = RunningServer("--repository", str(repository), "--templates", "off")
    yield server
    server.stop()


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.name)
@pytest.mark.parametrize("kind", ["command", "generator"])
def test_a_load_test(kind: str, end: signal.Signals, loaded: RunningServer, temporary: Path, figures: Figures) -> None:
    command = Command(
        *(sys.executable, "-m", "quadriga", "load", "echo", "--url", loaded.grpc, "--window", "20"),
        temporary=temporary,
    )
    generators = wait_for(lambda: command.children() or command.process.poll(), "the generators", SECONDS)
    assert isinstance(generators, list), command.process.communicate()
    victim = command.process.pid if kind == "command" else generators[0].pid
    os.kill(victim, end)
    if kind == "generator" and end == signal.SIGINT:  # which is not for it
        command.process.terminate()
    command.wait_until_nothing_is_left()
    figures.add(PROMISE, f"load test, {kind}, {end.name}", "nothing", "nothing")


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.name)
@pytest.mark.parametrize("kind", ["command", "job"])
def test_a_build_of_models(kind: str, end: signal.Signals, tmp_path: Path, temporary: Path, figures: Figures) -> None:
    repository = tmp_path / "repository"
    build = (sys.executable, "-m", "quadriga", "zoo", "build", "--repository", str(repository))
    command = Command(*build, temporary=temporary)
    (job,) = wait_for(command.children, "the job", SECONDS)
    os.kill(command.process.pid if kind == "command" else job.pid, end)
    command.wait_until_nothing_is_left()
    if kind == "command" and end == signal.SIGKILL:  # the next build removes what is left, here one that ends at once
        again = Command(*build, temporary=temporary)
        (job,) = wait_for(again.children, "the job", SECONDS)
        job.kill()
        again.wait_until_nothing_is_left()
    assert list(repository.iterdir()) == []
    figures.add(PROMISE, f"zoo, {kind}, {end.name}", "nothing", "nothing")


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.name)
def test_a_container(end: signal.Signals, tmp_path: Path, temporary: Path, figures: Figures) -> None:
    """Process 1 of a namespace of processes, as in a container: with it all others end."""
    unshare = ("unshare", "--pid", "--fork", "--kill-child")
    with contextlib.suppress(OSError):
        if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
            pytest.skip("namespaces need root")
    write_fake(tmp_path / "repository", "echo")
    serve = ("serve", "--repository", str(tmp_path / "repository"), "--grpc-port", "0", "--http-port", "0")
    command = Command(*unshare, sys.executable, "-m", "quadriga.first_process", *serve, temporary=temporary)
    assert command.process.stdout is not None
    wait_for(lambda: READY.match(command.process.stdout.readline()), "the server to be ready", SECONDS)  # type: ignore[union-attr]
    (first,) = psutil.Process(command.process.pid).children()
    first.send_signal(end)
    command.wait_until_nothing_is_left()
    figures.add(PROMISE, f"first process, {end.name}", "nothing", "nothing")


@pytest.mark.either_transport
@pytest.mark.parametrize("flags", [("--repository", "nowhere"), ("--grpc-port", "{port}"), ("--http-port", "{port}")])
def test_a_start_that_fails(transport: str, flags: tuple[str, str], tmp_path: Path, temporary: Path) -> None:
    write_fake(tmp_path / "repository", "echo")
    with EchoServer(b"") as taken:
        given = [flag.format(port=taken.url.rpartition(":")[2]) for flag in flags]
        command = Command(
            *(sys.executable, "-m", "quadriga", "serve", "--transport", transport, "--grpc-port", "0"),
            *("--http-port", "0", "--repository", str(tmp_path / "repository"), *given),
            temporary=temporary,
        )
        assert "Error: " in command.wait_until_nothing_is_left()
    assert command.process.returncode == 1
    assert sockets_of(command.process.pid) == []
