"""Load generators: what each makes of the same cores, against a server that answers at once.

The echo server is ours and costs little, so that what is seen is the generator. Nothing of it is Quadriga's server. All
take turns in every round, in an order that is reversed in every other one, and are compared round by round.
"""

import asyncio
import contextlib
import importlib.util
import resource
import shutil
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import psutil
from load import Calls, GrpcAio, H2load
from report import Column, Row, Section
from settings import Settings
from target import METHOD, Target

from quadriga_client.load.arrivals import ClosedLoop
from quadriga_client.load.engine.echo import EchoServer
from quadriga_client.load.engine.fleet import Fleet
from quadriga_client.load.status_codes import OK
from quadriga_client.load.target import LoadTarget

OURS = "quadriga load"
CALLERS = 32
REQUEST_BYTES, RESPONSE_BYTES = 12 * 1024, 200
CONNECTIONS = 4
TIMEOUT = 30.0
WARM_UP_SHARE = 0.3
COLUMNS = (
    Column("generator", "generator"),
    Column("rate", "req/s", ".0f"),
    Column("p50", "p50 ms", ".2f"),
    Column("p99", "p99 ms", ".2f"),
    Column("cpu_us", "cpu us", ".1f"),
    Column("echo_us", "echo cpu us", ".1f"),
    Column("rate_ratio", "req/s of ours", ".2f"),
    Column("cpu_ratio", "cpu of ours", ".2f"),
)


class Made(NamedTuple):
    """A closed loop: calls per second, latencies in ms, CPU microseconds per call of generator and echo server."""

    rate: float
    p50: float
    p99: float
    cpu_us: float
    echo_us: float


Generate = Callable[[Target, psutil.Process, float], Made]


def run(settings: Settings) -> Section:
    """All that are installed, in turns."""
    chosen = {name: generate for name, generate in GENERATORS.items() if installed(name)}
    seen: dict[str, list[Made]] = {name: [] for name in chosen}
    response = bytes(RESPONSE_BYTES)
    with EchoServer(response) as echo:
        sent = Target(echo.url, bytes(REQUEST_BYTES), response)
        for number in range(settings.rounds):
            for name in list(chosen) if number % 2 == 0 else reversed(chosen):
                seen[name].append(chosen[name](sent, psutil.Process(echo.pid), settings.seconds))
    rows = [row(name, rounds, seen[OURS]) for name, rounds in seen.items()]
    title = f"load generators: {CALLERS} callers"
    notes = [f"requests of {REQUEST_BYTES:,} bytes; the echo server shares the cores"]
    notes += [f"{name} is not installed" for name in GENERATORS if name not in chosen]
    return Section("generators", title, COLUMNS, rows, notes)


def row(name: str, rounds: list[Made], of_ours: list[Made]) -> Row:
    """Medians over the rounds: of a generator's figures, and of their ratios to ours in the same round."""
    ratios = Made(*np.median(np.array(rounds) / np.array(of_ours), axis=0).tolist())
    figures = Made(*np.median(rounds, axis=0).tolist())
    return {"generator": name, **figures._asdict(), "rate_ratio": ratios.rate, "cpu_ratio": ratios.cpu_us}


def installed(name: str) -> bool:
    """Whether a generator can be had here."""
    if name.startswith("h2load"):
        return shutil.which("h2load") is not None
    return name != "pyqwest" or importlib.util.find_spec("pyqwest") is not None


def ours(sent: Target, echo: psutil.Process, seconds: float) -> Made:
    """`quadriga load`'s, one process."""
    to = LoadTarget(url=sent.address, requests=(sent.request,), timeout=TIMEOUT)
    with Fleet(to, connections=CONNECTIONS, processes=1) as fleet:
        run = fleet.start(ClosedLoop(CALLERS))
        begin_ns = run.started_ns + round(seconds * WARM_UP_SHARE * 1e9)
        run.collect(begin_ns)
        generator = psutil.Process(fleet.pids[0])
        before, echo_before = cpu_seconds(generator), cpu_seconds(echo)
        samples = run.collect(begin_ns + round(seconds * 1e9))
        cpu, echo_cpu = cpu_seconds(generator) - before, cpu_seconds(echo) - echo_before
        run.finish()
    if not np.all(samples.codes == OK):
        raise SystemExit("the echo server refused calls")
    calls = Calls((samples.due - begin_ns) / 1e9, (samples.ended - samples.due) / 1e9)
    return made(calls, cpu, echo_cpu)


def measured(closed_loop: Callable[[Target, float], Calls], who: int) -> Generate:
    """A generator that runs in this process (RUSAGE_SELF), or in one that ends with its loop (RUSAGE_CHILDREN)."""

    def generate(sent: Target, echo: psutil.Process, seconds: float) -> Made:
        closed_loop(sent, seconds * WARM_UP_SHARE)
        before, echo_before = own_cpu_seconds(who), cpu_seconds(echo)
        calls = closed_loop(sent, seconds)
        return made(calls, own_cpu_seconds(who) - before, cpu_seconds(echo) - echo_before)

    return generate


def made(calls: Calls, cpu: float, echo_cpu: float) -> Made:
    """What was seen, from the calls and the CPU seconds that they took."""
    p50, p99 = np.percentile(calls.latencies, (50, 99)) * 1e3
    count = len(calls.starts)
    return Made(calls.rate, float(p50), float(p99), cpu / count * 1e6, echo_cpu / count * 1e6)


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def own_cpu_seconds(who: int) -> float:
    """User and system time of this process, or of those it has seen end."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def h2load(sent: Target, seconds: float) -> Calls:
    """A connection per caller."""
    return H2load().for_seconds(sent, CALLERS, seconds)


def h2load_sharing(sent: Target, seconds: float) -> Calls:
    """As many connections as `quadriga load`'s generator has here."""
    return H2load(CONNECTIONS).for_seconds(sent, CALLERS, seconds)


def grpc_aio(sent: Target, seconds: float) -> Calls:
    """All callers on one connection."""
    return GrpcAio().for_seconds(sent, CALLERS, seconds)


def pyqwest(sent: Target, seconds: float) -> Calls:
    """Rust's reqwest under asyncio, all callers on one connection."""
    return asyncio.run(_pyqwest(sent, seconds))


async def _pyqwest(sent: Target, seconds: float) -> Calls:
    from pyqwest import Client, HTTPTransport, HTTPVersion  # where it is installed

    body = b"\0" + struct.pack(">I", len(sent.request)) + sent.request
    url, headers = f"http://{sent.address}{METHOD}", {"content-type": "application/grpc", "te": "trailers"}
    seen: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    async with contextlib.AsyncExitStack() as stack:
        transport = await stack.enter_async_context(HTTPTransport(http_version=HTTPVersion.HTTP2))
        client = Client(transport)

        async def caller() -> None:
            while (started := time.perf_counter()) < end:
                response = await client.post(url, headers=headers, content=body)
                seen.append((started, time.perf_counter() - started))
                if response.trailers.get("grpc-status") != "0":
                    raise SystemExit("the echo server refused calls")

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    starts, latencies = np.array(seen, np.float64).reshape(-1, 2).T
    return Calls(starts, latencies)


GENERATORS: dict[str, Generate] = {
    OURS: ours,
    "h2load": measured(h2load, resource.RUSAGE_CHILDREN),
    f"h2load -c {CONNECTIONS}": measured(h2load_sharing, resource.RUSAGE_CHILDREN),
    "pyqwest": measured(pyqwest, resource.RUSAGE_SELF),
    "grpc.aio": measured(grpc_aio, resource.RUSAGE_SELF),
}
