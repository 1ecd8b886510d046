"""Loading: what a model's load costs the requests of another one that serves meanwhile."""

import threading
import time
from typing import NamedTuple

import numpy as np
from open_loop import fleet, open_loop
from report import Column, Row, Section
from server_under_test import server
from settings import Settings
from target import request_for, target

from quadriga_client import Client
from quadriga_client.load.arrivals import Poisson
from quadriga_client.load.engine.fleet import Fleet

#: Far below what a server can answer, so that what is seen is the load's doing.
RATE = 200.0
LOAD_SECONDS = 300.0
COLUMNS = (
    Column("loaded", "loaded meanwhile"),
    Column("ratio", "p99/usual p99", ".2f"),
    Column("usual_p99", "usual p99 ms", ".2f"),
    Column("p99", "p99 ms", ".2f"),
    Column("worst", "max ms", ".1f"),
    Column("requests", "requests", "d"),
    Column("load_s", "load s", ".2f"),
)


class Seen(NamedTuple):
    """One round: percentiles in ms, and the seconds that the load took."""

    usual_p99: float
    p99: float
    worst: float
    requests: float
    load_s: float


def run(settings: Settings) -> Section:
    """One model serves; in every round each of the others is loaded and unloaded."""
    others = [model for model in settings.models if model != settings.model]
    with server(settings.repository, settings.model, settings.transports[0]) as running:
        sent = target(running.grpc, request_for(running.grpc, settings.model))
        seen: dict[str, list[Seen]] = {model: [] for model in others}
        with fleet(sent) as generators:
            for number in range(settings.rounds):
                for model in others:
                    seen[model].append(measure(generators, sent.address, model, number))
    rows: list[Row] = []
    for model, rounds in seen.items():
        row = Seen(*map(float, np.median(np.array(rounds), axis=0)))
        ratio = float(np.median([each.p99 / each.usual_p99 for each in rounds]))
        rows.append({"loaded": model, "ratio": ratio, **row._asdict(), "requests": round(row.requests)})
    title = f"{settings.model} at {RATE:.0f} req/s, Poisson arrivals, while another model is loaded"
    note = "the load has as many threads to itself as the machine gives: a worker imports its framework and warms up"
    return Section("loading", title, COLUMNS, rows, (note,))


def measure(generators: Fleet, address: str, model: str, seed: int) -> Seen:
    """The open loop for as long as a load takes, without one and with one."""
    seconds = load(address, model)  # also reads the files into the page cache
    arrivals = Poisson(RATE, seed)
    usual = open_loop(generators, arrivals, seconds).latencies * 1e3
    took: list[float] = []
    loading = threading.Thread(target=lambda: took.append(load(address, model)))
    loading.start()
    during = open_loop(generators, arrivals, seconds).latencies * 1e3
    loading.join()
    return Seen(
        float(np.percentile(usual, 99)), float(np.percentile(during, 99)), float(during.max()), len(during), took[0]
    )


def load(address: str, model: str) -> float:
    """Loads a model and unloads it; the seconds until it served."""
    with Client(address, timeout=LOAD_SECONDS) as client:
        start = time.perf_counter()
        client.load_model(model)
        seconds = time.perf_counter() - start
        client.unload_model(model)
    return seconds
