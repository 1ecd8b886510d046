"""Whether contestants answer alike, element by element. Pure.

Each is held to the first one. Outputs are matched by name where both have the same names, and by position otherwise:
the same network calls its output differently in every format.

Besides the elements, the best class of each row counts, where an output is known to be of classes: within a tolerance
that suits large scores, small ones can be in another order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from quadriga_client.compare.likeness import Agreement, OutputAgreement, Tolerance
from quadriga_proto.codec import Array, datatype_of

#: An answer's outputs by name, in the server's order.
Outputs: TypeAlias = Mapping[str, Array]

#: Share of rows whose best class has to be the same.
LEAST_TOP1: Final = 0.95
_TEXT: Final = "O"
_WHOLE: Final = "iub"
_FRACTIONS: Final = "fV"  # V: bfloat16
#: By how much a row of probabilities may miss a sum of 1; FP16 and BF16 are no finer.
_SUM_SLACK: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """A contestant's answers to all requests.

    Attributes:
        contestant: Its name.
        outputs: One by request, at least one in all.
        classes: How many its server names; 0 where it names none.
    """

    contestant: str
    outputs: Sequence[Outputs]
    classes: int = 0


def agreement(first: Answers, other: Answers, tolerance: Tolerance) -> Agreement:
    """How `other` answers the requests that `first` has answered, in the same order."""
    if problem := _unmatched(first, other):
        return Agreement(contestant=other.contestant, agrees=False, problems=(problem,))
    names, other_names = list(first.outputs[0]), list(other.outputs[0])
    outputs: list[OutputAgreement] = []
    problems: list[str] = []
    top1: float | None = None
    for name, other_name in zip(names, names if set(names) == set(other_names) else other_names, strict=True):
        ours = [outputs[name] for outputs in first.outputs]
        theirs = [outputs[other_name] for outputs in other.outputs]
        sides = (f"{first.contestant}'s {name!r}", f"{other.contestant}'s {other_name!r}")
        if problem := _unlike(ours, theirs, sides):
            problems.append(problem)
            continue
        compared = compare_output(name, other_name, _flat(ours), _flat(theirs), tolerance)
        outputs.append(compared)
        problems += _problems(compared, _flat(ours), _flat(theirs), sides)
        if top1 is None and is_of_classes(ours, max(first.classes, other.classes)):
            top1 = top1_agreement(ours, theirs)
            if top1 < LEAST_TOP1:
                problems.append(
                    f"{sides[1]} has the same best class as {sides[0]} in {top1:.1%} of the rows; at least"
                    f" {LEAST_TOP1:.0%} are expected"
                )
    return Agreement(
        contestant=other.contestant,
        agrees=not problems,
        outputs=tuple(outputs),
        top1=top1,
        problems=tuple(problems),
    )


def compare_output(name: str, other_name: str, ours: Array, theirs: Array, tolerance: Tolerance) -> OutputAgreement:
    """The same output of both, all requests' elements in one row; what is NaN differs, also from NaN."""
    largest: float | None = None
    worst = 0
    if ours.dtype.kind == _TEXT:
        differing = np.asarray(ours != theirs, dtype=bool)
        worst = int(np.argmax(differing)) if differing.any() else 0
    else:
        difference = _difference(ours, theirs)
        if ours.dtype.kind in _WHOLE:
            differing = np.asarray(ours != theirs, dtype=bool)
        else:
            # An infinite element allows for nothing but itself, from which the difference is 0.
            differing = ~((difference <= _allowed(ours, tolerance)) & np.isfinite(difference))
        largest = 0.0
        if difference.size:
            # NaN and infinity are larger than all others, and no number that a report could hold.
            worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
            largest = float(difference[worst]) if np.isfinite(difference[worst]) else None
    return OutputAgreement(
        name=name,
        other_name=other_name,
        elements=ours.size,
        differing=int(np.count_nonzero(differing)),
        largest_difference=largest,
        first=_shown(ours[worst]) if differing.any() else "",
        other=_shown(theirs[worst]) if differing.any() else "",
    )


