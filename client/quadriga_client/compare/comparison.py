"""A comparison's report: what every output format shows, and what JSON holds. Pure.

These classes, with those of `likeness`, `standings` and `change`, are the schema, as those of
`quadriga_client.load.report` are: a field is only ever added, with a default; anything else needs another `SCHEMA`.
Durations are in milliseconds unless a name says otherwise.
"""

from dataclasses import dataclass
from typing import Final, Literal

from quadriga_client.compare.change import Changes
from quadriga_client.compare.likeness import Agreement, Tolerance
from quadriga_client.compare.standings import Level
from quadriga_client.load.report import Fingerprint

SCHEMA: Final = "quadriga.compare/1"


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
        block_seconds: Of each block; those of a contestant that is slow are longer, as the blocks themselves say.
        connections: Of each contestant.
        processes: Generator processes of each contestant.
        one_awake: Whether only one contestant was loaded at a time.
        fingerprint: Of the machine that the load came from.
        levels: In the order in which they were measured.
        notes: What a reader must know, in sentences.
        interrupted: Whether the user ended it early.
        error: What ended it early; empty where nothing did.
        changes: Beside an older report, where one was given.
        generator_cores: By their numbers, those that the generators were allowed to run on; empty where the system does
            not tell.
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
    generator_cores: tuple[int, ...] = ()

    @property
    def failed_requests(self) -> dict[str, int]:
        """By contestant's name, how many requests failed; those of whom none did are left out."""
        failed: dict[str, int] = {}
        for level in self.levels:
            for standing in level.standings:
                if standing.errors:
                    failed[standing.contestant] = failed.get(standing.contestant, 0) + sum(standing.errors.values())
        return failed
