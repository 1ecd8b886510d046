"""Running checks against a server, one after the other; runs in the kit's process.

Checks run one at a time, since statistics are counted exactly; those that need several requests at once make them.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from quadriga_client.conformance.catalogue import GROUPS, Check
from quadriga_client.conformance.outcomes import Failed, Level, Outcome, Result, ServerGone, Skipped, Unsupported
from quadriga_client.conformance.report import Entry, Report
from quadriga_client.conformance.target import Target
from quadriga_client.conformance.wire import Wire
from quadriga_client.tokens import is_local

#: Why a run ended early, where the user ended it.
INTERRUPT: Final = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run is to do.

    Attributes:
        url: HOST:PORT of the server.
        models: Names by role.
        timeout: Seconds per call.
        allow_model_control: Whether models may be unloaded and loaded.
    """

    url: str
    models: Mapping[str, Sequence[str]]
    timeout: float
    allow_model_control: bool = False


def run(settings: Settings, checks: Sequence[Check], on_entry: Callable[[Entry], None] = lambda entry: None) -> Report:
    """Runs the checks; one that is interrupted by the user ends the run with what was learned.

    Args:
        settings: Of the run.
        checks: In their order.
        on_entry: Hears of each check when it has ended.

    Raises:
        ServerGone: No server could be reached at all.
    """
    date = datetime.now(UTC).isoformat(timespec="seconds")
    wire = Wire(settings.url, settings.timeout)
    entries: list[Entry] = []
    ended_early = ""
    try:
        wire.connect()
        target = Target(wire, local=is_local(settings.url), allow_model_control=settings.allow_model_control)
        target.explore(settings.models)
        try:
            for entry in _entries(target, checks):
                entries.append(entry)
                on_entry(entry)
        except ServerGone:
            ended_early = "the server is gone"
        except KeyboardInterrupt:
            ended_early = INTERRUPT
    finally:
        wire.close()
    if ended_early:
        entries += _missed(checks[len(entries) :], ended_early)
    return Report(
        url=settings.url,
        date=date,
        server=target.name,
        server_version=target.version,
        extensions=target.extensions,
        roles={role: [model.name for model in models] for role, models in target.models.items()},
        entries=entries,
        ended_early=ended_early,
    )


def run_check(check: Check, target: Target) -> Result:
    """Runs one check and turns its end into a result; only `ServerGone` and interrupts go through."""
    start = time.perf_counter()
    outcome, message, observed = Outcome.PASSED, "", ""
    try:
        observed = check.function(target) or ""
    except Failed as failed:
        outcome, message = Outcome.FAILED, str(failed)
    except Unsupported as unsupported:
        outcome, message = _judge_absence(check, target, str(unsupported))
    except Skipped as skipped:
        outcome, message = Outcome.SKIPPED, str(skipped)
    except ServerGone:
        raise
    except Exception as error:
        outcome, message = Outcome.ERROR, f"the kit failed: {type(error).__name__}: {error}"
    return Result(id=check.id, outcome=outcome, message=message, observed=observed, seconds=time.perf_counter() - start)


def _judge_absence(check: Check, target: Target, message: str) -> tuple[Outcome, str]:
    """Whether a server may lack what a check is about: not where the protocol requires it, or it claims to have it."""
    extension = GROUPS[check.group]
    if check.group.startswith("oip.") and check.level is Level.MUST:
        return Outcome.FAILED, f"{message}; the protocol requires it"
    if extension and extension in target.extensions:
        return Outcome.FAILED, f"{message}, but ServerMetadata advertises {extension!r}"
    return Outcome.UNSUPPORTED, message


def _entries(target: Target, checks: Sequence[Check]) -> Iterator[Entry]:
    for check in checks:
        try:
            result = run_check(check, target)
        except ServerGone as gone:
            yield Entry.of(check, Result(id=check.id, outcome=Outcome.ERROR, message=f"in the middle of it, {gone}"))
            raise
        yield Entry.of(check, replace(result, message=result.message[:1000], observed=result.observed[:300]))


def _missed(checks: Sequence[Check], why: str) -> Iterator[Entry]:
    for check in checks:
        yield Entry.of(check, Result(id=check.id, outcome=Outcome.SKIPPED, message=f"not run: {why}"))
