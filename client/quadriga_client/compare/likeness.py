"""How far contestants' answers are alike: what a report says of it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an element may be from the first contestant's: `absolute * scale + relative * |the first's|`.

    The scale is the largest `|value|` of the first contestant's output, so that the same tolerance suits probabilities
    and logits. Elements that are not floating point must be equal.
    """

    absolute: float = 1e-4
    relative: float = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputAgreement:
    """One output of a contestant beside the first contestant's.

    Attributes:
        name: As the first has it.
        other_name: As the contestant has it.
        elements: In all requests.
        differing: Of them beyond the tolerance.
        largest_difference: Absolute; None for BYTES.
        first: There, the first's value, as text; empty where nothing differs.
        other: Likewise.
    """

    name: str
    other_name: str
    elements: int
    differing: int
    largest_difference: float | None
    first: str = ""
    other: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a contestant's answers compare with the first contestant's.

    Attributes:
        contestant: Its name.
        agrees: Whether there are no problems.
        outputs: In the first's order; empty where they cannot be compared.
        top1: Share of rows whose largest score is of the same class; None where no output is known to be of classes.
        problems: What differs and by how much, in sentences.
    """

    contestant: str
    agrees: bool
    outputs: tuple[OutputAgreement, ...] = ()
    top1: float | None = None
    problems: tuple[str, ...] = ()
