"""One CNN at rising concurrency: throughput, latency, CPU and how full the batches are, per transport."""

from contextlib import ExitStack

import numpy as np
from load import Loaded, measure, medians
from report import LOADED_COLUMNS, Column, Row, Section
from server_under_test import ServerUnderTest, server
from settings import Settings
from target import Target, request_for, target

CALLERS = (1, 8, 32, 128)
COLUMNS = (
    Column("transport", "transport"),
    Column("callers", "c", "d"),
    Column("speed_up", "req/s of c=1", ".2f"),
    Column("tail", "p99/p50", ".1f"),
    *LOADED_COLUMNS,
    Column("rows_per_batch", "rows per batch", ".1f"),
)
_BATCHES = "quadriga_batch_size"


def run(settings: Settings) -> Section:
    """All transports, in turns."""
    rounds: dict[tuple[str, int], list[tuple[Loaded, float]]] = {}
    with ExitStack() as stack:
        servers = [
            (transport, stack.enter_context(server(settings.repository, settings.model, transport)))
            for transport in settings.transports
        ]
        targets = [target(each.grpc, request_for(each.grpc, settings.model)) for _, each in servers]
        for _ in range(settings.rounds):
            for callers in CALLERS:
                for (transport, under_test), sent in zip(servers, targets, strict=True):
                    seen = one_round(settings, under_test, sent, callers)
                    rounds.setdefault((transport, callers), []).append(seen)
    order = [(transport, callers) for transport in settings.transports for callers in CALLERS]
    rows = [to_row(*key, rounds[key]) for key in order]
    alone = {row["transport"]: row["rate"] for row in rows if row["callers"] == 1}
    for row in rows:
        row["speed_up"] = float(row["rate"]) / float(alone[row["transport"]])
    return Section("onnx", f"{settings.model} at rising concurrency", COLUMNS, rows)


def one_round(settings: Settings, under_test: ServerUnderTest, sent: Target, callers: int) -> tuple[Loaded, float]:
    """One closed loop, and the rows per batch meanwhile."""
    rows, batches = under_test.metric(f"{_BATCHES}_sum"), under_test.metric(f"{_BATCHES}_count")
    loaded = measure(settings.client, sent, callers, settings.seconds, under_test.tree)
    rows, batches = under_test.metric(f"{_BATCHES}_sum") - rows, under_test.metric(f"{_BATCHES}_count") - batches
    return loaded, rows / batches


def to_row(transport: str, callers: int, seen: list[tuple[Loaded, float]]) -> Row:
    """Medians over rounds."""
    loaded = medians([each for each, _ in seen])
    rows_per_batch = float(np.median([rows for _, rows in seen]))
    row: Row = {"transport": transport, "callers": callers, **loaded._asdict(), "rows_per_batch": rows_per_batch}
    return row | {"tail": loaded.p99 / loaded.p50}
