"""What was timed, and what it comes to: blocks, figures and verdicts, as a report has them. Pure."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from quadriga_client.load.report import Interval

Measure: TypeAlias = Literal["throughput", "p50_ms", "p99_ms", "cpu_ms_per_row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of timing of one contestant.

    Attributes:
        contestant: Its name.
        round: From 0; a contestant has two blocks in each.
        seconds: Measured.
        requests: That ended in that time.
        throughput: Answers with OK per second.
        p50_ms: Of latencies; None where nothing was answered.
        p99_ms: Likewise.
        lag_p99_ms: How late the generator itself was.
        saturated: Whether the generator fell behind, so that the figures are its own.
        errors: gRPC's code by name -> how many requests.
        cpu_ms_per_row: CPU time of the model's workers and its server process; None where the server does not say.
        memory_bytes: Resident memory of the model's workers after it; None likewise.
    """

    contestant: str
    round: int
    seconds: float
    requests: int
    throughput: float
    p50_ms: float | None
    p99_ms: float | None
    lag_p99_ms: float
    saturated: bool
    errors: dict[str, int] = field(default_factory=dict)
    cpu_ms_per_row: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A contestant's figures at one level: medians over rounds, whose two blocks count as their mean.

    Attributes:
        contestant: Its name.
        blocks: How many the figures are of.
        saturated_blocks: Of them.
        errors: gRPC's code by name -> how many requests, of all blocks.
        throughput: Answers with OK per second; None where nothing was measured, as with the rest.
        p50_ms: Median latency.
        p99_ms: Of latencies.
        cpu_ms_per_row: CPU time of workers and server per row.
    """

    contestant: str
    blocks: int
    saturated_blocks: int
    errors: dict[str, int]
    throughput: Interval | None = None
    p50_ms: Interval | None = None
    p99_ms: Interval | None = None
    cpu_ms_per_row: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A contestant's figure over another's: the median over rounds, each round's two taken together."""

    contestant: str
    to: str
    ratio: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Who is best in one figure.

    Attributes:
        measure: The figure.
        winner: Its name; empty where no difference to all others is shown.
        sentence: The verdict in words.
        ratios: Of the best one, by its median, to each other.
    """

    measure: Measure
    winner: str
    sentence: str
    ratios: tuple[Ratio, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What was measured with so many callers.

    Attributes:
        concurrency: Callers in the closed loop.
        rounds: That are complete; the figures are of these.
        standings: In the contestants' order.
        verdicts: One per figure.
        blocks: In the order in which they were measured.
    """

    concurrency: int
    rounds: int
    standings: tuple[Standing, ...]
    verdicts: tuple[Verdict, ...]
    blocks: tuple[Block, ...]
