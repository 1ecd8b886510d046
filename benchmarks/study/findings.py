"""Sentences that follow from the figures, and say something else where those do. Pure."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from quadriga_client.load.formats.digits import digits
from quadriga_client.load.formats.wording import bounds
from quadriga_client.load.intervals import median_interval, ratio_interval
from quadriga_client.load.report import Interval
from study.claims import (
    KERAS,
    PYTORCH,
    TENSORFLOW,
    Relation,
    Verdict,
    closed_loops,
    epochs,
    find_calls,
    many,
    relation,
    trials,
)
from study.figures import Calls, Code, Served, Study, Training
from study.lines import CORE
from study.ways import MODEL, PREDICT, PREDICT_ON_BATCH, SERVED, SIGNATURE

NAMES: Final = {
    TENSORFLOW: "TensorFlow",
    PYTORCH: "PyTorch",
    "onnx": "ONNX",
    "keras": "Keras",
    KERAS: "Keras on TensorFlow",
    "keras on torch": "Keras on PyTorch",
    "keras on jax": "Keras on JAX",
}
#: A cost per call is the same for every batch size where it grows less than this many times.
_CONSTANT: Final = 2.0


def name_of(framework: str) -> str:
    """As people write it, with what comes after a colon."""
    framework, colon, call = framework.partition(": ")
    return NAMES.get(framework, framework) + colon + call


def ratio_text(times: Interval) -> str:
    """A ratio with its interval: "3.10 times (2.98-3.30)"."""
    ends = bounds(times)
    return f"{digits(times.value)} times" + (f" ({ends})" if ends else "")


def compared(name: str, times: Interval, other: str) -> str:
    """A clause on how long one takes beside the other."""
    match relation(times):
        case Relation.SLOWER | Relation.FASTER:
            return f"{name} takes {ratio_text(times)} as long as {other}"
        case Relation.ALIKE:
            return f"{name} is about as fast as {other}, at {ratio_text(times)} its time"
        case Relation.UNDECIDED:
            return f"{name} took {ratio_text(times)} as long as {other}, which decides nothing either way"


def answer(study: Study) -> list[str]:
    """The article's two claims, over all conditions."""
    found = trials(study)
    if not found:
        return ["Nothing was measured of all three frameworks, so that nothing can be said of the article's finding."]
    # Of calls, several conditions share the two that Keras is held against.
    pairs = list({(trial.kind, trial.tensorflow_to_pytorch): trial for trial in found}.values())
    return [
        _tally("That TensorFlow and PyTorch are about equally fast", [(each.kind, each.equal()) for each in pairs]),
        _tally("That Keras is slower than both", [(each.kind, each.keras_slow()) for each in found]),
    ]


def _tally(claim: str, verdicts: Sequence[tuple[str, Verdict]]) -> str:
    parts = []
    for kind in dict.fromkeys(kind for kind, _ in verdicts):
        own = [verdict for each, verdict in verdicts if each == kind]
        counts = [
            f"{words} {own.count(verdict)}"
            for verdict, words in (
                (Verdict.HOLDS, "holds in"),
                (Verdict.FAILS, "does not hold in"),
                (Verdict.UNDECIDED, "is not decided in"),
            )
            if verdict in own
        ]
        parts.append(f"{kind}, it {' and '.join(counts)} of {many(len(own), 'condition')}")
    return f"{claim}: {'; '.join(parts)}."


def reasons(study: Study) -> list[str]:
    """Why the finding holds where it does, as far as the figures show it."""
    threads = max((each.threads for each in study.calls), default=1)
    return [
        *_cost_of_calls(study.calls, PREDICT, threads),
        *_cost_of_calls(study.calls, MODEL, threads),
        *_compiled(study.calls, threads),
        *_same_loop(study.trainings),
        *_naive_servers(study.served),
    ]


def _cost_of_calls(calls: Sequence[Calls], way: str, threads: int) -> Iterator[str]:
    """What a way of calling Keras adds to the same file as served, at the smallest and the largest batch."""
    batches = sorted({each.batch for each in calls})
    if len(batches) < 2:
        return
    pairs = [
        (batch, find_calls(calls, KERAS, way, batch, threads), find_calls(calls, KERAS, SERVED, batch, threads))
        for batch in (batches[0], batches[-1])
    ]
    costs: list[tuple[int, float, Interval]] = []
    for batch, naive, served in pairs:
        if naive is None or served is None:
            return
        costs.append((batch, naive.median().value - served.median().value, naive.times(served)))
    (small, small_cost, small_times), (large, large_cost, large_times) = costs
    text = (
        f"{way} of Keras takes {ratio_text(small_times)} as long as the same file as this server runs it at batch "
        f"{small}, and {ratio_text(large_times)} at batch {large}."
    )
    if relation(small_times) is not Relation.SLOWER:
        yield text
        return
    added = f"It adds {digits(small_cost)} ms to a call there and {digits(max(large_cost, 0.0))} ms here"
    if large_cost <= _CONSTANT * small_cost:
        added += f", for {large / small:g} times the rows: a price per call, not per image"
    else:
        added += ", so that it grows with the rows"
    shrinks = small_times.low is not None and large_times.high is not None and large_times.high < small_times.low
    yield f"{text} {added}{'; its weight falls as batches grow.' if shrinks else '.'}"


