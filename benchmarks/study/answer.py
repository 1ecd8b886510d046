"""The article's two claims over all conditions, and what the study's own choices make of them. Pure."""

from collections.abc import Sequence
from typing import Final

from study.claims import ABOUT, OTHER_BOUNDS, Judged, Trial, Verdict, judge, many, ratios_by_kind
from study.ratios import Relation

EQUAL: Final = "That TensorFlow and PyTorch are about equally fast"
SLOW: Final = "That Keras is slower than both"
_WORDS: Final = {
    Verdict.HOLDS: "holds in",
    Verdict.FAILS: "does not hold in",
    Verdict.UNDECIDED: "is not decided in",
}


def answer(found: Sequence[Trial]) -> list[str]:
    """The claims, by kind of conditions."""
    judged = judge(found)
    if not judged:
        return ["Nothing was measured of all three frameworks, so that nothing can be said of the article's finding."]
    verdicts = claims(judged)
    return [_tally(EQUAL, verdicts[EQUAL], _faster(judged)), _tally(SLOW, verdicts[SLOW], {})]


def claims(judged: Sequence[Judged]) -> dict[str, list[tuple[str, Verdict]]]:
    """Each claim's verdicts, with the kind of their conditions."""
    return {
        EQUAL: [(each.trial.kind, each.equal) for each in _pairs(judged)],
        SLOW: [(each.trial.kind, each.keras_slow) for each in judged],
    }


def counted(verdicts: Sequence[Verdict]) -> str:
    """As "holds in 3 and does not hold in 1"."""
    return " and ".join(f"{text} {verdicts.count(verdict)}" for verdict, text in _WORDS.items() if verdict in verdicts)


def on_choices(found: Sequence[Trial]) -> list[str]:
    """How many verdicts another bound would change, and the correction has."""
    usual = _verdicts(judge(found))
    sentences = []
    for bound in OTHER_BOUNDS:
        changed = _changes(usual, _verdicts(judge(found, bound)))
        turned = sum(Verdict.UNDECIDED not in pair for pair in changed)
        sentences.append(
            f"A bound of {bound:g} instead of {ABOUT:g} changes {len(changed)} of {many(len(usual), 'verdict')}, "
            f"{turned} of them from one that holds to one that does not or the other way round."
        )
    families = ", ".join(f"{len(ratios)} {kind}" for kind, ratios in ratios_by_kind(found).items())
    lost = len(_changes(usual, _verdicts(judge(found, corrected=False))))
    sentences.append(
        f"Verdicts are corrected for the number of ratios of their kind ({families}). Each by itself, {lost} more of "
        "them would be decided."
    )
    return sentences


def _pairs(judged: Sequence[Judged]) -> list[Judged]:
    """One for each pair of TensorFlow and PyTorch, which in calls several conditions hold Keras against."""
    return list({(each.trial.kind, each.trial.tensorflow_to_pytorch): each for each in judged}.values())


def _verdicts(judged: Sequence[Judged]) -> list[Verdict]:
    return [verdict for verdicts in claims(judged).values() for _, verdict in verdicts]


def _changes(usual: Sequence[Verdict], other: Sequence[Verdict]) -> list[tuple[Verdict, Verdict]]:
    return [pair for pair in zip(usual, other, strict=True) if pair[0] is not pair[1]]


def _faster(judged: Sequence[Judged]) -> dict[str, str]:
    """By kind, who of TensorFlow and PyTorch is faster where they are not about equally fast, and how often."""
    texts = {}
    for kind in dict.fromkeys(each.trial.kind for each in judged):
        own = [each.tensorflow for each in _pairs(judged) if each.trial.kind == kind]
        names = {"PyTorch": Relation.SLOWER, "TensorFlow": Relation.FASTER}
        found = [f"{name} in {own.count(relation)}" for name, relation in names.items() if relation in own]
        texts[kind] = f", where the faster is {' and '.join(found)}" if found else ""
    return texts


def _tally(claim: str, verdicts: Sequence[tuple[str, Verdict]], remarks: dict[str, str]) -> str:
    parts = []
    for kind in dict.fromkeys(kind for kind, _ in verdicts):
        own = [verdict for each, verdict in verdicts if each == kind]
        parts.append(f"{kind}, it {counted(own)} of {many(len(own), 'condition')}{remarks.get(kind, '')}")
    return f"{claim}: {'; '.join(parts)}."
