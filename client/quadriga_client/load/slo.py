"""Objectives as "p99<15ms", and the search for the highest rate at which one holds. Pure.

A rate holds where the objective does, the row is steady and the server's own, no more requests failed than the
objective allows (without a word on errors: none), and the server keeps up with it. The search doubles the rate until it
fails (or halves it until it holds), and then goes between the two, in the middle of their logarithms. It takes for
granted that a rate below one that holds would hold too.

Near its limit a queue is restless, and a row of few windows may be unstable by chance. So a rate at which nothing else
is wrong is measured once more, for longer, before it is given up. The search has an end: after `_MOST_DOUBLINGS` or
`_MOST_HALVINGS` and then `_MOST_MIDDLES` rates, each measured twice at most.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from quadriga_client.load.arrivals import LEAST_RATE, Constant, check
from quadriga_client.load.errors import LoadError
from quadriga_client.load.report import PERCENTILES, Row, Slo

#: Before the search gives up. The lower the rate, the longer the windows: a few halvings must do.
_MOST_DOUBLINGS: Final = 16
_MOST_HALVINGS: Final = 6
_MOST_MIDDLES: Final = 16
_UNITS_MS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_LATENCIES: Final = (*(f"p{percentile:g}" for percentile in PERCENTILES), "mean", "max")
_ERRORS: Final = "errors"
_TERM: Final = re.compile(r"\s*([a-z0-9.]+)\s*(<=?)\s*([0-9.eE+-]+)\s*([a-z%]*)\s*")
_JOINT: Final = re.compile(r"\s*,\s*|\s+and\s+")
_EXPECTED: Final = (
    f"expected {', '.join(_LATENCIES)} or errors, then < or <=, then a number with us, ms or s (errors: %), "
    'as "p99<15ms and errors<0.1%"'
)


@dataclass(frozen=True, slots=True)
class Term:
    """One bound.

    Attributes:
        metric: "p99", "mean", "max" ... of latency, or "errors".
        strict: Whether the bound itself is too much.
        bound: In ms; of errors: a share.
    """

    metric: str
    strict: bool
    bound: float

    def holds(self, row: Row) -> bool:
        """Whether a row keeps to it; one without answers keeps to none on latency."""
        if self.metric == _ERRORS:
            value = sum(row.errors.values()) / row.requests if row.requests else 0.0
        elif row.latency.count == 0:
            return False
        elif self.metric == "mean":
            value = row.latency.mean_ms
        elif self.metric == "max":
            value = row.latency.max_ms
        else:
            value = row.latency.percentile_ms(float(self.metric[1:]))
        return value < self.bound if self.strict else value <= self.bound


@dataclass(frozen=True, slots=True)
class Objective:
    """What must hold, all of it.

    Attributes:
        text: As it was given.
        terms: At least one.
    """

    text: str
    terms: tuple[Term, ...]

    def fails_for_its_windows_alone(self, row: Row) -> bool:
        """Whether a row would show it, if only its windows had stayed together."""
        return not row.stable and self.holds(replace(row, stable=True))

    def holds(self, row: Row) -> bool:
        """Whether a row in an open loop shows that its rate can be served like this."""
        tells_errors = any(term.metric == _ERRORS for term in self.terms)
        return (
            row.stable
            and not row.saturated
            and (tells_errors or not row.errors)
            and row.keeps_up is True
            and all(term.holds(row) for term in self.terms)
        )


def parse_objective(text: str) -> Objective:
    """The objective of a text, as "p99<15ms", "p99.9 <= 1s and mean<500us" or "p99<15ms, errors<0.1%".

    Raises:
        LoadError: The text is not of this form, or nothing could keep to it.
    """
    return Objective(text, tuple(_term(part, text) for part in _JOINT.split(text.strip())))


def find_rate(
    objective: Objective,
    measure_rate: Callable[[float], Row],
    measure_longer: Callable[[float], Row],
    *,
    first: float,
    resolution: float = 0.05,
) -> tuple[Slo, tuple[Row, ...]]:
    """Searches the highest rate at which an objective holds.

    Args:
        objective: What must hold.
        measure_rate: Measures a rate, in requests per second, in an open loop. What it raises goes through, with the
            rows lost that it does not keep.
        measure_longer: Likewise, with more windows, where a row failed for its windows alone.
        first: The rate to begin with.
        resolution: The search ends when the lowest rate that failed exceeds the highest that held by this share.

    Returns:
        What was found, and the rows in the order in which they were measured. Where the generator was what failed,
        a note says so, and the rate is not the server's limit.

    Raises:
        LoadError: The first rate is below `LEAST_RATE`, or the resolution not above 0.
    """
    check(Constant(first))
    if not 0 < resolution < math.inf:
        raise LoadError(f"the search cannot end at the resolution {resolution}; it must be above 0")
    measured: list[Row] = []
    rows: dict[float, Row] = {}

    def holds(rate: float) -> bool:
        for measure in (measure_rate, measure_longer):
            rows[rate] = measure(rate)
            measured.append(rows[rate])
            if not objective.fails_for_its_windows_alone(rows[rate]):
                break
        return objective.holds(rows[rate])

    held, failed = _bounds(holds, first)
    for _ in range(_MOST_MIDDLES):
        if not (held and failed and failed > held * (1 + resolution)):
            break
        middle = math.sqrt(held * failed)
        if holds(middle):
            held = middle
        else:
            failed = middle
    return _slo(objective, rows, held, failed), tuple(measured)


def _bounds(holds: Callable[[float], bool], first: float) -> tuple[float | None, float | None]:
    """A rate that holds and twice as much, which does not; either may be out of reach."""
    up = holds(first)
    rate = first
    for _ in range(_MOST_DOUBLINGS if up else _MOST_HALVINGS):
        next_rate = rate * 2 if up else rate / 2
        if next_rate < LEAST_RATE:
            break
        if holds(next_rate) != up:
            return (rate, next_rate) if up else (next_rate, rate)
        rate = next_rate
    return (rate, None) if up else (None, rate)


def _slo(objective: Objective, rows: Mapping[float, Row], held: float | None, failed: float | None) -> Slo:
    """What a search found; rows that only show the generator's limit did not fail because of the server."""
    blamed = [rate for rate, row in rows.items() if not objective.holds(row) and not row.saturated]
    notes = []
    if failed is not None and objective.fails_for_its_windows_alone(rows[failed]):
        notes.append(f"at {failed:.4g} requests per second only the windows were too far apart, in two measurements")
    if failed is not None and rows[failed].saturated:
        limit = "the server's limit is not known" if held is None else "the server may do more than the rate found"
        notes.append(f"the generator was saturated at {failed:.4g} requests per second; {limit}")
    elif failed is None:
        notes.append(f"the objective still held at {held:.4g} requests per second, where the search ended")
    elif held is None:
        notes.append(f"the objective did not hold even at {failed:.4g} requests per second, where the search ended")
    return Slo(objective=objective.text, rate=held, failed_rate=min(blamed) if blamed else None, notes=tuple(notes))


def _term(part: str, text: str) -> Term:
    match = _TERM.fullmatch(part)
    if match is None:
        raise LoadError(f"{part!r} in the objective {text!r} is no bound; {_EXPECTED}")
    metric, comparison, number, unit = match.groups()
    if metric not in (*_LATENCIES, _ERRORS):
        raise LoadError(f"the objective {text!r} has no known figure {metric!r}; {_EXPECTED}")
    scales = {"%": 0.01} if metric == _ERRORS else _UNITS_MS
    if unit not in scales:
        raise LoadError(f"the objective {text!r} needs one of {', '.join(scales)} after {number}, not {unit!r}")
    try:
        bound = float(number) * scales[unit]
    except ValueError:
        raise LoadError(f"{number!r} in the objective {text!r} is not a number; {_EXPECTED}") from None
    strict = comparison == "<"
    allowed = bound >= 0 if metric == _ERRORS and not strict else bound > 0
    if not allowed or not math.isfinite(bound):
        raise LoadError(f"nothing can keep to {part.strip()!r} in the objective {text!r}; give a bound above 0")
    return Term(metric, strict, bound)
