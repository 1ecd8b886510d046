"""Load tests' reports for tests: of made-up latencies, with every part that a report can have."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from hdrh.histogram import HdrHistogram

from quadriga_client.load.report import (
    PERCENTILES,
    SCHEMA,
    Ceiling,
    Distribution,
    Fingerprint,
    Interval,
    Mlperf,
    Percentile,
    Report,
    Request,
    Row,
    ServerSide,
    Slo,
    Window,
)

#: Names that break what does not escape them.
NASTY_NAMES = (
    "</script><script>alert(1)</script>",
    "\"double\" & 'single' <b>bold</b>",
    "two\nlines\tand | pipes",
    "$x^2$ *stars* `ticks` [link](http://example.org)",
    "-->]]><!--",
    "模型 \x00\x1b[31m",
)


def distribution(mean_ms: float = 5.0, count: int = 2000, *, intervals: bool = True, seed: int = 0) -> Distribution:
    """Of latencies that are spread as those of servers are: log-normal."""
    histogram = HdrHistogram(1, 3_600_000_000_000, 3)
    if count == 0:
        none = tuple(Percentile(percentile=each, ms=Interval(value=0.0)) for each in PERCENTILES)
        return Distribution(
            count=0, mean_ms=0.0, max_ms=0.0, percentiles=none, histogram=histogram.encode().decode("ascii")
        )
    durations = np.random.default_rng(seed).lognormal(np.log(mean_ms), 0.35, count)
    for duration in durations:
        histogram.record_value(int(duration * 1e6))
    percentiles = []
    for percentile in PERCENTILES:
        value = float(np.percentile(durations, percentile))
        spread = 0.02 + 0.1 * percentile / 100
        ends = {"low": value * (1 - spread), "high": value * (1 + spread)} if intervals else {}
        percentiles.append(Percentile(percentile=percentile, ms=Interval(value=value, **ends)))
    return Distribution(
        count=count,
        mean_ms=float(durations.mean()),
        max_ms=float(durations.max()),
        percentiles=tuple(percentiles),
        histogram=histogram.encode().decode("ascii"),
    )


def server_side(mean_ms: float = 5.0, **changes: Any) -> ServerSide:
    """What a server says of requests with that mean service time."""
    shares = {"queue": 0.25, "assembly": 0.06, "compute": 0.5, "response": 0.04, "transport": 0.15}
    phases: dict[str, Any] = {f"{name}_ms": share * mean_ms for name, share in shares.items()}
    told = ServerSide(
        source="http://127.0.0.1:8080/metrics", requests=2000, rows_per_batch=3.4, memory_mb=412.0, cpu_ms=1.1, **phases
    )
    return replace(told, **changes)


def row(
    level: float = 8,
    mode: Literal["closed", "open"] = "closed",
    *,
    mean_ms: float = 5.0,
    throughput: float = 1000.0,
    **changes: Any,
) -> Row:
    """A stable row without errors; `changes` are fields that differ."""
    windows = [
        Window(seconds=1.0, throughput=throughput * share, p99_ms=mean_ms * 2.2 / share, measured=measured)
        for share, measured in ((0.6, False), (0.9, False), (1.01, True), (0.99, True), (1.0, True))
    ]
    plain = Row(
        mode=mode,
        arrivals="closed" if mode == "closed" else "poisson",
        level=level,
        seconds=3.0,
        requests=2000,
        throughput=Interval(value=throughput, low=throughput * 0.97, high=throughput * 1.03),
        rows_per_second=throughput,
        latency=distribution(mean_ms, seed=int(level)),
        service=distribution(mean_ms * 0.98, seed=int(level)),
        lag_p99_ms=0.05,
        errors={},
        stable=True,
        saturated=False,
        windows=tuple(windows),
        server=server_side(mean_ms),
    )
    return replace(plain, **changes)


def silent_row(level: float = 8, **changes: Any) -> Row:
    """A row whose requests all failed."""
    nothing: dict[str, Any] = {
        "throughput": Interval(value=0.0),
        "rows_per_second": 0.0,
        "latency": distribution(count=0),
        "service": distribution(count=0),
        "errors": {"UNAVAILABLE": 2000},
        "stable": False,
        "windows": (Window(seconds=1.0, throughput=0.0, p99_ms=None, measured=True),),
        "server": None,
    }
    return replace(row(level), **{**nothing, **changes})


def report(rows: Sequence[Row] = (), **changes: Any) -> Report:
    """A report of these rows, and of no more than they need."""
    plain = Report(
        schema=SCHEMA,
        quadriga="0.1.0",
        created="2030-01-02T03:04:05Z",
        command="quadriga load same_onnx --url 127.0.0.1:8001",
        url="127.0.0.1:8001",
        server="quadriga 0.1.0",
        platform="onnx",
        request=request(),
        connections=4,
        processes=2,
        fingerprint=Fingerprint(
            machine={
                "cpu": "Some CPU at 2.50GHz",
                "cores": "2",
                "memory_mb": "7953",
                "kernel": "6.1.0",
                "governor": "none",
            },
            versions={"python": "3.11.2", "numpy": "2.2.0"},
            load_average=0.21,
        ),
        rows=tuple(rows),
    )
    return replace(plain, **changes)


def request(**changes: Any) -> Request:
    """One image of 32 by 32 pixels."""
    plain = Request(
        model="same_onnx",
        version="1",
        bytes=12_345,
        response_bytes=97,
        rows=1,
        inputs={"image": "FP32[1,32,32,3]"},
        content="random numbers",
    )
    return replace(plain, **changes)


def full_report(**changes: Any) -> Report:
    """A sweep of a closed loop and some rates, with all that can be in a report."""
    closed = [
        row(callers, mean_ms=1.2 + callers * 0.5, throughput=1900 * callers / (callers + 2.5))
        for callers in (1, 2, 4, 8, 16, 32)
    ]
    opened = [
        row(rate, "open", mean_ms=1.5 + 1.2 / (1.02 - rate / 1800), throughput=rate, keeps_up=True)
        for rate in (200, 600, 1000, 1400)
    ]
    unstable = row(1600, "open", mean_ms=18, throughput=1580, stable=False, errors={"RESOURCE_EXHAUSTED": 12})
    saturated = row(
        64, mean_ms=40, throughput=1750, saturated=True, notes=("The generator was 9.1 ms late at p99, of 55 ms.",)
    )
    whole: dict[str, Any] = {
        "ceiling": Ceiling(throughput=2450.0, p99_ms=4.1, concurrency=64),
        "slo": Slo(objective="p99<15ms", rate=1450.0, failed_rate=1520.0),
        "mlperf": (
            Mlperf(
                scenario="Server",
                valid=False,
                reasons=("Min duration: 3 s of 60 s",),
                summary={"Scheduled samples per second": "998.2", "99.00 percentile latency (ns)": "14200000"},
            ),
        ),
        "settings": {"window": "1 s", "agreeing windows": "3", "tolerance": "10 %", "seed": "0"},
    }
    return report([*closed, saturated, *opened, unstable], **{**whole, **changes})
