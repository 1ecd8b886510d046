"""The article's finding, held against ratios: does it hold, does it not, or do these figures not tell? Pure.

Its finding: TensorFlow and PyTorch are about equally fast, and Keras is slow. All ratios of a kind of conditions are
asked at a time: what of them is shown is shown with Holm's correction for their number.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from study.figures import LIKE_KERAS, Calls, Served, Study, Training
from study.ratios import Ratio, Relation, ratio_of, shown
from study.ways import MODEL, MODULE, PREDICT, SIGNATURE

#: Within this ratio two are about equally fast, and beyond it one of them is slow: the study's own choice.
ABOUT: Final = 1.25
#: Others that one could have chosen.
OTHER_BOUNDS: Final = (1.1, 1.5)
#: Kinds of conditions.
TRAINING, CALLS, SERVED = "in training", "in calls as readers write them", "served by Quadriga"
TENSORFLOW, PYTORCH, KERAS = "tensorflow", "pytorch", "keras on tensorflow"


class Verdict(Enum):
    """On a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "not decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The finding under one condition, as ratios of times.

    Attributes:
        kind: `TRAINING`, `CALLS` or `SERVED`.
        condition: What was done, and how.
        tensorflow_to_pytorch: TensorFlow's time over PyTorch's.
        keras_to_tensorflow: Keras' over TensorFlow's.
        keras_to_pytorch: Keras' over PyTorch's.
    """

    kind: str
    condition: str
    tensorflow_to_pytorch: Ratio
    keras_to_tensorflow: Ratio
    keras_to_pytorch: Ratio

    @property
    def ratios(self) -> tuple[Ratio, Ratio, Ratio]:
        """All three."""
        return self.tensorflow_to_pytorch, self.keras_to_tensorflow, self.keras_to_pytorch


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A trial's verdicts.

    Attributes:
        trial: What was measured.
        tensorflow: How long TensorFlow takes beside PyTorch.
        equal: Whether TensorFlow and PyTorch are about equally fast.
        keras_slow: Whether Keras is slower than both.
    """

    trial: Trial
    tensorflow: Relation
    equal: Verdict
    keras_slow: Verdict


def judge(found: Sequence[Trial], bound: float = ABOUT, *, corrected: bool = True) -> tuple[Judged, ...]:
    """The verdicts on all trials.

    Args:
        found: The trials; all that are of one kind are asked at a time.
        bound: Within which, either way, two are about equally fast.
        corrected: For the number of ratios; else each stands for itself.
    """
    relations = {ratio: ratio.relation(bound) for trial in found for ratio in trial.ratios}
    if corrected:
        for ratios in ratios_by_kind(found).values():
            relations |= shown(ratios, bound)
    return tuple(
        Judged(
            trial=trial,
            tensorflow=relations[trial.tensorflow_to_pytorch],
            equal=_equal(relations[trial.tensorflow_to_pytorch]),
            keras_slow=_slow({relations[trial.keras_to_tensorflow], relations[trial.keras_to_pytorch]}),
        )
        for trial in found
    )


def ratios_by_kind(found: Iterable[Trial]) -> dict[str, dict[Ratio, None]]:
    """What is asked at a time: each kind's ratios, those that several conditions share once."""
    kinds: dict[str, dict[Ratio, None]] = {}
    for trial in found:
        kinds.setdefault(trial.kind, {}).update(dict.fromkeys(trial.ratios))
    return kinds


def _equal(relation: Relation) -> Verdict:
    return {Relation.ALIKE: Verdict.HOLDS, Relation.UNDECIDED: Verdict.UNDECIDED}.get(relation, Verdict.FAILS)


def _slow(relations: set[Relation]) -> Verdict:
    if relations == {Relation.SLOWER}:
        return Verdict.HOLDS
    return Verdict.FAILS if relations & {Relation.ALIKE, Relation.FASTER} else Verdict.UNDECIDED


