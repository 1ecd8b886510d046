"""Served beside bare: what serving costs, per model, transport and concurrency."""

from contextlib import ExitStack

import numpy as np
from bare import Bare
from load import Loaded, measure, medians
from report import LOADED_COLUMNS, Column, Row, Section
from server_under_test import ServerUnderTest, server
from settings import Settings
from target import Target, request_for, target

from quadriga_client import Client

CALLERS = (1, 8, 32)
COLUMNS = (
    Column("model", "model"),
    Column("transport", "transport"),
    Column("callers", "c", "d"),
    Column("ratio", "served/bare", ".2f"),
    *LOADED_COLUMNS,
    Column("batch", "bare rows", "d"),
    Column("bare_ms", "bare ms", ".3f"),
    Column("over_ms", "over ms", ".2f"),
)

#: A server with a model, by transport, and what to send it.
Servers = dict[str, tuple[ServerUnderTest, Target]]


def run(settings: Settings) -> Section:
    """All models."""
    rows = [row for model in settings.models for row in measure_model(settings, model)]
    return Section("served", "served beside bare", COLUMNS, rows)


def measure_model(settings: Settings, model: str) -> list[Row]:
    """One model: in every round the bare call and each transport take turns."""
    with ExitStack() as stack:
        servers: Servers = {}
        for transport in settings.transports:
            under_test = stack.enter_context(server(settings.repository, model, transport))
            servers[transport] = under_test, target(under_test.grpc, request_for(under_test.grpc, model))
        with Client(next(iter(servers.values()))[0].grpc) as client:
            properties = client.metadata(model).properties
        batches = {callers: min(callers, max(1, int(properties["max_batch_size"]))) for callers in CALLERS}
        path = next((settings.repository / model / "1").iterdir())
        bare = stack.enter_context(Bare(path, properties["backend"], list(batches.values())))
        rows: list[Row] = []
        for callers, batch in batches.items():
            alone, served = take_turns(settings, bare, batch, servers, callers)
            for transport, rounds in served.items():
                row: Row = {"model": model, "backend": properties["backend"], "transport": transport}
                rows.append(row | {"callers": callers} | comparison(callers, batch, alone, rounds))
    return rows


def take_turns(
    settings: Settings, bare: Bare, batch: int, servers: Servers, callers: int
) -> tuple[list[float], dict[str, list[Loaded]]]:
    """The seconds of the bare call, and each transport's closed loops, by round."""
    alone: list[float] = []
    served: dict[str, list[Loaded]] = {transport: [] for transport in servers}
    for _ in range(settings.rounds):
        alone.append(bare.median_seconds(batch, settings.seconds))
        for transport, (under_test, sent) in servers.items():
            served[transport].append(measure(settings.client, sent, callers, settings.seconds, under_test.tree))
    return alone, served


def comparison(callers: int, batch: int, alone: list[float], served: list[Loaded]) -> Row:
    """The numbers of one row, medians of what the rounds say.

    What serving adds to a call is plain only where calls do not share a batch.
    """
    pairs = list(zip(served, alone, strict=True))
    row: Row = {**medians(served)._asdict(), "batch": batch, "bare_ms": float(np.median(alone)) * 1e3}
    row["ratio"] = float(np.median([each.rate * seconds / batch for each, seconds in pairs]))
    if callers == 1:
        row["over_ms"] = float(np.median([each.p50 - seconds * 1e3 for each, seconds in pairs]))
    return row
