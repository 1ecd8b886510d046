"""`quadriga load` and `quadriga compare` against other servers of the protocol.

The environment's `PEERS` names a folder of installed ones, as "peers" in benchmarks/README.md describes it; without it,
all of this is skipped.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import grpc
import numpy as np
import pytest
from oip import infer_request, method
from running_server import END_SECONDS, RunningServer, run_cli, wait_for

from quadriga_client.compare.formats import json as comparison_json
from quadriga_client.load.formats import json as report_json

PEERS = Path(os.environ.get("PEERS") or os.devnull)
#: Those that speak the protocol as it is written.
NAMES = ("kserve", "mlserver", "triton")
MODEL = "cifar"
START_SECONDS = 120.0
ROWS = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
#: Of frameworks of another release, which round otherwise.
LIKE = ("--atol", "1e-4", "--rtol", "1e-3")
SHORT = ("--concurrency", "2", "--window", "0.2", "--max-windows", "3", "--measured-windows", "2", "--no-ceiling")

pytestmark = [
    pytest.mark.skipif(not PEERS.is_dir(), reason="the environment's PEERS names no folder of installed servers"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def transport() -> str:
    """One is enough: what is tested is the client."""
    return "native"


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The installed peers that answer, by name: HOST:PORT."""
    installed = [name for name in NAMES if (PEERS / name / "serve.sh").exists()]
    with ExitStack() as stack:
        started = {name: stack.enter_context(peer(name, tmp_path_factory.mktemp(name))) for name in installed}
        for address, has_answered in started.values():
            wait_for(has_answered, f"the peer at {address} to answer", START_SECONDS)
        yield {name: address for name, (address, _) in started.items()}


@contextmanager
def peer(name: str, folder: Path) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Starts a peer in a session of its own; at the end, nothing of its process group is left."""
    port = free_ports(3)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PEERS": str(PEERS), "TMPDIR": str(folder)}
    command = [str(PEERS / name / "serve.sh"), MODEL, str(port)]
    with open(folder / "log", "wb") as log, in_a_group(command, folder, environment, log) as process:
        address = f"127.0.0.1:{port}"
        with grpc.insecure_channel(address) as channel:
            infer = method(channel, "ModelInfer")

            def has_answered() -> bool:
                assert process.poll() is None, f"{name} ended: {(folder / 'log').read_text()[-2000:]}"
                with suppress(grpc.RpcError):
                    return bool(infer(infer_request(MODEL, input=ROWS).SerializeToString(), timeout=5))
                return False

            yield address, has_answered


@contextmanager
def in_a_group(
    command: list[str], folder: Path, environment: dict[str, str], log: IO[bytes]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that leads a group, which is ended politely, then not."""
    process = subprocess.Popen(
        command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=folder, start_new_session=True
    )

    def is_gone() -> bool:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            wait_for(is_gone, "a peer to end", END_SECONDS)
        except AssertionError:
            os.killpg(process.pid, signal.SIGKILL)
            wait_for(is_gone, "a peer that was killed to end", END_SECONDS)


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nothing listens on: peers take those after their own for HTTP."""
    while True:
        with ExitStack() as stack, suppress(OSError, OverflowError):
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            for port in range(first + 1, first + count):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return int(first)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The input as a file: some peers do not tell which inputs a model has."""
    path = tmp_path_factory.mktemp("rows") / "rows.npz"
    np.savez(path, input=ROWS)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_load_on_a_peer_is_answered(peers: dict[str, str], rows: Path, tmp_path: Path, name: str) -> None:
    if name not in peers:
        pytest.skip(f"{name} is not installed in PEERS")
    output = tmp_path / "report.json"
    given = ("--url", peers[name], "--input", str(rows), *SHORT, "--quiet", "--output", str(output))
    result = run_cli("load", MODEL, *given)
    assert (result.returncode, result.stderr) == (0, "")
    report = report_json.decode(output.read_bytes())
    assert [(row.level, row.errors, row.latency.count > 0) for row in report.rows] == [(2, {}, True)]
    assert report.request.inputs == {"input": "FP32[1,3,32,32]"}


def test_all_peers_and_ours_agree_and_are_compared(
    peers: dict[str, str], start: Callable[..., Any], rows: Path, tmp_path: Path
) -> None:
    if not peers:
        pytest.skip("none of the peers is installed in PEERS")
    ours: RunningServer = start(str(PEERS / "models" / f"{MODEL}.onnx"))
    places = {"ours": ours.grpc, **peers}
    models = [f"{name}={MODEL}@{address}" for name, address in places.items()]
    # As short as so many models can be timed.
    timed = ("--duration", str(3 * len(places)), "--concurrency", "2", "--input", str(rows), *LIKE)
    result = run_cli(
        "compare", *models, *timed, "--metrics", f"{ours.grpc}={ours.http}", "--output", str(tmp_path / "out")
    )
    assert (result.returncode, result.stderr) == (0, "")
    report = comparison_json.read(tmp_path / "out" / "comparison.json")
    assert [contestant.name for contestant in report.contestants] == list(places)
    assert [agreement.agrees for agreement in report.agreements] == [True] * len(peers)
    assert report.failed_requests == {}
    assert {block.contestant for level in report.levels for block in level.blocks} == set(places)
