"""Why the article's finding holds where it does, in sentences that follow from the figures. Pure.

Reasons go by single intervals.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from quadriga_client.load.formats.digits import digits
from study.claims import ABOUT, KERAS, PYTORCH, TENSORFLOW, epochs, find_calls, many
from study.figures import LIKE_KERAS, Calls, Study, Training
from study.findings import ratio_text
from study.ratios import Ratio, Relation, ratio_of
from study.ways import MODEL, MODULE, PREDICT, PREDICT_ON_BATCH, SERVED, SIGNATURE

#: A cost per call is the same for every batch size where it grows less than this many times.
_CONSTANT: Final = 2.0


def compared(name: str, times: Ratio, other: str) -> str:
    """A clause on how long one takes beside the other."""
    match times.relation(ABOUT):
        case Relation.SLOWER | Relation.FASTER:
            return f"{name} takes {ratio_text(times)} as long as {other}"
        case Relation.ALIKE:
            return f"{name} is about as fast as {other}, at {ratio_text(times)} its time"
        case Relation.UNDECIDED:
            return f"{name} took {ratio_text(times)} as long as {other}, which decides nothing either way"


def reasons(study: Study) -> list[str]:
    """Why the finding holds where it does, as far as the figures show it."""
    threads = max((each.threads for each in study.calls), default=1)
    return [
        *_not_equally_fast(study.calls, threads),
        *_cost_of_calls(study.calls, PREDICT, threads),
        *_cost_of_calls(study.calls, MODEL, threads),
        *_compiled(study.calls, threads),
        *_same_loop(study.trainings),
    ]


def _not_equally_fast(calls: Sequence[Calls], threads: int) -> Iterator[str]:
    """What parts TensorFlow's calls from PyTorch's: prices per call and per row, and how PyTorch is run."""
    batches = sorted({each.batch for each in calls})
    if len(batches) < 2:
        return
    small, large = batches[0], batches[-1]
    tensorflow, tensorflow_large, pytorch, pytorch_large = (
        find_calls(calls, framework, way, batch, threads)
        for framework, way in ((TENSORFLOW, SIGNATURE), (PYTORCH, MODULE))
        for batch in (small, large)
    )
    if tensorflow is None or tensorflow_large is None or pytorch is None or pytorch_large is None:
        return
    at_small, at_large = tensorflow.times(pytorch), tensorflow_large.times(pytorch_large)
    if not {at_small.relation(ABOUT), at_large.relation(ABOUT)} & {Relation.SLOWER, Relation.FASTER}:
        return
    yield (
        f"On {many(threads, 'thread')}, a SavedModel's signature takes {ratio_text(at_small)} as long as PyTorch's "
        f"{MODULE} at batch {small}, and {ratio_text(at_large)} at batch {large}."
        + _prices(_line(tensorflow, tensorflow_large), _line(pytorch, pytorch_large), at_small, at_large)
        + _eager(pytorch_large, find_calls(calls, PYTORCH, SERVED, large, threads), at_large)
    )


def _line(small: Calls, large: Calls) -> tuple[float, float]:
    """Milliseconds per call and per row, of the straight line through two batch sizes."""
    per_row = (large.median().value - small.median().value) / (large.batch - small.batch)
    return small.median().value - per_row * small.batch, per_row


def _prices(tensorflow: tuple[float, float], pytorch: tuple[float, float], at_small: Ratio, at_large: Ratio) -> str:
    """Which of the two prices makes one slower than the other, where a straight line makes sense."""
    if min(*tensorflow, *pytorch) <= 0:
        return ""
    (call, row), (other_call, other_row) = tensorflow, pytorch
    text = (
        f" On a straight line through both, TensorFlow costs {digits(call)} ms a call and {digits(row)} ms a row, and "
        f"PyTorch {digits(other_call)} ms and {digits(other_row)} ms"
    )
    slower = {Relation.SLOWER: "TensorFlow", Relation.FASTER: "PyTorch"}
    found = [
        f"{slower[relation]}'s price per {unit} makes it the slower one with {rows} rows"
        for unit, rows, ratio, dearer in (
            ("call", "few", at_small, call > other_call),
            ("row", "many", at_large, row > other_row),
        )
        if (relation := ratio.relation(ABOUT)) in slower and dearer is (relation is Relation.SLOWER)
    ]
    return f"{text}{': ' if found else ''}{', and '.join(found)}."


def _eager(eager: Calls, served: Calls | None, at_large: Ratio) -> str:
    """Whether PyTorch is slow with many rows for how it is run, as the same weights run faster as served."""
    if served is None or at_large.relation(ABOUT) is not Relation.FASTER:
        return ""
    times = eager.times(served)
    if times.relation(ABOUT) is not Relation.SLOWER:
        return ""
    return (
        f" At batch {eager.batch}, {MODULE}, layer by layer, takes {ratio_text(times)} as long as the same weights in "
        "TorchScript as this server runs them: so much is how it is run, and not what it computes."
    )


def _cost_of_calls(calls: Sequence[Calls], way: str, threads: int) -> Iterator[str]:
    """What a way of calling Keras adds to the same file as served, at the smallest and the largest batch."""
    batches = sorted({each.batch for each in calls})
    if len(batches) < 2:
        return
    pairs = [
        (batch, find_calls(calls, KERAS, way, batch, threads), find_calls(calls, KERAS, SERVED, batch, threads))
        for batch in (batches[0], batches[-1])
    ]
    costs: list[tuple[int, float, Ratio]] = []
    for batch, naive, served in pairs:
        if naive is None or served is None:
            return
        costs.append((batch, naive.median().value - served.median().value, naive.times(served)))
    (small, small_cost, small_times), (large, large_cost, large_times) = costs
    text = (
        f"On {many(threads, 'thread')}, {way} of Keras takes {ratio_text(small_times)} as long as the same file as "
        f"this server runs it at batch {small}, and {ratio_text(large_times)} at batch {large}."
    )
    if small_times.relation(ABOUT) is not Relation.SLOWER:
        yield text
        return
    added = f"It adds {digits(small_cost)} ms to a call there and {digits(max(large_cost, 0.0))} ms here"
    if large_cost <= _CONSTANT * small_cost:
        added += f", for {large / small:g} times the rows: a price per call, not per image"
    else:
        added += ", so that it grows with the rows"
    low, high = small_times.interval.low, large_times.interval.high
    shrinks = low is not None and high is not None and high < low
    yield f"{text} {added}{'; its weight falls as batches grow.' if shrinks else '.'}"


def _compiled(calls: Sequence[Calls], threads: int) -> Iterator[str]:
    """Keras compiled, beside a SavedModel of the same weights: by its own `predict_on_batch`, and by this server."""
    pairs = (
        (PREDICT_ON_BATCH, SIGNATURE, "Keras' own compiled call, predict_on_batch,", "a SavedModel's signature"),
        (SERVED, SERVED, "Keras, compiled by this server,", "the SavedModel as served"),
    )
    for keras_way, other_way, name, other in pairs:
        found: list[tuple[int, Ratio]] = []
        for batch in sorted({each.batch for each in calls}):
            keras = find_calls(calls, KERAS, keras_way, batch, threads)
            tensorflow = find_calls(calls, TENSORFLOW, other_way, batch, threads)
            if keras and tensorflow:
                found.append((batch, keras.times(tensorflow)))
        if not found:
            continue
        listed = ", ".join(f"{ratio_text(times)} at batch {batch}" for batch, times in found)
        beside = f"this much of the time of {other} of the same weights"
        text = f"On {many(threads, 'thread')}, {name} takes {beside}: {listed}."
        if all(times.relation(ABOUT) is Relation.ALIKE for _, times in found):
            text += " So compiled, Keras shows no such cost as other ways of calling it may have."
        yield text


def _same_loop(trainings: Sequence[Training]) -> Iterator[str]:
    """Training: what epochs compare, and what they do not."""
    parameters = {each.name: each.parameters for each in trainings}
    if {TENSORFLOW, KERAS} <= parameters.keys() and parameters[TENSORFLOW] != parameters[KERAS]:
        times = parameters[TENSORFLOW] / parameters[KERAS]
        text = (
            f"The zoo's networks are not quite the same: TensorFlow's, by padding and a hidden layer, has "
            f"{parameters[TENSORFLOW]:,} weights, {digits(times)} times as many as Keras' {parameters[KERAS]:,}"
        )
        own, like = epochs(trainings, TENSORFLOW), epochs(trainings, LIKE_KERAS)
        if like and len(own) == len(like) and parameters[LIKE_KERAS] == parameters[KERAS]:
            text += (
                f". So the same loop is also timed with Keras' layers, and that is what is compared: an epoch of the "
                f"zoo's own takes {ratio_text(ratio_of(own, like))} as long"
            )
        yield f"{text}. Calls and servers below all run one network with one set of weights."
    eager, own = epochs(trainings, "keras on torch"), epochs(trainings, PYTORCH)
    if eager and len(eager) == len(own) and parameters["keras on torch"] == parameters[PYTORCH]:
        beside = ratio_of(eager, own)
        text = f"In training, {compared('Keras on PyTorch', beside, 'a loop written in PyTorch')}, with as many weights"
        if beside.relation(ABOUT) is Relation.SLOWER:
            text += ". A likely cause, not measured apart: Keras dispatches layer by layer in Python there"
        yield f"{text}."
