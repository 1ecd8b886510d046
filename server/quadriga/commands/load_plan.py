"""From the options of `quadriga load` that say which load, to the plan. Pure."""

from dataclasses import dataclass, replace
from typing import Final

import click

from quadriga_client.load.arrivals import ClosedLoop, Trace
from quadriga_client.load.levels import parse_levels
from quadriga_client.load.mlperf import MlperfSettings, Scenario
from quadriga_client.load.options import SPREADS, Levels, Plan, Scenarios, Search, Spread, arrivals_at
from quadriga_client.load.slo import Objective

#: Where no option says which load.
DEFAULT_CONCURRENCY: Final = "1:32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """The options that say which load, as they were given; the command's help explains them."""

    concurrency: tuple[float, ...] | None = None
    rate: tuple[float, ...] | None = None
    arrivals: Spread | None = None
    trace: Trace | None = None
    slo: Objective | None = None
    mlperf: tuple[Scenario, ...] = ()
    mlperf_seconds: float | None = None
    mlperf_queries: int | None = None


def plan_of(loads: Loads, seed: int, connections: int) -> Plan:
    """The plan that the options ask for.

    Raises:
        click.UsageError: They contradict each other.
        LoadError: A number is out of its range.
    """
    _refuse_contradictions(loads)
    spread = loads.arrivals or SPREADS[0]
    if loads.mlperf:
        return Scenarios(tuple((name, _settings_of(loads, name, connections)) for name in loads.mlperf))
    if loads.slo is not None:
        return Search(loads.slo, spread, loads.rate[0] if loads.rate else None)
    if loads.trace is not None:
        return Levels((loads.trace,))
    if loads.rate:
        return Levels(tuple(arrivals_at(rate, spread, seed) for rate in loads.rate))
    callers = loads.concurrency or parse_levels(DEFAULT_CONCURRENCY, whole=True)
    return Levels(tuple(ClosedLoop(int(each)) for each in callers))


def _refuse_contradictions(loads: Loads) -> None:
    given = {
        "--concurrency": bool(loads.concurrency),
        "--trace": loads.trace is not None,
        "--rate": bool(loads.rate),
        "--slo": loads.slo is not None,
        "--mlperf": bool(loads.mlperf),
    }
    names = [name for name, is_given in given.items() if is_given]
    # A rate is where a search begins, and with an objective it is what MLPerf's Server has to bear.
    if len(names) > 1 and (loads.concurrency or loads.trace is not None):
        raise click.UsageError(f"{' and '.join(names)} are different loads; choose one")
    if loads.rate and len(loads.rate) > 1 and len(names) > 1:
        raise click.UsageError(f"with {names[1]}, --rate is one number, got {len(loads.rate)}")
    if loads.arrivals is not None and (loads.mlperf or not (loads.rate or loads.slo)):
        raise click.UsageError("--arrivals says how the requests of --rate or --slo are spread, and of no other load")
    if loads.mlperf and (loads.rate or loads.slo) and "Server" not in loads.mlperf:
        raise click.UsageError("with --mlperf, --rate and --slo are for the scenario Server, which is not asked for")
    if not loads.mlperf and (loads.mlperf_seconds is not None or loads.mlperf_queries is not None):
        raise click.UsageError("--mlperf-seconds and --mlperf-queries go with --mlperf")


def _settings_of(loads: Loads, scenario: Scenario, connections: int) -> MlperfSettings:
    settings = MlperfSettings(
        min_duration=loads.mlperf_seconds, min_queries=loads.mlperf_queries, connections=connections
    )
    if scenario != "Server":
        return settings
    if not loads.rate:
        raise click.UsageError("MLPerf's scenario Server needs --rate: the queries per second that it has to bear")
    percentile, latency_ms = (None, None) if loads.slo is None else _bound(loads.slo)
    return replace(settings, target_qps=loads.rate[0], target_percentile=percentile, target_latency_ms=latency_ms)


def _bound(objective: Objective) -> tuple[float, float]:
    """The percentile that MLPerf's Server is judged by, and what it has to keep to, in ms.

    Raises:
        click.UsageError: The objective says something else.
    """
    (term, *others) = objective.terms
    if others or not term.metric.startswith("p"):
        raise click.UsageError(f"MLPerf judges by one percentile, as p99<15ms; --slo is {objective.text!r}")
    return float(term.metric[1:]), term.bound
