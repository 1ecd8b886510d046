"""How a load test's figures and verdicts are written, in every format that people read. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from quadriga_client.load.formats.digits import UNKNOWN, digits
from quadriga_client.load.formats.document import Cell, Tone
from quadriga_client.load.report import Interval, Row

_ARRIVALS: Final = {"poisson": "Poisson", "constant": "constant", "trace": "trace"}


def bounds(interval: Interval) -> str:
    """The confidence interval's ends; empty where there is none."""
    if interval.low is None or interval.high is None:
        return ""
    return f"{digits(interval.low)}–{digits(interval.high)}"  # noqa: RUF001


def milliseconds(value: float | None) -> str:
    """With the unit, for texts."""
    return UNKNOWN if value is None else f"{digits(value)} ms"


def level(row: Row) -> str:
    """A row's name."""
    if row.mode == "closed":
        return "1 caller" if row.level == 1 else f"{row.level:,g} callers"
    return f"{digits(row.level)}/s {_ARRIVALS.get(row.arrivals, row.arrivals)}"


def names(rows: Sequence[Row]) -> list[str]:
    """The rows' names, told apart where a level was measured more than once."""
    seen: dict[str, int] = {}
    found = []
    for row in rows:
        name = level(row)
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}, run {seen[name]}")
    return found


def counts(row: Row) -> bool:
    """Whether its figures are the server's."""
    return row.latency.count > 0 and not row.saturated


def verdict(row: Row) -> tuple[str, Tone]:
    """What to think of a row, in two words."""
    if row.latency.count == 0:
        return "no answers", "bad"
    if row.saturated:
        return "generator saturated", "bad"
    if row.keeps_up is False:
        return "falls behind", "bad"
    if row.errors:
        return "requests failed", "bad"
    return ("stable", "good") if row.stable else ("unstable", "warning")


def number(value: float | None, *, detail: str = "", muted: bool = False) -> Cell:
    """A figure's cell."""
    if value is None:
        return Cell(UNKNOWN, number=True)
    return Cell(digits(value), detail, "muted" if muted else "plain", number=True)


def estimate(interval: Interval | None, *, muted: bool = False) -> Cell:
    """A figure's cell with its confidence interval below."""
    if interval is None:
        return number(None)
    return number(interval.value, detail=bounds(interval), muted=muted)


def moment(text: str) -> str:
    """An ISO 8601 time to the minute, as people write it."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return text


def plural(count: int, noun: str) -> str:
    """How many of a thing whose plural ends as most do."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"
