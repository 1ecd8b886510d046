"""What serving costs: each model through the server beside the bare framework call, in the same run.

    python benchmarks/served_vs_bare.py [--repository DIR] [--model NAME] [--seconds S] [--rounds N] [--json FILE]

Per model and concurrency c (closed loop, one row per request, requests serialised once and sent as bytes):

    req/s, p50, p99   as one asyncio client in a process of its own sees them
    bare ms           the backend's `infer` in a process of its own while the server idles, at batch min(c, largest)
    over ms           p50 minus the bare call, at c = 1
    ratio             rows per second served / rows per second of the bare call at that batch
    cpu us            CPU time of server process and worker per request; of the client nothing

The client shares the machine's cores with the server, so on two cores the throughput is a lower bound.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from quadriga_client import Client
from quadriga_proto import inference_pb2 as pb
from quadriga_proto.codec import numpy_dtype, to_raw

METHOD = "/inference.GRPCInferenceService/ModelInfer"
CONCURRENCIES = (1, 8, 32)
DEFAULT_MODELS = ("same_savedmodel", "same_keras", "same_torchscript", "same_onnx")
WARM_UP_SHARE = 0.2


class Served(NamedTuple):
    """One closed loop: requests per second, latencies in milliseconds, CPU microseconds per request."""

    rate: float
    p50: float
    p99: float
    cpu_us: float


@contextmanager
def server(repository: Path, model: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server with one model; its address and process."""
    command = [sys.executable, "-m", "quadriga", "serve", "--repository", str(repository), "--grpc-port", "0"]
    command += ["--http-port", "0", "--model-control", "explicit", "--load-model", model, "--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout or ():
                if match := re.match(r"ready grpc=(\S+)", line):
                    yield match[1], psutil.Process(process.pid)
                    break
            else:
                raise SystemExit(f"the server did not start {model}")
        finally:
            process.terminate()


def request_for(address: str, model: str) -> bytes:
    """A serialised request of one random row."""
    with Client(address) as client:
        metadata = client.metadata(model)
    request = pb.ModelInferRequest(model_name=model)
    for tensor in metadata.inputs:
        shape = [1 if size == -1 else size for size in tensor.shape]
        array = np.random.default_rng(0).random(shape).astype(numpy_dtype(tensor.datatype))
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        request.raw_input_contents.append(to_raw(array))
    return request.SerializeToString()


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of a process and its children."""
    times = [member.cpu_times() for member in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


async def closed_loop(address: str, request: bytes, concurrency: int, seconds: float) -> list[tuple[float, float]]:
    """Keeps `concurrency` calls under way; start and latency of each, in seconds."""
    seen: list[tuple[float, float]] = []
    async with grpc.aio.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        end = time.perf_counter() + seconds

        async def caller() -> None:
            while (started := time.perf_counter()) < end:
                await call(request)
                seen.append((started, time.perf_counter() - started))

        await asyncio.gather(*(caller() for _ in range(concurrency)))
    return seen


def measure_served(address: str, process: psutil.Process, request: bytes, concurrency: int, seconds: float) -> Served:
    """One closed loop, with the first part of it thrown away."""
    asyncio.run(closed_loop(address, request, concurrency, seconds * WARM_UP_SHARE))
    before, started = cpu_seconds(process), time.perf_counter()
    seen = asyncio.run(closed_loop(address, request, concurrency, seconds))
    elapsed = time.perf_counter() - started
    latencies = np.array([latency for _, latency in seen]) * 1e3
    cpu = (cpu_seconds(process) - before) / len(seen) * 1e6
    return Served(len(seen) / elapsed, float(np.median(latencies)), float(np.percentile(latencies, 99)), cpu)


class Bare:
    """The backend's `infer` in a process of its own, run on demand; idle in between."""

    def __init__(self, path: Path, backend: str, batches: list[int]) -> None:
        """Starts the process and loads the model."""
        command = [sys.executable, __file__, "--bare", json.dumps([str(path), backend, batches])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ask("ready")

    def median_seconds(self, batch: int, seconds: float) -> float:
        """Runs one batch size for a while; the median of a call."""
        return float(self._ask(f"{batch} {seconds}"))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _ask(self, question: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("started without pipes")
        print(question, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("answer "):
                return line.removeprefix("answer ").strip()
        raise SystemExit("the bare process ended")


def run_bare(path: str, backend_name: str, batches: list[int]) -> None:
    """What `Bare` starts: answers each line of stdin."""
    from quadriga.backends import import_backend
    from quadriga.backends.base import ModelSource, zeros
    from quadriga.model_config import default_threads

    backend = import_backend(backend_name)()
    source = ModelSource(path=path, threads=default_threads(1, psutil.cpu_count() or 1))
    backend.prepare(source)
    spec = backend.load(source)
    backend.warm_up(spec, sorted(batches))
    for line in sys.stdin:
        if line.strip() == "ready":
            print("answer ready", flush=True)
            continue
        batch, seconds = line.split()
        shapes = [zeros(tensor, int(batch) if spec.batches else None) for tensor in spec.inputs]
        inputs = [np.random.default_rng(0).random(array.shape).astype(array.dtype) for array in shapes]
        taken = []
        end = time.perf_counter() + float(seconds)
        while (started := time.perf_counter()) < end:
            backend.infer(inputs)
            taken.append(time.perf_counter() - started)
        print(f"answer {np.median(taken)}", flush=True)


def measure(repository: Path, model: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """All rows of one model: medians over rounds, in each of which bare and served take turns."""
    with server(repository, model) as (address, process):
        with Client(address) as client:
            properties = client.metadata(model).properties
        largest = int(properties["max_batch_size"])
        path = next((repository / model / "1").iterdir())
        batches = {concurrency: min(concurrency, largest) for concurrency in CONCURRENCIES}
        bare = Bare(path, properties["backend"], sorted(set(batches.values())))
        request = request_for(address, model)
        seen: dict[int, list[list[float]]] = {concurrency: [] for concurrency in CONCURRENCIES}
        for _ in range(rounds):
            for concurrency, batch in batches.items():
                alone = bare.median_seconds(batch, seconds)
                served = measure_served(address, process, request, concurrency, seconds)
                over_ms = served.p50 - alone * 1e3
                seen[concurrency].append([*served, alone * 1e3, over_ms, served.rate / (batch / alone)])
        bare.close()
    keys = (*Served._fields, "bare_ms", "over_ms", "ratio")
    return [
        {
            "model": model,
            "backend": properties["backend"],
            "concurrency": concurrency,
            **dict(zip(keys, np.median(values, axis=0).tolist(), strict=True)),
        }
        for concurrency, values in seen.items()
    ]


def show(rows: list[dict[str, Any]]) -> None:
    """Prints the table."""
    table = Table(box=None)
    for heading in ("model", "c", "req/s", "p50 ms", "p99 ms", "cpu us", "bare ms", "over ms", "ratio"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for row in rows:
        over = f"{row['over_ms']:.2f}" if row["concurrency"] == 1 else ""
        table.add_row(
            row["model"],
            str(row["concurrency"]),
            f"{row['rate']:.0f}",
            f"{row['p50']:.2f}",
            f"{row['p99']:.2f}",
            f"{row['cpu_us']:.0f}",
            f"{row['bare_ms']:.3f}",
            over,
            f"{row['ratio']:.2f}",
        )
    Console().print(table)


def main() -> None:
    """Reads the flags, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=Path("models/repository"))
    parser.add_argument("--model", action="append", help="repeatable; default: the same network in four formats")
    parser.add_argument("--seconds", type=float, default=2.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=3, help="bare and served take turns; medians are shown")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        run_bare(*json.loads(options.bare))
        return
    rows = []
    for model in options.model or DEFAULT_MODELS:
        rows += measure(options.repository, model, options.seconds, options.rounds)
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
