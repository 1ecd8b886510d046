"""What the study measures, as JSON holds it. Pure.

Every figure is kept by round, so that whoever reads the file can compare what took turns in the same round.
"""

import statistics
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from quadriga_client.load.report import Fingerprint, Interval
from quadriga_client.load.statistics.intervals import median_interval
from study.ratios import Ratio, ratio_of

SCHEMA: Final = "quadriga.study/1"
#: The network that TensorFlow trains with the layers of Keras' and PyTorch's; the zoo's own has others.
LIKE_KERAS: Final = "tensorflow, Keras' layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """Code that is there for one thing.

    Attributes:
        name: "model", "training", "progress", "prediction", "export", "imports and constants".
        lines: Lines with code on them.
        statements: Logical lines.
    """

    name: str
    lines: int
    statements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One network's source, without blank lines, comments and docstrings."""

    network: str
    purposes: tuple[Purpose, ...]

    def lines(self, *names: str) -> int:
        """Lines for these purposes together; of all where none is named."""
        return sum(purpose.lines for purpose in self.purposes if not names or purpose.name in names)

    def statements(self, *names: str) -> int:
        """Likewise, statements."""
        return sum(purpose.statements for purpose in self.purposes if not names or purpose.name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One network trained anew, in a process of its own.

    Attributes:
        network: Of the zoo, or `LIKE_KERAS`.
        keras_backend: What Keras ran on; empty for the others.
        seed: Of weights and shuffling.
        parameters: How many weights it has.
        images: That it was trained on.
        seconds: Of each epoch, without the test; the first one includes tracing and compiling.
        accuracy: On the test images after the last epoch.
    """

    network: str
    keras_backend: str
    seed: int
    parameters: int
    images: int
    seconds: tuple[float, ...]
    accuracy: float

    @property
    def name(self) -> str:
        """As tables and findings call it."""
        return f"{self.network} on {self.keras_backend}" if self.keras_backend else self.network

    @property
    def later(self) -> float:
        """Seconds of an epoch after the first: their median."""
        return statistics.median(self.seconds[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """One way to call a network in process, with one batch size.

    Attributes:
        framework: "keras on tensorflow", "pytorch" and so on.
        way: The call as its reader writes it, or `SERVED`.
        threads: That it may use.
        batch: Rows per call.
        ms: Median of a call, by round.
        cpu_ms: Likewise, CPU time of all threads.
        difference: The largest, of its answers from those of the first way.
    """

    framework: str
    way: str
    threads: int
    batch: int
    ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]
    difference: float

    def median(self) -> Interval:
        """Of a call, in ms."""
        return median_interval(self.ms)

    def times(self, other: "Calls") -> Ratio:
        """How many times the other's time this one takes, from rounds that they shared."""
        return ratio_of(self.ms, other.ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server under one load.

    Attributes:
        server: Its name: the model's for Quadriga, the call in its handler for a naive one.
        naive: Whether it is such a server.
        threads: That its framework may use: of a worker of Quadriga's by default; None: as many as it takes by itself.
        rows: Per request.
        mode: Closed loop, or open with Poisson arrivals.
        level: Callers, or requests per second that were wanted.
        throughput: Answers per second, by round.
        p50_ms: By round that counts; from when requests were due.
        p99_ms: Likewise, of those rounds together; None where the requests are too few.
        cpu_ms: CPU time of all the server's processes per answer, by round.
        requests: Answered, in all rounds.
        errors: Others, likewise.
        lag_p99_ms: How late the generator was at most, of the rounds.
        saturated: Whether the generator was the limit in half of the rounds or more: all figures are its own then.
        limited: In which rounds, from 0, it was; where they are fewer, they count for CPU time and errors alone.
    """

    server: str
    naive: bool
    threads: int | None
    rows: int
    mode: Literal["closed", "open"]
    level: float
    throughput: tuple[float, ...]
    p50_ms: tuple[float, ...]
    p99_ms: float | None
    cpu_ms: tuple[float, ...]
    requests: int
    errors: int
    lag_p99_ms: float
    saturated: bool
    limited: tuple[int, ...] = ()

    def rate(self) -> Interval:
        """Answers per second."""
        left_out = () if self.saturated else self.limited
        return median_interval([each for number, each in enumerate(self.throughput) if number not in left_out])

    def median(self) -> Interval:
        """The p50, in ms; of a server that has answered."""
        return median_interval(self.p50_ms)

    def cpu(self) -> float:
        """Of an answer, in ms: the mean, since the kernel counts in hundredths of a second."""
        return statistics.fmean(self.cpu_ms)

    def times(self, other: "Served") -> Ratio:
        """How many times the other's answers per second this one gives, from rounds that they shared and that count.

        Of two that are not saturated, there are two such rounds at least, as each lacks fewer than half.
        """
        left_out = {*self.limited, *other.limited}
        shared = [number for number in range(len(self.throughput)) if number not in left_out]
        return ratio_of([self.throughput[each] for each in shared], [other.throughput[each] for each in shared])


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Everything.

    Attributes:
        schema: `SCHEMA`.
        created: ISO 8601, UTC.
        command: As it was typed.
        seconds: The whole study took.
        fingerprint: Of the machine, before the first measurement.
        others: The share of the cores' time that was spent on others meanwhile.
        code: By network.
        trainings: By network and seed.
        calls: By threads, batch, framework and way.
        served: By mode, rows, level and server.
        left_out: What could not be measured, and why.
    """

    schema: Literal["quadriga.study/1"]
    created: str
    command: str
    seconds: float
    fingerprint: Fingerprint
    others: float
    code: tuple[Code, ...]
    trainings: tuple[Training, ...]
    calls: tuple[Calls, ...]
    served: tuple[Served, ...]
    left_out: tuple[str, ...] = ()


def encode(study: Study) -> str:
    """As JSON, indented."""
    text: str = msgspec.json.format(msgspec.json.encode(study), indent=2).decode()
    return text + "\n"


def decode(text: str) -> Study:
    """Reads what `encode` wrote."""
    return msgspec.json.decode(text, type=Study)
