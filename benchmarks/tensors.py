"""Big tensors: bytes per second through a model that returns its input, against a plain copy in memory."""

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from load import Loaded, measure, medians
from report import LOADED_COLUMNS, Column, Row, Section
from server_under_test import ServerUnderTest, server
from settings import Settings
from target import Target, request_for, target

MODEL = "identity"
SHAPE = (224, 224, 3)
ROWS = (1, 32)
CALLERS = (1, 4)
COLUMNS = (
    Column("transport", "transport"),
    Column("rows", "rows", "d"),
    Column("megabytes", "MB", ".1f"),
    Column("callers", "c", "d"),
    Column("ratio", "served/copy", ".3f"),
    Column("served_gb", "served GB/s", ".2f"),
    Column("copied_gb", "copy GB/s", ".2f"),
    *LOADED_COLUMNS,
)


def run(settings: Settings) -> Section:
    """All sizes and concurrencies."""
    rows: list[Row] = []
    with ExitStack() as stack:
        repository = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quadriga-bench-")))
        write_identity(repository)
        for transport in settings.transports:
            with server(repository, MODEL, transport) as under_test:
                for size in ROWS:
                    sent = target(under_test.grpc, request_for(under_test.grpc, MODEL, size))
                    for callers in CALLERS:
                        seen = measure_size(settings, under_test, sent, size, callers)
                        rows.append({"transport": transport, **seen})
    note = "GB/s: bytes of the tensor, which crosses once each way; the copy counts them once too"
    return Section("tensors", f"an FP32 tensor of {list(SHAPE)} per row, echoed", COLUMNS, rows, (note,))


def measure_size(settings: Settings, under_test: ServerUnderTest, sent: Target, rows: int, callers: int) -> Row:
    """One size: in every round the copy and a closed loop take turns."""
    loaded: list[Loaded] = []
    copied: list[float] = []
    for _ in range(settings.rounds):
        copied.append(copied_per_second(rows, settings.seconds / 2))
        loaded.append(measure(settings.client, sent, callers, settings.seconds, under_test.tree))
    return {"rows": rows, "callers": callers, **medians(loaded)._asdict(), **speeds(rows, loaded, copied)}


def write_identity(repository: Path) -> None:
    """A repository with the model, which is numpy alone and returns its inputs."""
    folder = repository / MODEL / "1"
    folder.mkdir(parents=True)
    content = {"inputs": [{"name": "x", "datatype": "FP32", "shape": SHAPE}]}
    (folder / "model.fake").write_text(json.dumps(content))
    (folder.parent / "model.toml").write_text(f"max_batch_size = {max(ROWS)}\n")


def speeds(rows: int, loaded: list[Loaded], copied: list[float]) -> Row:
    """Gigabytes per second, served and copied, and how they compare; medians over rounds."""
    served = np.array([each.rate for each in loaded]) * tensor(rows).nbytes
    return {
        "megabytes": tensor(rows).nbytes / 1e6,
        "ratio": float(np.median(served / np.array(copied))),
        "served_gb": float(np.median(served)) / 1e9,
        "copied_gb": float(np.median(copied)) / 1e9,
    }


def copied_per_second(rows: int, seconds: float) -> float:
    """Bytes per second of numpy's copy from one place to another."""
    source = tensor(rows)
    goal = np.empty_like(source)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        started = time.perf_counter()
        np.copyto(goal, source)
        taken.append(time.perf_counter() - started)
    return source.nbytes / float(np.median(taken))


def tensor(rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """An input of so many rows."""
    return np.ones((rows, *SHAPE), np.float32)
