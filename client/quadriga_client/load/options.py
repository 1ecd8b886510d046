"""What a load test is to be: its target, its plan, and how closely it is measured. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from quadriga_client.load.arrivals import Arrivals, ClosedLoop, Constant, Poisson, Trace, check
from quadriga_client.load.errors import LoadError
from quadriga_client.load.measurement import MeasurementSettings
from quadriga_client.load.mlperf import MlperfSettings, Scenario
from quadriga_client.load.slo import Objective
from quadriga_client.load.target import LoadTarget
from quadriga_client.tls import TlsOptions

#: How the arrivals of a rate are spread.
Spread: TypeAlias = Literal["poisson", "constant"]
SPREADS: Final[tuple[Spread, ...]] = get_args(Spread)


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels of load, one after the other: callers, rates, or a trace."""

    arrivals: tuple[Arrivals, ...]

    def __post_init__(self) -> None:
        """Refuses no levels, and those that no load can be made of."""
        if not self.arrivals:
            raise LoadError("a load test needs at least one level of load")
        for arrivals in self.arrivals:
            check(arrivals)


@dataclass(frozen=True, slots=True)
class Search:
    """The search for the highest rate at which an objective holds.

    Attributes:
        objective: What has to hold.
        spread: Of the arrivals.
        first: The first rate that is tried, per second; None: what one caller gets, which is measured before.

    Raises:
        LoadError: No load can be made at the first rate.
    """

    objective: Objective
    spread: Spread = "poisson"
    first: float | None = None

    def __post_init__(self) -> None:
        """Refuses a first rate that is none."""
        if self.first is not None:
            check(Constant(self.first))


@dataclass(frozen=True, slots=True)
class Scenarios:
    """Scenarios of MLPerf, one after the other, each with its settings."""

    runs: tuple[tuple[Scenario, MlperfSettings], ...]


Plan: TypeAlias = Levels | Search | Scenarios


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """A load test.

    Attributes:
        url: HOST:PORT of the server.
        model: Its name.
        plan: Which load.
        version: Of the model; empty is the newest that is ready.
        timeout: Seconds that a request may take.
        metadata: Goes with each call, in lower case: a token, for example.
        tls: How TLS is spoken; None: not at all.
        rows: Of a request; None: one, or as many as the file has.
        shapes: Sizes by input, where the model leaves them open.
        file: Where inputs are read; None: they are random numbers.
        connections: All processes' together.
        processes: That generate load.
        measurement: How a level is measured.
        server_side: Whether the server is asked for its own figures.
        metrics_url: Where its metrics page is; None: looked for.
        ceiling: Whether the generators are measured against a server that answers at once.

    Raises:
        LoadError: The model has no name, or a number is out of its range.
    """

    url: str
    model: str
    plan: Plan
    version: str = ""
    timeout: float = 60.0
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tls: TlsOptions | None = None
    rows: int | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    file: Path | None = None
    connections: int = 4
    processes: int = 1
    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)
    server_side: bool = True
    metrics_url: str | None = None
    ceiling: bool = True

    def __post_init__(self) -> None:
        """Refuses no model, and numbers out of their ranges."""
        if not self.model:
            raise LoadError("the model's name is empty")
        if self.processes < 1:
            raise LoadError(f"load is made by at least one process, got {self.processes}")
        if self.connections < self.processes:
            raise LoadError(f"each of the {self.processes} processes needs a connection, got {self.connections}")
        if not self.timeout > 0:
            raise LoadError(f"a request may take more than no time, got {self.timeout:g} s")

    def target(self, request: bytes) -> LoadTarget:
        """Where a serialised request goes."""
        return LoadTarget(url=self.url, requests=(request,), timeout=self.timeout, metadata=self.metadata, tls=self.tls)

    @property
    def seed(self) -> int:
        """Of all random numbers."""
        return self.measurement.seed

    def described(self) -> dict[str, str]:
        """The settings in force that a report shows, by name."""
        return {
            **_described_plan(self.plan),
            "timeout_s": f"{self.timeout:g}",
            "window_s": f"{self.measurement.window_seconds:g}",
            "agreeing_windows": str(self.measurement.agreeing_windows),
            "tolerance": f"{self.measurement.tolerance:g}",
            "most_windows": str(self.measurement.most_windows),
            "measured_windows": str(self.measurement.measured_windows),
            "lag_share": f"{self.measurement.lag_share:g}",
            "server_side": "asked" if self.server_side else "not asked",
            "seed": str(self.seed),
        }


def arrivals_at(rate: float, spread: Spread, seed: int) -> Poisson | Constant:
    """Arrivals at a rate per second."""
    return Poisson(rate, seed) if spread == "poisson" else Constant(rate)


def level_name(arrivals: Arrivals) -> str:
    """A level in words: "16 callers", "500/s poisson", "trace day.txt"."""
    match arrivals:
        case ClosedLoop(concurrency):
            return f"{concurrency} caller{'s'[: concurrency != 1]}"
        case Poisson(rate):
            return f"{rate:,g}/s poisson"
        case Constant(rate):
            return f"{rate:,g}/s constant"
        case Trace():
            return f"trace {arrivals.path.name}"


def _described_plan(plan: Plan) -> dict[str, str]:
    match plan:
        case Levels(arrivals):
            return {"levels": ", ".join(map(level_name, arrivals))}
        case Search(objective, spread, first):
            return {"objective": objective.text, "arrivals": spread} | ({"first_rate": f"{first:g}"} if first else {})
        case Scenarios(runs):
            return {"mlperf": ", ".join(name for name, _ in runs)}