def trials(study: Study) -> tuple[Trial, ...]:
    """Every condition of which all three were measured: training, calls as readers write them, and served."""
    return tuple([*_training(study.trainings), *_calls(study.calls), *_served(study.served)])


def epochs(trainings: Iterable[Training], name: str) -> list[float]:
    """Seconds of a network's epoch after the first: each training's median, in the order of seeds."""
    return [each.later for each in sorted(trainings, key=lambda each: each.seed) if each.name == name]


def _training(trainings: Sequence[Training]) -> Iterator[Trial]:
    """Of the same layers in all three; the zoo's network in TensorFlow has others."""
    names = (LIKE_KERAS, PYTORCH, KERAS)
    tensorflow, pytorch, keras = (epochs(trainings, name) for name in names)
    sizes = {each.parameters for each in trainings if each.name in names}
    if len(sizes) == 1 and len(tensorflow) == len(pytorch) == len(keras):
        yield Trial(
            kind=TRAINING,
            condition="training of the same layers, per epoch after the first",
            tensorflow_to_pytorch=ratio_of(tensorflow, pytorch),
            keras_to_tensorflow=ratio_of(keras, tensorflow),
            keras_to_pytorch=ratio_of(keras, pytorch),
        )


def find_calls(calls: Iterable[Calls], framework: str, way: str, batch: int, threads: int) -> Calls | None:
    """One way's figures; None where it was not measured."""
    return next(
        (
            each
            for each in calls
            if (each.framework, each.way, each.batch, each.threads) == (framework, way, batch, threads)
        ),
        None,
    )


def _calls(calls: Sequence[Calls]) -> Iterator[Trial]:
    """On one thread, and on all cores, which is how most frameworks run by themselves."""
    conditions = dict.fromkeys((each.threads, way, each.batch) for way in (PREDICT, MODEL) for each in calls)
    for threads, keras_way, batch in sorted(conditions, key=lambda condition: condition[0]):
        tensorflow = find_calls(calls, TENSORFLOW, SIGNATURE, batch, threads)
        pytorch = find_calls(calls, PYTORCH, MODULE, batch, threads)
        keras = find_calls(calls, KERAS, keras_way, batch, threads)
        if tensorflow and pytorch and keras:
            yield Trial(
                kind=CALLS,
                condition=f"calls on {many(threads, 'thread')}, Keras by {keras_way}, {many(batch, 'row')}",
                tensorflow_to_pytorch=tensorflow.times(pytorch),
                keras_to_tensorflow=keras.times(tensorflow),
                keras_to_pytorch=keras.times(pytorch),
            )


def closed_loops(served: Iterable[Served]) -> list[Served]:
    """Servers in closed loops that answered every request, in every round, and that the generator kept up with."""
    return [
        each
        for each in served
        if each.mode == "closed" and not each.saturated and not each.errors and all(each.throughput)
    ]


def _served(served: Sequence[Served]) -> Iterator[Trial]:
    """Closed loops; the time of an answer is the inverse of their number per second."""
    closed = [each for each in closed_loops(served) if not each.naive]
    for rows, callers in dict.fromkeys((each.rows, each.level) for each in closed):
        at = {each.server: each for each in closed if (each.rows, each.level) == (rows, callers)}
        if {TENSORFLOW, PYTORCH, KERAS} <= at.keys():
            tensorflow, pytorch, keras = at[TENSORFLOW], at[PYTORCH], at[KERAS]
            yield Trial(
                kind=SERVED,
                condition=f"served, {many(rows, 'row')} a request, {many(callers, 'caller')}",
                tensorflow_to_pytorch=pytorch.times(tensorflow),
                keras_to_tensorflow=tensorflow.times(keras),
                keras_to_pytorch=pytorch.times(keras),
            )


def many(count: float, noun: str) -> str:
    """As "1 row" and "8 rows"."""
    return f"{count:g} {noun}{'s' * (count != 1)}"
