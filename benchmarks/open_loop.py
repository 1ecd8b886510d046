"""Open loop: requests arrive when they arrive, however the server fares; Poisson, at a share of the measured peak.

Latency counts from the time at which a request was due, not from when it was sent, so that a wait behind slow answers
is not left out.
"""

import select
import time
from contextlib import ExitStack, closing
from typing import NamedTuple

import numpy as np
from http2 import Connection
from load import BYTES_SHARE, Numbers
from report import Column, Row, Section
from server_under_test import server
from settings import Settings
from target import Target, request_for, target

PEAK_CALLERS = (8, 32)
SHARE = 0.7
CONNECTIONS = 8
#: An open loop runs this many times as long as a closed one: p99 needs many requests.
LENGTH = 3
#: Below this share of the wanted rate the client or the server could not hold it; lateness tells which one.
ENOUGH = 0.97
#: Requests that are still not answered after this long, in seconds, end the measurement.
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
    """One open loop: answers per second, their latencies and how late the client sent, in seconds; share refused."""

    rate: float
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
            opened = [
                open_loop(sent, arrivals(wanted, settings.seconds * LENGTH, seed)) for seed in range(settings.rounds)
            ]
        rows.append({"transport": transport, "wanted": wanted, **summary(opened, wanted)})
    notes = [
        f"WARNING: {row['transport']} answered {row['achieved']:.0%} of the wanted rate; its latencies mean little"
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


def summary(rounds: list[Opened], wanted: float) -> dict[str, float]:
    """Medians over rounds."""
    p50, p99 = np.median([np.percentile(each.latencies, (50, 99)) for each in rounds], axis=0) * 1e3
    return {
        "tail": float(p99 / p50),
        "p50": float(p50),
        "p99": float(p99),
        "achieved": float(np.median([each.rate for each in rounds])) / wanted,
        "refused": float(np.median([each.refused for each in rounds])),
        "late_p99": float(np.median([np.percentile(each.lateness, 99) for each in rounds])) * 1e3,
    }


def arrivals(rate: float, seconds: float, seed: int) -> Numbers:
    """When requests are due, in seconds from the start; as many as the time holds on average.

    The gaps are drawn at random and then scaled, so that the rate of the sample is the wanted one.
    """
    count = max(1, round(rate * seconds))
    gaps = np.random.default_rng(seed).exponential(size=count)
    due: Numbers = np.cumsum(gaps * (count / rate / gaps.sum()))
    return due


def open_loop(sent: Target, due: Numbers) -> Opened:
    """Sends every request when it is due, and waits for the last answer.

    Raises:
        SystemExit: Answers did not come.
    """
    answered, begun, good = np.zeros_like(due), np.zeros_like(due), np.zeros(due.shape, bool)
    with ExitStack() as stack:
        connections = [Connection(sent.address, sent.request) for _ in range(CONNECTIONS)]
        for connection in connections:
            stack.enter_context(closing(connection.socket))
        greet(connections)
        start = time.perf_counter()
        following, left = 0, len(due)
        while left:
            now = time.perf_counter() - start
            while following < len(due) and due[following] <= now:
                connections[following % CONNECTIONS].send(following)
                begun[following] = time.perf_counter() - start
                following += 1
            wait = due[following] - (time.perf_counter() - start) if following < len(due) else PATIENCE
            for number, received in receive(connections, max(0.0, wait)):
                answered[number] = time.perf_counter() - start
                good[number] = received >= len(sent.answer) * BYTES_SHARE
                left -= 1
            if left and following == len(due) and time.perf_counter() - start > due[-1] + PATIENCE:
                raise SystemExit(f"{left} requests of the open loop were not answered")
    rate = good.sum() / float(answered.max())
    return Opened(rate, (answered - due)[good], 1 - float(good.mean()), begun - due)


def greet(connections: list[Connection]) -> None:
    """Exchanges settings, so that the server's limits are known before the first request."""
    for connection in connections:
        connection.flush()
    end = time.perf_counter() + 0.1
    while time.perf_counter() < end:
        receive(connections, 0.02)


def receive(connections: list[Connection], seconds: float) -> list[tuple[int, int]]:
    """Waits for sockets; the requests whose answers ended, with their bytes."""
    by_socket = {connection.socket: connection for connection in connections}
    writing = [connection.socket for connection in connections if connection.wants_to_write]
    readable, writable, _ = select.select(by_socket, writing, [], seconds)
    for each in writable:
        by_socket[each].flush()
    return [(ended.request, ended.received) for each in readable for ended in by_socket[each].receive()]