def _compiled(calls: Sequence[Calls], threads: int) -> Iterator[str]:
    """Keras compiled, beside a SavedModel of the same weights: by its own `predict_on_batch`, and by this server."""
    pairs = (
        (PREDICT_ON_BATCH, SIGNATURE, "Keras' own compiled call, predict_on_batch,", "a SavedModel's signature"),
        (SERVED, SERVED, "Keras, compiled by this server,", "the SavedModel as served"),
    )
    for keras_way, other_way, name, other in pairs:
        found: list[tuple[int, Interval]] = []
        for batch in sorted({each.batch for each in calls}):
            keras = find_calls(calls, KERAS, keras_way, batch, threads)
            tensorflow = find_calls(calls, TENSORFLOW, other_way, batch, threads)
            if keras and tensorflow:
                found.append((batch, keras.times(tensorflow)))
        if not found:
            continue
        listed = ", ".join(f"{ratio_text(times)} at batch {batch}" for batch, times in found)
        text = f"{name} takes this much of the time of {other} of the same weights: {listed}."
        if all(relation(times) is Relation.ALIKE for _, times in found):
            text += " So compiled, Keras shows no such cost as other ways of calling it may have."
        yield text


def _same_loop(trainings: Sequence[Training]) -> Iterator[str]:
    """Training: what epochs compare, and what they do not."""
    parameters = {each.name: each.parameters for each in trainings}
    if {TENSORFLOW, KERAS} <= parameters.keys() and parameters[TENSORFLOW] != parameters[KERAS]:
        times = parameters[TENSORFLOW] / parameters[KERAS]
        yield (
            f"The networks are not quite the same: TensorFlow's has {parameters[TENSORFLOW]:,} weights, "
            f"{digits(times)} times as many as Keras' {parameters[KERAS]:,}, so that an epoch of the one is not the "
            "work of an epoch of the other. Calls and servers below all run one network with one set of weights."
        )
    eager, own = epochs(trainings, "keras on torch"), epochs(trainings, PYTORCH)
    if eager and len(eager) == len(own) and parameters["keras on torch"] == parameters[PYTORCH]:
        beside = ratio_interval(eager, own)
        text = f"In training, {compared('Keras on PyTorch', beside, 'a loop written in PyTorch')}, with as many weights"
        if relation(beside) is Relation.SLOWER:
            text += ". A likely cause, not measured apart: Keras dispatches layer by layer in Python there"
        yield f"{text}."


def _naive_servers(served: Sequence[Served]) -> Iterator[str]:
    """Quadriga beside servers that make the call in a handler, in closed loops of one row."""
    closed = [each for each in closed_loops(served) if each.rows == 1]
    ours = {(each.server, each.level): each for each in closed if not each.naive}
    for name in dict.fromkeys(each.server for each in closed if each.naive):
        framework = name.partition(": ")[0]
        clauses = [
            f"{ratio_text(mine.times(each))} with {each.level:g}"
            for each in closed
            if each.server == name and (mine := ours.get((framework, each.level)))
        ]
        if clauses:
            yield (
                f"Of single rows, Quadriga answers this many times as many requests a second as a naive server with "
                f"{name_of(name)}, by callers: {', '.join(clauses)}."
            )


def fastest(served: Sequence[Served]) -> list[str]:
    """Which of Quadriga's models answered the most under each load; none where that is not shown."""
    found = []
    closed = [each for each in closed_loops(served) if not each.naive]
    for rows, level in dict.fromkeys((each.rows, each.level) for each in closed):
        at = [each for each in closed if (each.rows, each.level) == (rows, level)]
        order = sorted(at, key=lambda each: -each.rate().value)
        if len(order) < 2:
            continue
        best, second = order[:2]
        times = best.times(second)
        load = f"{many(rows, 'row')} a request, {many(level, 'caller')}"
        behind = [
            name_of(each.server) for each in served if each.saturated and (each.rows, each.level) == (rows, level)
        ]
        if behind:
            load += f", without {' and '.join(behind)}, which the generator did not keep up with"
        if times.low is not None and times.low > 1:
            found.append(
                f"{load}: {name_of(best.server)} answers the most, {ratio_text(times)} as many as "
                f"{name_of(second.server)}, which is next."
            )
        else:
            found.append(f"{load}: no difference shown between {name_of(best.server)} and {name_of(second.server)}.")
    return found


def first_epoch(trainings: Sequence[Training]) -> float:
    """Seconds of the first epoch, likewise: their median."""
    return statistics.median(each.seconds[0] for each in trainings)


def later_epochs(trainings: Sequence[Training]) -> Interval:
    """Seconds of an epoch after the first, of one network's trainings."""
    return median_interval(epochs(trainings, trainings[0].name))


def on_code(codes: Sequence[Code]) -> str:
    """The order of the networks by the lines that build and train them."""
    order = sorted(codes, key=lambda code: code.lines(*CORE))
    listed = ", ".join(f"{name_of(code.network)} {code.lines(*CORE)}" for code in order)
    return f"Lines that build and train the network, fewest first: {listed}."


def on_training(trainings: Sequence[Training]) -> list[str]:
    """What the first epoch costs, and how accurate the networks are."""
    sentences = []
    for name in dict.fromkeys(each.name for each in trainings):
        own = [each for each in trainings if each.name == name]
        first = first_epoch(own)
        later = later_epochs(own).value
        sentences.append(
            f"{name_of(name)}: a first epoch takes {digits(first)} s, {digits(first / later)} times as long as another."
        )
    spread = {each.accuracy for each in trainings}
    if spread:
        sentences.append(
            f"After all {len(trainings)} trainings, between {min(spread):.1%} and {max(spread):.1%} of the test images "
            "are classified right."
        )
    return sentences
