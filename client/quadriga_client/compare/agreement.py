"""Whether contestants answer alike, element by element. Pure.

Each is held to the first one. Outputs are matched by name where both have the same names, and by position otherwise:
the same network calls its output differently in every format.
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

_TEXT: Final = "O"
_NUMBERS: Final = "fiuV"  # V: bfloat16


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """A contestant's answers to all requests.

    Attributes:
        contestant: Its name.
        outputs: One by request, at least one in all.
    """

    contestant: str
    outputs: Sequence[Outputs]


def agreement(first: Answers, other: Answers, tolerance: Tolerance) -> Agreement:
    """How `other` answers the requests that `first` has answered, in the same order."""
    names, other_names = list(first.outputs[0]), list(other.outputs[0])
    if len(names) != len(other_names):
        problem = (
            f"{other.contestant} answers with {_counted(other_names)}, and {first.contestant} with {_counted(names)}"
        )
        return Agreement(contestant=other.contestant, agrees=False, problems=(problem,))
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
        if top1 is None and _has_scores(ours):
            top1 = top1_agreement(ours, theirs)
    return Agreement(
        contestant=other.contestant,
        agrees=not problems,
        outputs=tuple(outputs),
        top1=top1,
        problems=tuple(problems),
    )


def compare_output(name: str, other_name: str, ours: Array, theirs: Array, tolerance: Tolerance) -> OutputAgreement:
    """The same output of both, all requests' elements in one row; what is NaN differs, also from NaN."""
    if ours.dtype.kind == _TEXT:
        differing = np.asarray(ours != theirs, dtype=bool)
        worst = int(np.argmax(differing)) if differing.any() else 0
        largest = None
    else:
        # Equal infinities differ by nothing; numpy would call their difference NaN.
        with np.errstate(invalid="ignore"):
            difference = np.where(ours == theirs, 0.0, np.abs(_wide(ours) - _wide(theirs)))
        differing = ~(difference <= _allowed(ours, tolerance))
        # NaN and infinity are larger than all others, and no number that a report could hold.
        worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference))) if difference.size else 0
        largest = float(difference[worst]) if difference.size else 0.0
        largest = largest if np.isfinite(largest) else None
    return OutputAgreement(
        name=name,
        other_name=other_name,
        elements=ours.size,
        differing=int(np.count_nonzero(differing)),
        largest_difference=largest,
        first=_shown(ours[worst]) if differing.any() else "",
        other=_shown(theirs[worst]) if differing.any() else "",
    )


def top1_agreement(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    """The share of rows whose largest score is at the same place; arrays are [rows, classes]."""
    same = [
        np.argmax(_wide(mine), axis=1) == np.argmax(_wide(other), axis=1)
        for mine, other in zip(ours, theirs, strict=True)
    ]
    return float(np.concatenate(same).mean())


def _allowed(ours: Array, tolerance: Tolerance) -> npt.NDArray[np.float64]:
    if ours.dtype.kind in "iub":
        return np.zeros(ours.shape)
    return tolerance.absolute + tolerance.relative * np.abs(_wide(ours))


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


def _has_scores(arrays: Sequence[Array]) -> bool:
    return any(array.size for array in arrays) and all(
        array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in _NUMBERS for array in arrays
    )


def _flat(arrays: Sequence[Array]) -> Array:
    return np.concatenate([array.reshape(-1) for array in arrays])


def _wide(array: Array) -> npt.NDArray[np.float64]:
    return array.astype(np.float64)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, bytes) else f"{float(value):.6g}"  # type: ignore[arg-type]


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} output{'s'[: len(names) != 1]} ({', '.join(names)})"
