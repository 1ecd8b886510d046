"""Checks of ModelStatistics: that counts are exact."""

import time
from collections.abc import Callable

from quadriga_client.conformance.catalogue import register
from quadriga_client.conformance.checks.sources import triton
from quadriga_client.conformance.outcomes import Failed, Level, Skipped
from quadriga_client.conformance.roles import RoleModel
from quadriga_client.conformance.target import UNKNOWN_MODEL, Target, valid_request
from quadriga_proto import inference_pb2 as pb

GROUP = "triton.statistics"
_SOURCE = triton("statistics")
#: Counts may be written after the response was sent: how long they may take, and between two looks, in seconds.
_SETTLE_SECONDS = 2.0
_LOOK_SECONDS = 0.02


@register(
    "TRITON-STATS-MODEL", GROUP, Level.SHOULD, "ModelStatistics of a model answers for it alone.", source=_SOURCE,
    roles=["echo"],
)  # fmt: skip
def of_a_model(target: Target) -> None:
    model = target.echo()
    names = {entry.name for entry in _all(target, model.name)}
    if names != {model.name}:
        raise Failed(f"statistics of {model.name!r} are those of {sorted(names)}")


@register(
    "TRITON-STATS-ALL", GROUP, Level.SHOULD, "ModelStatistics without a name answers for every model.", source=_SOURCE,
    roles=["echo"],
)  # fmt: skip
def of_all_models(target: Target) -> None:
    target.echo()
    expected = {model.name for model in target.cast()}
    names = {entry.name for entry in _all(target, "")}
    if not expected <= names:
        raise Failed(f"statistics of {', '.join(sorted(expected - names))} are missing")


