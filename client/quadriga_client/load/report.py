"""A load test's report: what every output format shows, and what JSON holds. Pure.

These classes are the schema: msgspec encodes, decodes and describes them. Durations are in milliseconds unless a name
says otherwise. A field is only ever added, with a default; anything else needs another `SCHEMA`.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

SCHEMA: Final = "quadriga.load/1"
#: Of latencies, in the order of every table.
PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and its 95 % confidence interval; `low` and `high` are None where too little was seen to give one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """A percentile, as 99.9, and its value in ms."""

    percentile: float
    ms: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Durations.

    Attributes:
        count: How many.
        mean_ms: Their mean.
        max_ms: The largest.
        percentiles: Those of `PERCENTILES`.
        histogram: HdrHistogram's compressed encoding, of ns with three significant digits: reports can be merged.
    """

    count: int
    mean_ms: float
    max_ms: float
    percentiles: tuple[Percentile, ...]
    histogram: str

    def percentile_ms(self, percentile: float) -> float:
        """The value of one of `PERCENTILES`."""
        return next(each.ms.value for each in self.percentiles if each.percentile == percentile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A piece of a run, by the ends of its requests.

    Attributes:
        seconds: Its length.
        throughput: Answers with OK per second.
        p99_ms: Of latencies; None where nothing was answered.
        measured: Whether it is one of those that the row is made of; those before are warm-up.
    """

    seconds: float
    throughput: float
    p99_ms: float | None
    measured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSide:
    """What the server said of the same time, as means per request, in ms; None where it does not say.

    Attributes:
        source: Who said it: the /metrics page's URL, or the rpc "ModelStatistics".
        requests: That it answered meanwhile.
        queue_ms: Waiting for a batch and for a worker.
        assembly_ms: Copying rows into a batch; a batch's time counts for each of its requests.
        compute_ms: The backend.
        response_ms: From a batch's outputs to the response.
        transport_ms: What is left of the client's mean service time: network, HTTP/2, and this machine's scheduler;
            None where the server's means are not of our requests alone.
        rows_per_batch: On average.
        cpu_ms: CPU time of the model's workers and the server process per request.
        only_ours: Whether it answered as many requests as we sent, so that nobody else was calling.
        memory_mb: Resident at the end, the model's workers and the server process, in 10^6 bytes; pages that processes
            share count in each.
        note: Why figures are missing that the server does tell; empty where none is.
    """

    source: str
    requests: int
    queue_ms: float | None = None
    assembly_ms: float | None = None
    compute_ms: float | None = None
    response_ms: float | None = None
    transport_ms: float | None = None
    rows_per_batch: float | None = None
    cpu_ms: float | None = None
    only_ours: bool = True
    memory_mb: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One level of load.

    Attributes:
        mode: Closed loop, or open.
        arrivals: "closed", "poisson", "constant" or "trace".
        level: Callers, or wanted requests per second.
        seconds: Measured, without the warm-up.
        requests: Due in that time; of them answered with OK: `latency.count`.
        throughput: Answers with OK per second.
        rows_per_second: Likewise, in rows of the input.
        latency: From when requests were due, answered ones.
        service: The same requests' time from when the generator came to them.
        lag_p99_ms: How late the generator itself was.
        errors: gRPC's code by name -> how many requests.
        stable: Whether the measured windows stayed together, within the tolerance or by no more than chance.
        saturated: Whether the generator fell behind, so that the latencies are its own and not the server's.
        keeps_up: Whether the server did with the rate of an open loop, so that its backlog does not grow; None in a
            closed loop, and where the generator was saturated.
        notes: What a reader must know, in sentences.
        windows: In order.
        server: The server's side.
    """

    mode: Literal["closed", "open"]
    arrivals: Literal["closed", "poisson", "constant", "trace"]
    level: float
    seconds: float
    requests: int
    throughput: Interval
    rows_per_second: float
    latency: Distribution
    service: Distribution
    lag_p99_ms: float
    errors: dict[str, int]
    stable: bool
    saturated: bool
    notes: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    server: ServerSide | None = None
    keeps_up: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The generators against a server that answers at once: what they could have seen at most.

    Attributes:
        throughput: Answers per second; the echo server takes its share of the same cores.
        p99_ms: Meanwhile.
        concurrency: Callers meanwhile.
    """

    throughput: float
    p99_ms: float
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was sent, again and again.

    Attributes:
        model: Its name.
        version: As the server's answer had it.
        bytes: Of the serialised request.
        response_bytes: Of the answer to it.
        rows: Of its inputs.
        inputs: Name -> "FP32[1,32,32,3]".
        content: Where the values came from: "random numbers", or a file's name.
    """

    model: str
    version: str
    bytes: int
    response_bytes: int
    rows: int
    inputs: dict[str, str]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The machine that the load came from, and what ran on it.

    Attributes:
        machine: "cpu", "cores", "memory_mb", "kernel", "governor", "container" ... -> a text.
        versions: Package -> version.
        load_average: Of the minute before the start.
    """

    machine: dict[str, str]
    versions: dict[str, str]
    load_average: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """The search for the highest rate at which an objective holds.

    Attributes:
        objective: As it was given: "p99<15ms".
        rate: The highest that held, requests per second; None where none did.
        failed_rate: The lowest that did not, because of the server; None where there was none.
        notes: What a reader must know, in sentences: that the generator was the limit, for example.
    """

    objective: str
    rate: float | None
    failed_rate: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mlperf:
    """A run of MLPerf's load generator, with its own words.

    Attributes:
        scenario: "SingleStream", "MultiStream", "Server" or "Offline".
        valid: Its verdict, and no request failed.
        reasons: Why not, where it is not.
        summary: Its summary's figures, key -> text.
        notes: What the run lacks for a submission.
        settings: That were in force, in its own names.
        errors: gRPC's code by name -> how many requests.
    """

    scenario: str
    valid: bool
    reasons: tuple[str, ...]
    summary: dict[str, str]
    notes: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A load test.

    Attributes:
        schema: `SCHEMA`.
        quadriga: This package's version.
        created: ISO 8601, UTC.
        command: As it was typed, without secrets.
        url: HOST:PORT.
        server: Its name and version as it tells them.
        platform: The model's, as the server tells it.
        request: What was sent.
        connections: All processes' together.
        processes: Generator processes.
        fingerprint: Of the generator's machine.
        rows: In the order in which they were measured.
        ceiling: Of the generators; None where it was not measured.
        slo: Where one was searched.
        mlperf: Where scenarios ran.
        interrupted: Whether the user ended it early.
        error: What ended it early; empty where nothing did.
        settings: The options that shaped it, as they were in force.
    """

    schema: Literal["quadriga.load/1"]
    quadriga: str
    created: str
    command: str
    url: str
    server: str
    platform: str
    request: Request
    connections: int
    processes: int
    fingerprint: Fingerprint
    rows: tuple[Row, ...]
    ceiling: Ceiling | None = None
    slo: Slo | None = None
    mlperf: tuple[Mlperf, ...] = ()
    interrupted: bool = False
    error: str = ""
    settings: dict[str, str] = field(default_factory=dict)
