"""Closed loops against a gRPC server: a fixed number of callers, each with one request under way.

h2load (Debian's nghttp2-client) is the client where it is installed: written in C, it takes little of the cores that
the server needs. grpc.aio in this process stands in for it otherwise. One measurement is comparable with another of the
same client only.
"""

import asyncio
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import grpc
import numpy as np
import numpy.typing as npt
from process_tree import ProcessTree
from target import METHOD, UNLIMITED, Target

Numbers = npt.NDArray[np.float64]
WARM_UP_SHARE = 0.2
#: Calls per caller in a warm-up; with no more, they are slow. And the fewest in a measurement of slow ones.
SLOW, FEWEST = 10, 8
#: Of the bytes that as many good answers would have; an answer that is a gRPC error has none.
BYTES_SHARE = 0.99


class Calls(NamedTuple):
    """Calls that were answered: when each began and how long it took, in seconds."""

    starts: Numbers
    latencies: Numbers

    @property
    def rate(self) -> float:
        """Calls per second from the first's begin to the last's end."""
        return len(self.starts) / float(np.max(self.starts + self.latencies) - np.min(self.starts))

    def steady(self, callers: int) -> "Steady":
        """Without the first and the last call of each caller, which share their batches with fewer others."""
        order = np.argsort(self.starts + self.latencies)
        ends = (self.starts + self.latencies)[order]
        kept = order[callers:-callers]
        return Steady(self.latencies[kept], len(kept) / float(ends[-callers - 1] - ends[callers - 1]))


class Steady(NamedTuple):
    """The middle of a closed loop: latencies in seconds, and calls per second."""

    latencies: Numbers
    rate: float


class Loaded(NamedTuple):
    """One closed loop: requests per second, latencies in milliseconds, the server's CPU microseconds per request."""

    rate: float
    p50: float
    p99: float
    cpu_us: float


class LoadClient(Protocol):
    """Something that keeps callers going against a target."""

    name: str

    def for_seconds(self, target: Target, callers: int, seconds: float) -> Calls:
        """Until the time is over."""

    def for_requests(self, target: Target, callers: int, requests: int) -> Calls:
        """Until so many were answered."""


class H2load:
    """h2load."""

    name = "h2load"

    def __init__(self, connections: int | None = None) -> None:
        """Says how.

        Args:
            connections: That the callers share evenly; None: each has one of its own.
        """
        self._connections = connections

    def for_seconds(self, target: Target, callers: int, seconds: float) -> Calls:
        """See `LoadClient`."""
        return self._run(target, callers, "-D", f"{round(seconds * 1000)}ms")

    def for_requests(self, target: Target, callers: int, requests: int) -> Calls:
        """See `LoadClient`."""
        return self._run(target, callers, "-n", str(requests))

    def _run(self, target: Target, callers: int, *until: str) -> Calls:
        with tempfile.TemporaryDirectory(prefix="quadriga-bench-") as folder:
            body, log = Path(folder, "body"), Path(folder, "log")
            body.write_bytes(b"\0" + struct.pack(">I", len(target.request)) + target.request)
            connections = self._connections or callers
            command = ["h2load", "-c", str(connections), "-m", str(callers // connections)]
            command += [*until, "-d", str(body), f"--log-file={log}"]
            command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
            command.append(f"http://{target.address}{METHOD}")
            summary = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            columns = np.array(log.read_bytes().split(), np.int64).reshape(-1, 3).T
        check_answers(summary, columns[1], target)
        return Calls(columns[0] / 1e6, columns[2] / 1e6)


def check_answers(summary: str, statuses: npt.NDArray[np.int64], target: Target) -> None:
    """Ends the program where answers were errors: to h2load a gRPC error is HTTP 200, without any data."""
    match = re.search(r"\((\d+)\) data", summary)
    received = int(match[1]) if match else 0
    expected = len(statuses) * len(target.answer)
    if np.any(statuses != 200) or received < expected * BYTES_SHARE:
        raise SystemExit(f"the server refused calls: {received} bytes of answers, expected {expected}\n{summary}")


class GrpcAio:
    """grpc.aio in this process, all callers on one connection."""

    name = "grpc.aio"

    def for_seconds(self, target: Target, callers: int, seconds: float) -> Calls:
        """See `LoadClient`."""
        end = time.perf_counter() + seconds
        return asyncio.run(closed_loop(target, callers, lambda begun: time.perf_counter() < end))

    def for_requests(self, target: Target, callers: int, requests: int) -> Calls:
        """See `LoadClient`."""
        return asyncio.run(closed_loop(target, callers, lambda begun: begun < requests))


async def closed_loop(target: Target, callers: int, goes_on: Callable[[int], bool]) -> Calls:
    """Keeps the callers calling for as long as `goes_on`, told the number of calls begun, says so."""
    seen: list[tuple[float, float]] = []
    begun = 0
    async with grpc.aio.insecure_channel(target.address, options=UNLIMITED) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)

        async def caller() -> None:
            nonlocal begun
            while goes_on(begun):
                begun += 1
                started = time.perf_counter()
                await call(target.request)
                seen.append((started, time.perf_counter() - started))

        await asyncio.gather(*(caller() for _ in range(callers)))
    starts, latencies = np.array(seen, np.float64).reshape(-1, 2).T
    return Calls(starts, latencies)


def load_client(name: str) -> LoadClient:
    """The client by its name; "auto" is h2load where it is installed."""
    if name == H2load.name or (name == "auto" and shutil.which("h2load")):
        return H2load()
    return GrpcAio()


def measure(client: LoadClient, target: Target, callers: int, seconds: float, tree: ProcessTree) -> Loaded:
    """One closed loop, after a short one that warms up.

    Where calls are slow the loop is cut by their number: one cut by time would leave out those that it interrupts.
    """
    warm_up = client.for_seconds(target, callers, seconds * WARM_UP_SHARE)
    before = tree.cpu_seconds()
    if len(warm_up.starts) > SLOW * callers:
        calls = client.for_seconds(target, callers, seconds)
    else:
        each = max(FEWEST, round(len(warm_up.starts) / WARM_UP_SHARE / callers))
        calls = client.for_requests(target, callers, each * callers)
    cpu_us = (tree.cpu_seconds() - before) / len(calls.starts) * 1e6
    steady = calls.steady(callers)
    p50, p99 = np.percentile(steady.latencies, (50, 99)) * 1e3
    return Loaded(steady.rate, float(p50), float(p99), cpu_us)


def medians(rounds: list[Loaded]) -> Loaded:
    """Each number's median over rounds."""
    return Loaded(*np.median(rounds, axis=0).tolist())


def ratios(rounds: list[Loaded], others: list[Loaded]) -> Loaded:
    """Each number divided by that of another server in the same round; medians over rounds."""
    return Loaded(*np.median(np.array(rounds) / np.array(others), axis=0).tolist())
