"""Instances: what further workers of a model add to its throughput.

Two models, one row per execution: one that waits 5 ms and computes nothing, so that only the server could keep its
instances from scaling, and the real one, whose instances have a thread each and share the machine's cores.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from load import Loaded, measure, medians
from report import LOADED_COLUMNS, Column, Row, Section
from server_under_test import ServerUnderTest, server
from settings import Settings
from target import Target, request_for, target

INSTANCES = (1, 2, 4, 8)
CALLERS = 32
WAIT_MS = 5
WAITING = "waiting"
COLUMNS = (
    Column("model", "model"),
    Column("instances", "instances", "d"),
    Column("ratio", "req/s of 1", ".2f"),
    *LOADED_COLUMNS,
)


def run(settings: Settings) -> Section:
    """Both models; in every round all numbers of instances take turns."""
    rows: list[Row] = []
    for model in (WAITING, settings.model):
        with ExitStack() as stack:
            running = {count: stack.enter_context(instances(settings, model, count)) for count in INSTANCES}
            sent = {count: target(each.grpc, request_for(each.grpc, model)) for count, each in running.items()}
            seen = take_turns(settings, running, sent)
        alone = medians(seen[1]).rate
        for count, rounds in seen.items():
            row = medians(rounds)
            rows.append({"model": model, "instances": count, "ratio": row.rate / alone, **row._asdict()})
    note = f"{CALLERS} callers; {WAITING!r} waits {WAIT_MS} ms per row, and can answer {1000 // WAIT_MS} a second"
    return Section("instances", "instances of a model", COLUMNS, rows, (note,))


def take_turns(
    settings: Settings, running: dict[int, ServerUnderTest], sent: dict[int, Target]
) -> dict[int, list[Loaded]]:
    """The closed loops of each number of instances, by round."""
    seen: dict[int, list[Loaded]] = {count: [] for count in running}
    for _ in range(settings.rounds):
        for count, each in running.items():
            seen[count].append(measure(settings.client, sent[count], CALLERS, settings.seconds, each.tree))
    return seen


@contextmanager
def instances(settings: Settings, model: str, count: int) -> Iterator[ServerUnderTest]:
    """A server with so many instances of a model."""
    with tempfile.TemporaryDirectory(prefix="quadriga-bench-") as folder:
        write_model(Path(folder, model), settings.repository / model, count)
        with server(Path(folder), model, settings.transports[0]) as running:
            yield running


def write_model(folder: Path, original: Path, count: int) -> None:
    """A model's folder with a configuration of so many instances."""
    if folder.name == WAITING:
        (folder / "1").mkdir(parents=True)
        content = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4]}], "sleep_ms": WAIT_MS}
        (folder / "1" / "model.fake").write_text(json.dumps(content))
    else:
        shutil.copytree(original / "1", folder / "1")
    config = f"max_batch_size = 1\n[parameters]\nthreads = 1\n[[instance_group]]\ncount = {count}\n"
    (folder / "model.toml").write_text(config)
