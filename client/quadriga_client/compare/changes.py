"""A report beside an older one: what got better or worse. Pure.

The two were not measured in turns, so there are no pairs of rounds. The interval of a ratio is made of both medians'
own: from the lowest the new one may be over the highest of the old one, to the opposite. It is wider than 95 %, and
leaves out 1 only where the two intervals part.
"""

from collections.abc import Iterator, Mapping, Sequence

from quadriga_client.compare.change import Change, Changes
from quadriga_client.compare.comparison import Comparison, SharedInputs
from quadriga_client.compare.errors import CompareError
from quadriga_client.compare.measures import MEASURES
from quadriga_client.compare.names import callers
from quadriga_client.compare.standings import Level, Measure, Standing
from quadriga_client.compare.verdict import excludes_one, is_saturated
from quadriga_client.load.report import Interval


def check_comparable(old: Comparison, names: Sequence[str], inputs: SharedInputs, concurrencies: Sequence[int]) -> None:
    """Refuses to set reports beside each other that have nothing in common.

    Args:
        old: The older report.
        names: The contestants' of the new one.
        inputs: What they are sent.
        concurrencies: The levels.

    Raises:
        CompareError: Other tensors were sent, or no contestant or no level is in both.
    """
    if old.inputs.tensors != inputs.tensors:
        raise CompareError(
            f"the older report is of requests of {', '.join(old.inputs.tensors)}, and these are of"
            f" {', '.join(inputs.tensors)}: their figures say nothing of each other"
        )
    before = [contestant.name for contestant in old.contestants]
    if not set(before) & set(names):
        raise CompareError(f"the older report is of {', '.join(before)}, and this one of {', '.join(names)}")
    levels = [level.concurrency for level in old.levels]
    if not set(levels) & set(concurrencies):
        raise CompareError(f"the older report has the levels {_listed(levels)}, and this one {_listed(concurrencies)}")


def changes(old: Comparison, new: Comparison, *, against: str, tolerated: float) -> Changes:
    """Every figure that both reports have.

    Args:
        old: The older one.
        new: The newer one.
        against: The older one's file.
        tolerated: The share by which a figure may get worse.

    Whether they have anything in common is for `check_comparable` to say, before anything is measured: a report that
    ended early has few figures, or none.
    """
    before = {level.concurrency: level for level in old.levels}
    return Changes(
        against=against,
        created=old.created,
        tolerated=tolerated,
        entries=tuple(
            change
            for level in new.levels
            if level.concurrency in before
            for change in _level_changes(before[level.concurrency], level, tolerated)
        ),
        warnings=tuple(_warnings(old, new)),
        missing=tuple(_missing(old, new)),
    )


def _level_changes(old: Level, new: Level, tolerated: float) -> Iterator[Change]:
    firsts = {standing.contestant: standing for standing in old.standings}
    for last in new.standings:
        first = firsts.get(last.contestant)
        for measure in MEASURES:
            before, now = _figure(first, measure), _figure(last, measure)
            if before is not None and now is not None:
                yield change(last.contestant, new.concurrency, measure, before, now, tolerated)


def _missing(old: Comparison, new: Comparison) -> Iterator[str]:
    """A contestant or a level that was dropped has lost all its figures: a check of them must not pass unnoticed."""
    lasts = {(level.concurrency, standing.contestant): standing for level in new.levels for standing in level.standings}
    for level in old.levels:
        for first in level.standings:
            last = lasts.get((level.concurrency, first.contestant))
            names = [
                kind.name
                for measure, kind in MEASURES.items()
                if _figure(first, measure) is not None and _figure(last, measure) is None
            ]
            if names:
                again = "" if last else " (not measured again)"
                yield f"{first.contestant} with {callers(level.concurrency)}: {', '.join(names)}{again}"


def change(
    contestant: str, concurrency: int, measure: Measure, before: Interval, now: Interval, tolerated: float
) -> Change:
    """One figure's: better or worse only where its interval leaves out 1, worse only beyond what is tolerated.

    Args:
        contestant: Whose.
        concurrency: The level.
        measure: The figure.
        before: In the older report, not 0.
        now: In the newer one.
        tolerated: The share by which it may get worse.
    """
    ratio = Interval(value=now.value / before.value)
    if before.low and before.high and now.low is not None and now.high is not None:
        ratio = Interval(value=ratio.value, low=now.low / before.high, high=now.high / before.low)
    ahead = ratio.value > 1 if MEASURES[measure].more_is_better else ratio.value < 1
    shown = excludes_one(ratio)
    return Change(
        contestant=contestant,
        concurrency=concurrency,
        measure=measure,
        before=before.value,
        now=now.value,
        ratio=ratio,
        worse=shown and not ahead and abs(ratio.value - 1) > tolerated,
        better=shown and ahead,
    )


def _figure(standing: Standing | None, measure: Measure) -> Interval | None:
    """A contestant's figure; None where it was not measured, is 0, or is the load generator's."""
    if standing is None or (MEASURES[measure].of_the_client and is_saturated(standing)):
        return None
    figure: Interval | None = getattr(standing, measure)
    return figure if figure is not None and figure.value > 0 else None


def _warnings(old: Comparison, new: Comparison) -> Iterator[str]:
    """What makes the reports unlike."""
    machine = list(_differences(old.fingerprint.machine, new.fingerprint.machine))
    if machine:
        yield f"the machines differ, so the changes may be theirs: {'; '.join(machine)}"
    versions = list(_differences(old.fingerprint.versions, new.fingerprint.versions))
    if versions:
        yield f"versions differ: {'; '.join(versions)}"
    settings = list(_differences(_settings(old), _settings(new)))
    if settings:
        yield f"the measurements differ: {'; '.join(settings)}"
    yield from _models(old, new)
    failed = ", ".join(f"{count} of {name}" for name, count in new.failed_requests.items())
    if failed:
        yield f"requests failed: {failed}"
    for name, report in (("older", old), ("newer", new)):
        if report.interrupted or report.error:
            yield f"the {name} report ended early"


def _models(old: Comparison, new: Comparison) -> Iterator[str]:
    before = {contestant.name: contestant for contestant in old.contestants}
    now = {contestant.name: contestant for contestant in new.contestants}
    for name in before.keys() - now.keys():
        yield f"{name} is only in the older report"
    for name in now.keys() - before.keys():
        yield f"{name} is only in the newer report"
    for name in (name for name in now if name in before):
        told = {"version": before[name].version, "server": before[name].server, "backend": before[name].backend}
        tells = {"version": now[name].version, "server": now[name].server, "backend": now[name].backend}
        differences = list(_differences(told, tells))
        if differences:
            yield f"{name} is another one: {'; '.join(differences)}"


def _settings(report: Comparison) -> dict[str, str]:
    return {
        "inputs": report.inputs.content if report.inputs.digest else "",
        "values of the inputs": report.inputs.digest[:12],
        "connections": str(report.connections),
        "processes": str(report.processes),
        "one awake": str(report.one_awake),
        "block seconds": f"{report.block_seconds:g}",
    }


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for key in dict.fromkeys((*before, *now)):
        if before.get(key) != now.get(key):
            yield f"{key} {before.get(key, 'unknown')} -> {now.get(key, 'unknown')}"


def _listed(levels: Sequence[int]) -> str:
    return ", ".join(map(str, levels))
