"""Open loop: requests arrive when they arrive, however the server fares; Poisson, at a share of the measured peak.

Latency counts from the time at which a request was due, not from when it was sent, so that a wait behind slow answers
is not left out.
"""

from typing import NamedTuple

import numpy as np
from load import Numbers
from report import Column, Row, Section
from server_under_test import server
from settings import Settings
from target import Target, request_for, target

from quadriga_client.load.arrivals import Poisson
from quadriga_client.load.engine.fleet import Fleet
from quadriga_client.load.samples import Samples
from quadriga_client.load.status_codes import OK
from quadriga_client.load.target import LoadTarget

PEAK_CALLERS = (8, 32)
SHARE = 0.7
CONNECTIONS = 8
#: An open loop runs this many times as long as a closed one: p99 needs many requests.
LENGTH = 3
#: Below this share of the wanted rate the client or the server could not hold it; lateness tells which one.
ENOUGH = 0.97
#: Requests that are not answered after this long, in seconds, are given up, and count as refused.
PATIENCE = 60.0
COLUMNS = (
    Column("transport", "transport"),
    Column("tail", "p99/p50", ".1f"),
    Column("p50", "p50 ms", ".2f"),
    Column("p99", "p99 ms", ".2f"),
    Column("wanted", "wanted req/s", ".0f"),
    Column("achieved", "achieved", ".3f"),
    Column("refused", "refused", ".4f"),
    Column("late_p99", "sent late p99 ms", ".2f"),
)


class Opened(NamedTuple):
    """One open loop: share of what was due that was answered meanwhile; latencies and lateness in seconds."""

    achieved: float
    latencies: Numbers
    refused: float
    lateness: Numbers


def run(settings: Settings) -> Section:
    """All transports: the peak first, as the median over rounds, then open loops at a share of it."""
    rows: list[Row] = []
    for transport in settings.transports:
        with server(settings.repository, settings.model, transport) as under_test:
            sent = target(under_test.grpc, request_for(under_test.grpc, settings.model))
            wanted = SHARE * peak(settings, sent)
            with fleet(sent) as generators:
                opened = [
                    open_loop(generators, Poisson(wanted, seed), settings.seconds * LENGTH)
                    for seed in range(settings.rounds)
                ]
        rows.append({"transport": transport, "wanted": wanted, **summary(opened)})
    notes = [
        f"WARNING: {row['transport']} answered {row['achieved']:.0%} of what was due; its latencies mean little"
        for row in rows
        if float(row["achieved"]) < ENOUGH
    ]
    title = f"open loop of {settings.model}: Poisson arrivals at {SHARE:.0%} of the peak of closed loops"
    return Section("open", title, COLUMNS, rows, notes)


def peak(settings: Settings, sent: Target) -> float:
    """The most calls per second of a closed loop; a median over rounds, since a lucky round is no peak."""
    rates = [
        [settings.client.for_seconds(sent, callers, settings.seconds).rate for callers in PEAK_CALLERS]
        for _ in range(settings.rounds)
    ]
    return float(np.median(rates, axis=0).max())


def summary(rounds: list[Opened]) -> dict[str, float]:
    """Medians over rounds."""
    p50, p99 = np.median([np.percentile(each.latencies, (50, 99)) for each in rounds], axis=0) * 1e3
    return {
        "tail": float(p99 / p50),
        "p50": float(p50),
        "p99": float(p99),
        "achieved": float(np.median([each.achieved for each in rounds])),
        "refused": float(np.median([each.refused for each in rounds])),
        "late_p99": float(np.median([np.percentile(each.lateness, 99) for each in rounds])) * 1e3,
    }


def fleet(sent: Target) -> Fleet:
    """One process that sends the request."""
    to = LoadTarget(url=sent.address, requests=(sent.request,), timeout=PATIENCE)
    return Fleet(to, connections=CONNECTIONS, processes=1)


def open_loop(generators: Fleet, arrivals: Poisson, seconds: float) -> Opened:
    """Sends every request when it is due, for a while, and waits for the last answer."""
    run = generators.start(arrivals)
    end_ns = run.started_ns + round(seconds * 1e9)
    samples = Samples.joined([run.collect(end_ns), run.finish()])
    samples = samples.where(samples.due < end_ns)
    good = samples.codes == OK
    in_time = good & (samples.ended <= end_ns)
    latencies = (samples.ended - samples.due)[good] / 1e9
    return Opened(float(in_time.mean()), latencies, 1 - float(good.mean()), (samples.begun - samples.due) / 1e9)
