"""Quadriga beside other inference servers: the same model, the same bytes, in turns.

A folder of installed peers has `models/cifar.onnx`, whose input is `input`, and per peer a folder with a script
`serve.sh MODEL PORT`. Each peer speaks the Open Inference Protocol and is started from a shell, with PORT and PEERS in
its environment.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
from load import Loaded, measure, medians, ratios
from process_tree import ProcessTree
from report import LOADED_COLUMNS, Column, Row, Section
from server_under_test import started
from settings import Settings
from target import Target, first_output, request_for, target

MODEL = "cifar"
QUADRIGA = "quadriga"
CALLERS = (1, 8, 32)
#: Frameworks of another release round otherwise.
TOLERANCE = 1e-4
START_SECONDS = 120.0
STOP_SECONDS = 10.0
#: As many characters of what a peer printed tell why it does not serve.
LOG_TAIL = 300
COLUMNS = (
    Column("callers", "c", "d"),
    Column("server", "server"),
    Column("speed", "req/s of ours", ".2f"),
    Column("latency", "p50 of ours", ".2f"),
    Column("tail", "p99 of ours", ".2f"),
    Column("cpu", "cpu of ours", ".2f"),
    *LOADED_COLUMNS,
    Column("resident_mb", "RSS MB", ".0f"),
)


class Contender(NamedTuple):
    """A running server."""

    tree: ProcessTree
    target: Target


def run(settings: Settings) -> Section:
    """Starts all, lets them take turns, and compares each with Quadriga."""
    if settings.peers is None:
        raise SystemExit("peers need a folder of installed ones: --peers DIR or the environment's PEERS")
    notes: list[str] = []
    with ExitStack() as stack:
        flags = [str(settings.peers / "models" / f"{MODEL}.onnx"), "--transport", settings.transports[0]]
        ours = stack.enter_context(started(flags))
        request = request_for(ours.grpc, MODEL)
        contenders = {QUADRIGA: Contender(ours.tree, target(ours.grpc, request))}
        for name, command in (settings.peer_commands or commands(settings.peers)).items():
            try:
                contenders[name] = stack.enter_context(peer(settings.peers, command, contenders[QUADRIGA].target))
            except PeerError as error:
                notes.append(f"{name} is left out: {error}")
        rows = take_turns(settings, contenders)
    notes.append(f"ours: {QUADRIGA}, transport {settings.transports[0]}, default configuration")
    return Section("peers", f"{MODEL} beside peers", COLUMNS, rows, notes)


def commands(peers: Path) -> dict[str, str]:
    """The start command of every peer in the folder."""
    return {script.parent.name: f"exec {script} {MODEL} $PORT" for script in sorted(peers.glob("*/serve.sh"))}


class PeerError(Exception):
    """A peer that does not start or does not answer as Quadriga does."""


@contextmanager
def peer(peers: Path, command: str, ours: Target) -> Iterator[Contender]:
    """Starts a peer in a session of its own; ends the whole session.

    Raises:
        PeerError: It did not start, refuses the request or answers otherwise.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="quadriga-bench-") as folder, open(Path(folder, "log"), "w+") as log:
        environment = {**os.environ, "PORT": str(port), "PEERS": str(peers), "TMPDIR": folder}
        process = subprocess.Popen(
            command, shell=True, stdout=log, stderr=log, env=environment, start_new_session=True, cwd=folder
        )
        try:
            yield Contender(ProcessTree(process.pid), wait_for(process, f"127.0.0.1:{port}", ours))
        except PeerError as error:
            said = Path(folder, "log").read_text(errors="replace")[-LOG_TAIL:].strip()
            raise PeerError(f"{error}; it said {said!r}") from error
        finally:
            stop(process)


def wait_for(process: "subprocess.Popen[bytes]", address: str, ours: Target) -> Target:
    """Waits until a peer answers the request, as Quadriga does.

    Raises:
        PeerError: It ended, refuses the request or answers otherwise.
    """
    end = time.monotonic() + START_SECONDS
    refusal = "nothing listens"
    while time.monotonic() < end:
        if process.poll() is not None:
            raise PeerError(f"it ended with {process.returncode}")
        try:
            theirs = target(address, ours.request, wait_seconds=1.0)
        except grpc.FutureTimeoutError:
            continue
        except grpc.RpcError as error:
            refusal = f"it refuses: {error}"
            time.sleep(0.5)
            continue
        answered, expected = first_output(theirs.answer), first_output(ours.answer)
        if answered.shape != expected.shape or not np.allclose(answered, expected, rtol=0, atol=TOLERANCE):
            raise PeerError(f"it answers {answered.tolist()[:10]}, Quadriga {expected.tolist()[:10]}")
        return theirs
    raise PeerError(refusal)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends a session politely, then not."""
    for reason in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, reason)
            process.wait(STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def take_turns(settings: Settings, contenders: dict[str, Contender]) -> list[Row]:
    """Closed loops of all servers, one at a time; medians and their ratios to Quadriga's."""
    rounds: dict[tuple[int, str], list[Loaded]] = {}
    for _ in range(settings.rounds):
        for callers in CALLERS:
            for name, each in contenders.items():
                loaded = measure(settings.client, each.target, callers, settings.seconds, each.tree)
                rounds.setdefault((callers, name), []).append(loaded)
    rows: list[Row] = []
    for (callers, name), seen in rounds.items():
        of_ours = ratios(seen, rounds[callers, QUADRIGA])
        row: Row = {"callers": callers, "server": name, **medians(seen)._asdict()}
        row |= {"speed": of_ours.rate, "latency": of_ours.p50, "tail": of_ours.p99, "cpu": of_ours.cpu_us}
        rows.append(row | {"resident_mb": sum(contenders[name].tree.resident()) / 1e6})
    return sorted(rows, key=lambda row: row["callers"])


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
