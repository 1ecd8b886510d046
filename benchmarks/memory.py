"""Resident memory before and after many requests, and its slope."""

import numpy as np
from load import WARM_UP_SHARE
from report import Column, Row, Section
from server_under_test import server
from settings import Settings
from target import request_for, target

CALLERS = 32
#: As many measurements of resident memory, evenly spread.
SAMPLES = 20
COLUMNS = (
    Column("process", "process"),
    Column("requests", "requests", ",d"),
    Column("growth", "after/before", ".3f"),
    Column("slope", "bytes/request", ".2f"),
    Column("started_mb", "started MB", ".1f"),
    Column("before_mb", "before MB", ".1f"),
    Column("after_mb", "after MB", ".1f"),
)


def run(settings: Settings) -> Section:
    """Server and worker under a closed loop, sampled between its parts."""
    part = max(CALLERS, settings.requests // SAMPLES)
    with server(settings.repository, settings.model, settings.transports[0]) as under_test:
        sent = target(under_test.grpc, request_for(under_test.grpc, settings.model))
        started = under_test.tree.resident()
        settings.client.for_requests(sent, CALLERS, round(settings.requests * WARM_UP_SHARE))
        samples = [under_test.tree.resident()]
        for _ in range(SAMPLES):
            settings.client.for_requests(sent, CALLERS, part)
            samples.append(under_test.tree.resident())
    rows: list[Row] = []
    answered = np.arange(SAMPLES + 1) * part
    for name, at_start, sizes in zip(("server", "worker"), started, np.array(samples, np.float64).T, strict=True):
        row: Row = {"process": name, "requests": SAMPLES * part, "growth": float(sizes[-1] / sizes[0])}
        row |= {"slope": float(np.polyfit(answered, sizes, 1)[0]), "started_mb": at_start / 1e6}
        rows.append(row | {"before_mb": float(sizes[0] / 1e6), "after_mb": float(sizes[-1] / 1e6)})
    note = f"before: after a warm-up of {WARM_UP_SHARE:.0%} as many requests, in which pools grow to their size"
    title = f"resident memory over {SAMPLES * part:,} requests of {settings.model}, transport {settings.transports[0]}"
    return Section("memory", title, COLUMNS, rows, (note,))
