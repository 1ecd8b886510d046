"""Sentences of a row: what a reader must know of it besides its figures. Pure.

Those that say that the generator was the limit are where that is found: `saturation.py`, `scheduling.py`.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from quadriga_client.load.report import Distribution
from quadriga_client.load.saturation import TIMER_MS
from quadriga_client.load.statistics.agreement import Course
from quadriga_client.load.statistics.histogram import HIGHEST_NS
from quadriga_client.load.statistics.keeping_up import Account

_MS_NS: Final = 1e6


def backlog_note(accounts: Sequence[Account]) -> str:
    """On a server that does not keep up."""
    due, answered = (sum(counts) for counts in zip(*accounts, strict=True))
    return (
        f"the server does not keep up: {due} requests were due in the measured time and {answered} were answered in "
        "it; latencies grow as long as such a load lasts"
    )


def course_note(course: Course, stable: bool, tolerance: float) -> str | None:
    """Why the row is not stable, or what else a reader must know of its windows."""
    count, warm_up = len(course.measured), course.first
    if course.silent:
        silent = sum(1 for _ in takewhile(lambda cut: not len(cut.latencies_ns), reversed(course.windows)))
        return f"ended after {silent} windows in a row in which nothing was answered with OK"
    if not course.is_complete and not course.is_warm:
        last = "the last window" if count == 1 else f"the last {count} windows"
        return f"ended early, before throughput and p99 had settled within {tolerance:.0%}; the figures are of {last}"
    if not course.is_complete:
        return f"ended early, in window {count} of those that were to be measured; the figures are of these"
    unsettled = f"throughput and p99 had not settled within {tolerance:.0%} in {warm_up} windows of warm-up"
    if not stable:
        apart = f"not stable: throughput or p99 of the {count} measured windows is further apart than {tolerance:.0%}"
        return apart if course.settled else f"{apart}; {unsettled}"
    return None if course.settled else unsettled


def errors_note(latency: Distribution, errors: dict[str, int]) -> str | None:
    """On requests that failed."""
    failed = sum(errors.values())
    if latency.count:
        return f"{failed} of {failed + latency.count} requests failed: {_listed(errors)}" if errors else None
    return f"no request was answered with OK, {failed} failed: {_listed(errors)}" if errors else "nothing was answered"


def lag_note(lag_p99_ms: float, latency: Distribution, lag_share: float) -> str | None:
    """On lags that are no more than a wake-up, next to latencies that are not much more either."""
    if not latency.count or lag_p99_ms <= lag_share * latency.percentile_ms(99.0):
        return None
    return f"up to {lag_p99_ms:.3g} ms of these latencies are the generator's wake-ups (under {TIMER_MS:g} ms)"


def longest_note(latency: Distribution) -> str | None:
    """On latencies that the histogram cannot hold."""
    if latency.max_ms * _MS_NS <= HIGHEST_NS:
        return None
    return "latencies above an hour count as an hour, except in the mean and the maximum"


def _listed(errors: dict[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in errors.items())
