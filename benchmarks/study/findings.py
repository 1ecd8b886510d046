"""Sentences that follow from the figures, and say something else where those do. Pure.

Who answers the most is corrected for the number of ratios that are asked. Why the finding holds: see `reasons`.
"""

import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

from quadriga_client.load.formats.digits import digits
from quadriga_client.load.formats.wording import bounds
from study.claims import KERAS, PYTORCH, TENSORFLOW, closed_loops, many
from study.figures import LIKE_KERAS, Code, Served, Training
from study.lines import CORE
from study.ratios import Ratio, Relation, shown

NAMES: Final = {
    TENSORFLOW: "TensorFlow",
    PYTORCH: "PyTorch",
    "onnx": "ONNX",
    "keras": "Keras",
    KERAS: "Keras on TensorFlow",
    "keras on torch": "Keras on PyTorch",
    "keras on jax": "Keras on JAX",
    LIKE_KERAS: "TensorFlow, Keras' layers",
}


class Beside(NamedTuple):
    """A model of Quadriga's beside a naive server with the same framework, under the same load.

    Attributes:
        server: The naive one.
        rows: Per request.
        callers: Of the closed loop.
        ratio: Quadriga's answers per second over its.
    """

    server: str
    rows: int
    callers: float
    ratio: Ratio


def name_of(framework: str) -> str:
    """As people write it, with what comes after a colon."""
    framework, colon, call = framework.partition(": ")
    return NAMES.get(framework, framework) + colon + call


def ratio_text(ratio: Ratio) -> str:
    """A ratio with its interval: "3.10 times (2.98-3.30)"."""
    ends = bounds(ratio.interval)
    return f"{digits(ratio.value)} times" + (f" ({ends})" if ends else "")


def beside_naive(served: Sequence[Served]) -> list[Beside]:
    """Quadriga beside servers that make the call in a handler, in closed loops."""
    closed = closed_loops(served)
    ours = {(each.server, each.rows, each.level): each for each in closed if not each.naive}
    return [
        Beside(each.server, each.rows, each.level, mine.times(each))
        for each in closed
        if each.naive and (mine := ours.get((each.server.partition(": ")[0], each.rows, each.level)))
    ]


def on_naive(found: Sequence[Beside]) -> list[str]:
    """Where Quadriga answers more than a naive server, and where fewer; all are asked at a time."""
    if not found:
        return []
    relations = shown((each.ratio for each in found), bound=1.0)
    more = [each.ratio.value for each in found if relations[each.ratio] is Relation.SLOWER]
    fewer = [
        f"{name_of(each.server)} with {load_of(each.rows, each.callers)}, {ratio_text(each.ratio)} as many"
        for each in found
        if relations[each.ratio] is Relation.FASTER
    ]
    text = f"Beside naive servers, Quadriga answers more requests a second in {len(more)} of {len(found)} comparisons"
    if more:
        text += f", {digits(min(more))} to {digits(max(more))} times as many"
    text += f", and fewer in {len(fewer)}{': ' if fewer else ''}{'; '.join(fewer)}."
    return [f"{text} In {len(found) - len(more) - len(fewer)} no difference is shown."]


def load_of(rows: int, callers: float) -> str:
    """A closed loop: "1 row a request, 8 callers"."""
    return f"{many(rows, 'row')} a request, {many(callers, 'caller')}"


def fastest(served: Sequence[Served]) -> list[str]:
    """Which of Quadriga's models answered the most under each load; none where that is not shown.

    The one with the most answers is held against each of the others, and all loads are asked at a time.
    """
    closed = [each for each in closed_loops(served) if not each.naive]
    loads: dict[tuple[int, float], list[Served]] = {}
    for each in closed:
        loads.setdefault((each.rows, each.level), []).append(each)
    orders = {load: sorted(at, key=lambda each: -each.rate().value) for load, at in loads.items() if len(at) > 1}
    leads = {load: {each.server: best.times(each) for each in others} for load, (best, *others) in orders.items()}
    more = shown((lead for each in leads.values() for lead in each.values()), bound=1.0)
    sentences = []
    for (rows, level), (best, *_) in orders.items():
        found = leads[rows, level]
        alike = [name_of(server) for server, lead in found.items() if more[lead] is not Relation.SLOWER]
        behind = [
            name_of(each.server)
            for each in served
            if each.saturated and not each.naive and (each.rows, each.level) == (rows, level)
        ]
        text = load_of(rows, level)
        if behind:
            text += f", without {' and '.join(behind)}, which the generator did not keep up with"
        if alike:
            text += f": no difference shown between {name_of(best.server)} and {', '.join(alike)}."
        else:
            server, lead = next(iter(found.items()))
            text += f": {name_of(best.server)} answers the most, {ratio_text(lead)} as many as {name_of(server)}, next."
        sentences.append(text)
    return sentences


def first_epoch(trainings: Sequence[Training]) -> float:
    """Seconds of one network's first epochs: their median."""
    return statistics.median(each.seconds[0] for each in trainings)


def on_code(codes: Sequence[Code]) -> str:
    """The order of the networks by the lines that build and train them."""
    order = sorted(codes, key=lambda code: code.lines(*CORE))
    listed = ", ".join(f"{name_of(code.network)} {code.lines(*CORE)}" for code in order)
    return f"Lines that build and train the network, fewest first: {listed}."


def on_accuracy(trainings: Sequence[Training]) -> str:
    """How accurate the networks are."""
    found = [each.accuracy for each in trainings]
    return (
        f"After all {len(found)} trainings, between {min(found):.1%} and {max(found):.1%} of the test images are "
        "classified right."
    )
