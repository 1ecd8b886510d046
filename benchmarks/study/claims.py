"""The article's finding, held against ratios: does it hold, does it not, or do these figures not tell? Pure.

Its finding: TensorFlow and PyTorch are about equally fast, and Keras is slow.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from quadriga_client.load.intervals import ratio_interval
from quadriga_client.load.report import Interval
from study.figures import Calls, Served, Study, Training
from study.ways import MODEL, MODULE, PREDICT, SIGNATURE

#: Within this ratio two are about equally fast, and beyond it one of them is slow.
ABOUT: Final = 1.25
#: Kinds of conditions.
TRAINING, CALLS, SERVED = "in training", "in calls as readers write them", "served by Quadriga"
TENSORFLOW, PYTORCH, KERAS = "tensorflow", "pytorch", "keras on tensorflow"


class Relation(Enum):
    """How long something takes beside something else, where the whole confidence interval says so."""

    SLOWER = "slower"
    FASTER = "faster"
    ALIKE = "about as fast"
    UNDECIDED = "not decided"


class Verdict(Enum):
    """On a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "not decided"


def relation(times: Interval) -> Relation:
    """What a ratio of times says."""
    if times.low is None or times.high is None:
        return Relation.UNDECIDED
    if times.low > ABOUT:
        return Relation.SLOWER
    if times.high < 1 / ABOUT:
        return Relation.FASTER
    return Relation.ALIKE if times.low >= 1 / ABOUT and times.high <= ABOUT else Relation.UNDECIDED


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
    tensorflow_to_pytorch: Interval
    keras_to_tensorflow: Interval
    keras_to_pytorch: Interval

    def equal(self) -> Verdict:
        """Whether TensorFlow and PyTorch are about equally fast."""
        verdicts = {Relation.ALIKE: Verdict.HOLDS, Relation.UNDECIDED: Verdict.UNDECIDED}
        return verdicts.get(relation(self.tensorflow_to_pytorch), Verdict.FAILS)

    def keras_slow(self) -> Verdict:
        """Whether Keras is slower than both."""
        found = {relation(self.keras_to_tensorflow), relation(self.keras_to_pytorch)}
        if found == {Relation.SLOWER}:
            return Verdict.HOLDS
        return Verdict.FAILS if found & {Relation.ALIKE, Relation.FASTER} else Verdict.UNDECIDED


def trials(study: Study) -> tuple[Trial, ...]:
    """Every condition of which all three were measured: training, calls as readers write them, and served."""
    return tuple([*_training(study.trainings), *_calls(study.calls), *_served(study.served)])


def epochs(trainings: Iterable[Training], name: str) -> list[float]:
    """Seconds of all epochs of a network after the first of each training, in the order of seeds."""
    ordered = sorted((each for each in trainings if each.name == name), key=lambda each: each.seed)
    return [seconds for each in ordered for seconds in each.seconds[1:]]


def _training(trainings: Sequence[Training]) -> Iterator[Trial]:
    tensorflow, pytorch, keras = (epochs(trainings, name) for name in (TENSORFLOW, PYTORCH, KERAS))
    if tensorflow and len(tensorflow) == len(pytorch) == len(keras):
        yield Trial(
            kind=TRAINING,
            condition="training, per epoch after the first",
            tensorflow_to_pytorch=ratio_interval(tensorflow, pytorch),
            keras_to_tensorflow=ratio_interval(keras, tensorflow),
            keras_to_pytorch=ratio_interval(keras, pytorch),
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
    """Servers in closed loops that were answering in every round, and that the generator kept up with."""
    return [each for each in served if each.mode == "closed" and not each.saturated and all(each.throughput)]


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