@register(
    "TRITON-STATS-COUNT", GROUP, Level.SHOULD, "Five requests of a row count as five inferences and five successes.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def count(target: Target) -> None:
    _expect_growth(target, target.echo(), requests=5, rows=1)


@register(
    "TRITON-STATS-ROWS", GROUP, Level.SHOULD, "inference_count counts rows, success.count requests.", source=_SOURCE,
    roles=["echo"],
)  # fmt: skip
def rows(target: Target) -> None:
    model = target.echo()
    if not model.batches:
        raise Skipped(f"{model.name!r} has no open first dimension")
    _expect_growth(target, model, requests=2, rows=3)


@register(
    "TRITON-STATS-EXECUTIONS", GROUP, Level.SHOULD, "Requests one after the other are an execution each.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def executions(target: Target) -> None:
    model = target.echo()
    before = _quiet(target, model)
    for seed in range(3):
        target.infer(valid_request(model, seed=seed))
    after = _settled(target, model, lambda now: now.execution_count >= before.execution_count + 3)
    if after.execution_count != before.execution_count + 3:
        grown = after.execution_count - before.execution_count
        raise Failed(f"execution_count grew by {grown} over 3 requests, one after the other; expected 3")


@register(
    "TRITON-STATS-PHASES", GROUP, Level.SHOULD,
    "queue counts every success, and the three compute phases every one that was not from a cache.", source=_SOURCE,
    roles=["echo"],
)  # fmt: skip
def phases(target: Target) -> None:
    model = target.echo()
    target.infer(valid_request(model))
    now = _settled(target, model, lambda now: now.inference_stats.success.count > 0).inference_stats
    computed = now.success.count - now.cache_hit.count
    found = {
        "queue": (now.queue.count, now.success.count),
        "compute_input": (now.compute_input.count, computed),
        "compute_infer": (now.compute_infer.count, computed),
        "compute_output": (now.compute_output.count, computed),
    }
    if wrong := {name: pair for name, pair in found.items() if pair[0] != pair[1]}:
        raise Failed(", ".join(f"{name}.count is {came}; expected {wanted}" for name, (came, wanted) in wrong.items()))


@register(
    "TRITON-STATS-DURATIONS", GROUP, Level.SHOULD, "A success lasts at least as long as its phases together.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def durations(target: Target) -> None:
    model = target.echo()
    target.infer(valid_request(model))
    now = _settled(target, model, lambda now: now.inference_stats.success.count > 0).inference_stats
    parts = now.queue.ns + now.compute_input.ns + now.compute_infer.ns + now.compute_output.ns
    if now.success.ns < parts:
        raise Failed(f"success.ns is {now.success.ns}, its phases together are {parts}; expected no more")


@register(
    "TRITON-STATS-BATCHES", GROUP, Level.SHOULD,
    "A request of two rows, alone, is one more execution of that batch size.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def batches(target: Target) -> None:
    model = target.echo()
    if not model.batches:
        raise Skipped(f"{model.name!r} has no open first dimension")
    before = _executions_by_size(_quiet(target, model))
    target.infer(valid_request(model, rows=2))
    expected = {**before, 2: before.get(2, 0) + 1}
    after = _executions_by_size(_settled(target, model, lambda now: _executions_by_size(now) == expected))
    if after != expected:
        raise Failed(f"executions by batch size went from {before} to {after}; expected {expected}")


@register(
    "TRITON-STATS-REFUSED", GROUP, Level.SHOULD, "A refused request is no inference and no success.", source=_SOURCE,
    roles=["echo"],
)  # fmt: skip
def refused(target: Target) -> str:
    model = target.echo()
    before = _quiet(target, model)
    request = valid_request(model)
    del request.raw_input_contents[:]
    target.attempt(request).refused("an input without data")
    target.infer(valid_request(model))
    after = _settled(target, model, lambda now: now.inference_count > before.inference_count)
    grown = after.inference_stats.success.count - before.inference_stats.success.count
    if after.inference_count != before.inference_count + 1 or grown != 1:
        raise Failed(f"an answered and a refused request count as {grown} successes; expected 1")
    return f"fail.count grew by {after.inference_stats.fail.count - before.inference_stats.fail.count}"


@register(
    "TRITON-STATS-LAST", GROUP, Level.SHOULD, "last_inference is a time in milliseconds, and does not go back.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def last_inference(target: Target) -> None:
    model = target.echo()
    target.infer(valid_request(model))
    first = _settled(target, model, lambda now: now.last_inference > 0).last_inference
    target.infer(valid_request(model))
    second = _one(target, model).last_inference
    # Seconds or microseconds since 1970 are far outside.
    if not 10**12 < first <= second < 10**13:
        raise Failed(f"last_inference is {first} and then {second}; expected milliseconds since 1970, not going back")


@register(
    "TRITON-STATS-UNKNOWN", GROUP, Level.SHOULD, "ModelStatistics of a model that is not there is an error.",
    source=_SOURCE, roles=["echo"],
)  # fmt: skip
def unknown(target: Target) -> str:
    _all(target, target.echo().name)
    return target.wire.call("ModelStatistics", pb.ModelStatisticsRequest(name=UNKNOWN_MODEL)).refused(
        "a model that is not there"
    )


def _expect_growth(target: Target, model: RoleModel, *, requests: int, rows: int) -> None:
    before = _quiet(target, model)
    for seed in range(requests):
        target.infer(valid_request(model, seed=seed, rows=rows))
    after = _settled(target, model, lambda now: now.inference_count >= before.inference_count + requests * rows)
    inferences = after.inference_count - before.inference_count
    successes = after.inference_stats.success.count - before.inference_stats.success.count
    if (inferences, successes) != (requests * rows, requests):
        raise Failed(
            f"{requests} requests of {rows} rows count as {inferences} inferences and {successes} successes; "
            f"expected {requests * rows} and {requests}"
        )


def _all(target: Target, name: str) -> list[pb.ModelStatistics]:
    reply = target.wire.call("ModelStatistics", pb.ModelStatisticsRequest(name=name))
    return list(reply.read(pb.ModelStatisticsResponse).model_stats)


def _one(target: Target, model: RoleModel) -> pb.ModelStatistics:
    """The statistics of the version that answers when none is asked for: the highest, by every server's custom."""
    numbers = [version for version in model.versions if version.isdecimal()]
    version = max(numbers, key=int) if len(model.versions) > 1 and numbers else ""
    found = [entry for entry in _all(target, model.name) if version in ("", entry.version)]
    if len(found) != 1:
        raise Failed(f"{len(found)} statistics of {model.name!r}; expected one for the version that serves")
    return found[0]


def _quiet(target: Target, model: RoleModel) -> pb.ModelStatistics:
    """The statistics once those of earlier requests are in: when two looks in a row agree."""
    last = _counts(_one(target, model))

    def same(now: pb.ModelStatistics) -> bool:
        nonlocal last
        agree, last = _counts(now) == last, _counts(now)
        return agree

    time.sleep(_LOOK_SECONDS)
    return _settled(target, model, same)


def _settled(target: Target, model: RoleModel, condition: Callable[[pb.ModelStatistics], bool]) -> pb.ModelStatistics:
    end = time.monotonic() + _SETTLE_SECONDS
    while True:
        now = _one(target, model)
        if condition(now) or time.monotonic() > end:
            return now
        time.sleep(_LOOK_SECONDS)


def _counts(statistics: pb.ModelStatistics) -> tuple[int, int, int]:
    return statistics.inference_count, statistics.execution_count, statistics.inference_stats.success.count


def _executions_by_size(statistics: pb.ModelStatistics) -> dict[int, int]:
    return {entry.batch_size: entry.compute_infer.count for entry in statistics.batch_stats}
