"""A comparison's report: what every output format shows, and what JSON holds. Pure.

These classes are the schema, as those of `quadriga_client.load.report` are: a field is only ever added, with a default;
anything else needs another `SCHEMA`. Durations are in milliseconds unless a name says otherwise.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from quadriga_client.load.report import Fingerprint, Interval

SCHEMA: Final = "quadriga.compare/1"

Measure: TypeAlias = Literal["throughput", "p50_ms", "p99_ms", "cpu_ms_per_row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A contestant, and what is known of it besides its speed; None or empty where nobody says.

    Attributes:
        name: By which the report calls it.
        model: As its server has it.
        version: That answered.
        url: HOST:PORT of its server.
        server: The server's name and version, as it tells them.
        platform: The model's, as its server tells it.
        backend: That runs it.
        device: That it runs on.
        inputs: "input FP32[-1,32,32,3]", in the model's order.
        outputs: Likewise.
        load_ms: Loading it and warming it up, as its server tells it; with one awake at a time, as the client saw it,
            the median of all loads.
        memory_bytes: Resident memory of its workers after its last block.
        file_bytes: The size of what it was loaded from.
        accuracy: From 0 to 1, on the test part of its data set.
    """

    name: str
    model: str
    version: str
    url: str
    server: str = ""
    platform: str = ""
    backend: str = ""
    device: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    load_ms: float | None = None
    memory_bytes: int | None = None
    file_bytes: int | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedInputs:
    """What all contestants were sent, before any timing and in every block.

    Attributes:
        content: Where the values came from: "random numbers, seed 0", or a file's name.
        requests: How many different ones, sent in turn.
        rows: Of each request.
        tensors: Of one request, by position: "FP32[1,8,8,1]".
        digest: SHA-256 of all values, in hexadecimal: equal ones are the same inputs.
    """

    content: str
    requests: int
    rows: int
    tensors: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an element may be from the first contestant's: `absolute + relative * |the first's|`.

    That is what numpy's allclose does. Elements that are not floating point must be equal.
    """

    absolute: float = 1e-4
    relative: float = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputAgreement:
    """One output of a contestant beside the first contestant's.

    Attributes:
        name: As the first has it.
        other_name: As the contestant has it.
        elements: In all requests.
        differing: Of them beyond the tolerance.
        largest_difference: Absolute; None for BYTES.
        first: There, the first's value, as text; empty where nothing differs.
        other: Likewise.
    """

    name: str
    other_name: str
    elements: int
    differing: int
    largest_difference: float | None
    first: str = ""
    other: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a contestant's answers compare with the first contestant's.

    Attributes:
        contestant: Its name.
        agrees: Whether there are no problems.
        outputs: In the first's order; empty where they cannot be compared.
        top1: Share of rows whose largest score is of the same class; None where no output has scores by row.
        problems: What differs and by how much, in sentences.
    """

    contestant: str
    agrees: bool
    outputs: tuple[OutputAgreement, ...] = ()
    top1: float | None = None
    problems: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure now over the same figure in an older report.

    Attributes:
        contestant: Its name.
        concurrency: The level.
        measure: The figure.
        before: In the older report.
        now: In this one.
        ratio: Now over before.
        worse: Whether the interval leaves out 1 on the bad side, and the ratio is worse than was tolerated.
        better: Likewise on the good side.
    """

    contestant: str
    concurrency: int
    measure: Measure
    before: float
    now: float
    ratio: Interval
    worse: bool
    better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A report beside an older one.

    Attributes:
        against: The older one's file.
        created: When that was made.
        tolerated: The share by which a figure may get worse.
        entries: Every figure that both have.
        warnings: What makes them unlike, in sentences: another machine, other versions.
    """

    against: str
    created: str
    tolerated: float
    entries: tuple[Change, ...]
    warnings: tuple[str, ...]

    @property
    def worse(self) -> tuple[Change, ...]:
        """What got worse."""
        return tuple(entry for entry in self.entries if entry.worse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison of models.

    Attributes:
        schema: `SCHEMA`.
        quadriga: This package's version.
        created: ISO 8601, UTC.
        command: As it was typed, without secrets.
        contestants: The first is the one whose answers the others are held to.
        inputs: What was sent.
        tolerance: Of the agreement.
        agreements: Of all but the first.
        allowed_different: Whether they were timed although they do not agree.
        seed: Of the blocks' order and the intervals.
        block_seconds: Of each block.
        connections: Of each contestant.
        processes: Generator processes of each contestant.
        one_awake: Whether only one contestant was loaded at a time.
        fingerprint: Of the machine that the load came from.
        levels: In the order in which they were measured.
        notes: What a reader must know, in sentences.
        interrupted: Whether the user ended it early.
        error: What ended it early; empty where nothing did.
        changes: Beside an older report, where one was given.
    """

    schema: Literal["quadriga.compare/1"]
    quadriga: str
    created: str
    command: str
    contestants: tuple[Contender, ...]
    inputs: SharedInputs
    tolerance: Tolerance
    agreements: tuple[Agreement, ...]
    allowed_different: bool
    seed: int
    block_seconds: float
    connections: int
    processes: int
    one_awake: bool
    fingerprint: Fingerprint
    levels: tuple[Level, ...]
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    error: str = ""
    changes: Changes | None = None

    @property
    def failed_requests(self) -> dict[str, int]:
        """By contestant's name, how many requests failed; those of whom none did are left out."""
        failed: dict[str, int] = {}
        for level in self.levels:
            for standing in level.standings:
                if standing.errors:
                    failed[standing.contestant] = failed.get(standing.contestant, 0) + sum(standing.errors.values())
        return failed
