"""What was timed, and what it comes to: blocks, figures and verdicts, as a report has them. Pure."""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from quadriga_client.load.report import Interval

Measure: TypeAlias = Literal["throughput", "p50_ms", "p99_ms", "cpu_ms_per_row"]

#: Answers of a block, or of a round's two together, from which on their p99 is more than their slowest one.
LEAST_FOR_P99: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of timing of one contestant.

    Attributes:
        contestant: Its name.
        round: From 0; a contestant has two blocks in each.
        seconds: Measured.
        requests: That ended in that time.
        throughput: Answers with OK per second, from the first request that ended in it to the first after it.
        p50_ms: Of latencies; None where nothing was answered.
        p99_ms: Likewise; None also of fewer than `LEAST_FOR_P99` answers.
        lag_p99_ms: How late the generator itself was.
        saturated: Whether the generator fell behind or was short of a CPU, so that the figures are its own.
        errors: gRPC's code by name -> how many requests.
        cpu_ms_per_row: CPU time of the model's workers and its server process; None where the server does not say.
        cpu_requests: That this is of.
        cpu_shared: Whether it is left out because the server had other requests meanwhile, or may have had.
        memory_bytes: Resident memory of the model's workers after it; None likewise.
        latencies: HdrHistogram's compressed encoding, of ns with three significant digits, which a round's percentiles
            are made of; empty where nothing was answered.
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
    cpu_requests: int = 0
    cpu_shared: bool = False
    memory_bytes: int | None = None
    latencies: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A contestant's figures at one level: medians over rounds, see `verdict.py`.

    Attributes:
        contestant: Its name.
        blocks: How many the figures are of.
        saturated_blocks: Of them.
        errors: gRPC's code by name -> how many requests, of all blocks.
        throughput: Answers with OK per second; None where nothing was measured, as with the rest.
        p50_ms: Median latency of a round.
        p99_ms: Likewise; None also where rounds have fewer than `LEAST_FOR_P99` answers.
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
    """A contestant's figure over another's: the median over rounds, each round's two taken together.

    Attributes:
        contestant: Whose figure.
        to: Over whose.
        ratio: With its interval.
        lag1: How far the rounds' log ratios follow the ones before, from -1 to 1; None where they are all alike.
        correlated: Whether that is more than chance does, so that the interval is too narrow.
    """

    contestant: str
    to: str
    ratio: Interval
    lag1: float | None = None
    correlated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Who is best in one figure.

    Attributes:
        measure: The figure.
        winner: Its name; empty where no difference to all others is shown.
        sentence: The verdict in words.
        ratios: Of the winner, or of the one that is ahead of most others, to each other.
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