def is_of_classes(arrays: Sequence[Array], classes: int) -> bool:
    """Whether an output has a score for each class, by row.

    So it is taken where its rows are as many numbers as the server names classes, or where they are probabilities. Of
    other rows nobody knows: the largest number of an embedding means nothing.

    Args:
        arrays: One by request.
        classes: As `Answers` has it.
    """
    if not any(array.size for array in arrays):
        return False
    for array in arrays:
        if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in _FRACTIONS:
            return False
        rows = _wide(array)
        probabilities = (rows >= 0).all() and (np.abs(rows.sum(axis=1) - 1) <= _SUM_SLACK).all()
        if array.shape[1] != classes and not probabilities:
            return False
    return True


def top1_agreement(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    """The share of rows whose largest score is at the same place; arrays are [rows, classes]."""
    same = [
        np.argmax(_wide(mine), axis=1) == np.argmax(_wide(other), axis=1)
        for mine, other in zip(ours, theirs, strict=True)
    ]
    return float(np.concatenate(same).mean())


def _difference(ours: Array, theirs: Array) -> npt.NDArray[np.float64]:
    """Absolute, by element; between whole numbers exact before it is rounded to a float."""
    if ours.dtype.kind in _WHOLE:
        # The smaller one, taken from the larger one in unsigned numbers, whose overflow undoes that of the conversion.
        mine, others = ours.astype(np.uint64), theirs.astype(np.uint64)
        return np.where(ours > theirs, mine - others, others - mine).astype(np.float64)
    # Equal infinities differ by nothing; numpy would call their difference NaN.
    with np.errstate(invalid="ignore"):
        return np.where(ours == theirs, 0.0, np.abs(_wide(ours) - _wide(theirs)))


def _allowed(ours: Array, tolerance: Tolerance) -> npt.NDArray[np.float64]:
    sizes = np.abs(_wide(ours))
    scale = float(sizes.max(initial=0.0, where=np.isfinite(sizes)))
    return tolerance.absolute * scale + tolerance.relative * sizes


def _unmatched(first: Answers, other: Answers) -> str:
    """Why the outputs of two contestants cannot be matched; empty where they can."""
    for side in (first, other):
        names = list(side.outputs[0])
        if strange := next((answer for answer in side.outputs if set(answer) != set(names)), None):
            return (
                f"{side.contestant} answers one request with {_counted(names)}, and another with"
                f" {_counted(list(strange))}"
            )
    names, other_names = list(first.outputs[0]), list(other.outputs[0])
    if len(names) == len(other_names):
        return ""
    return f"{other.contestant} answers with {_counted(other_names)}, and {first.contestant} with {_counted(names)}"


def _unlike(ours: Sequence[Array], theirs: Sequence[Array], sides: tuple[str, str]) -> str:
    """Why two outputs cannot be compared by element; empty where they can."""
    for mine, other in zip(ours, theirs, strict=True):
        described = [f"{datatype_of(array.dtype)}[{','.join(map(str, array.shape))}]" for array in (mine, other)]
        if described[0] != described[1]:
            return f"{sides[1]} is {described[1]}, and {sides[0]} is {described[0]}"
    return ""


def _problems(compared: OutputAgreement, ours: Array, theirs: Array, sides: tuple[str, str]) -> list[str]:
    if not compared.differing:
        return []
    nans = [
        f"{side} is NaN in {count} of {array.size} elements"
        for side, array in zip(sides, (ours, theirs), strict=True)
        if array.dtype.kind != _TEXT and (count := int(np.count_nonzero(np.isnan(_wide(array)))))
    ]
    if nans:
        return nans
    by = "" if compared.largest_difference is None else f" by up to {compared.largest_difference:.3g}"
    return [
        f"{sides[1]} differs from {sides[0]} in {compared.differing} of {compared.elements} elements{by}"
        f" ({compared.other} where {compared.first} was expected)"
    ]


def _flat(arrays: Sequence[Array]) -> Array:
    return np.concatenate([array.reshape(-1) for array in arrays])


def _wide(array: Array) -> npt.NDArray[np.float64]:
    return array.astype(np.float64)


def _shown(value: np.generic | bytes) -> str:
    if isinstance(value, bytes):
        return repr(value)
    return str(value.item()) if value.dtype.kind in _WHOLE else f"{float(value):.6g}"


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} output{'s'[: len(names) != 1]} ({', '.join(names)})"
