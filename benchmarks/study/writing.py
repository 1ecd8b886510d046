"""The study as docs/study.md and as a page with plots, both of the same sections; writes them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from quadriga_client.load.formats.document import Block, Bullets, Cell, Facts, Paragraph, Section, Table, Tone
from quadriga_client.load.formats.markdown import document_markdown
from quadriga_client.load.formats.page import page
from quadriga_client.load.formats.wording import estimate
from study import answer, reasons
from study.claims import ABOUT, OTHER_BOUNDS, Judged, Trial, Verdict, judge, trials
from study.figures import Study, encode
from study.plots import calls_plots, served_plots
from study.tables import bullets, calls_blocks, code_blocks, served_blocks, training_blocks

TITLE: Final = "TensorFlow, Keras and PyTorch: an article's finding, measured again"
LEAD: Final = (
    "An article wrote the same small CNN in TensorFlow, Keras and PyTorch, and found TensorFlow and PyTorch about "
    "equally fast, and Keras slow. Here its networks are trained anew, called and served on one machine. All figures, "
    "and the sentences about them, are of one run of make study."
)
METHOD: Final = (
    "Whatever is compared takes turns, in processes that idle meanwhile; each round goes through all in one order, and "
    "another one in the reverse. Trainings follow each other, all networks with one seed and then with the next.",
    "A figure is the median over rounds, with a 95 % bootstrap interval; of trainings, over seeds, with the lowest and "
    "the highest.",
    "A first round, of calls and of servers, does not count: caches fill, and frameworks trace and compile.",
    "A ratio is the geometric mean of the rounds' ratios without the lowest and the highest, with a 95 % interval by "
    "Yuen's t for such means of their logarithms; of fewer than five rounds, or seeds, all count, by Student's t. "
    "Either supposes that logarithms are about normal, but for what is left out.",
    "Verdicts, and who is said to answer more, are corrected by Holm's procedure for all that is asked of a kind: that "
    "any of a kind's is wrong by chance has a probability of 5 % at most. Sentences under Why go by single intervals.",
    "All ways and servers must answer alike, or the study ends without a report: no probability may differ by more "
    "than 0.0001.",
    "A call's time includes making the framework's tensor of a numpy array, and an array of its answer. PyTorch is "
    "called in its inference mode.",
    "A naive server is grpcio with ten threads, whose handler makes the call. Quadriga runs with its defaults, and a "
    "largest batch of 32.",
    "Load comes from one process on the same machine, and latency counts from when a request was due. CPU time is of "
    "the server's processes, per answer, the mean over rounds.",
    "Rounds in which the generator fell behind, or waited too long for a CPU, are left out of all but CPU time and "
    "errors. Where they are half of the rounds or more, figures are the generator's own and stand in brackets.",
    "A p99 is of all rounds that count together, where there are 368 requests or more. A naive server is missing at "
    "rates that are over 90 % of the most that it answered.",
)
#: The folder of what does not read well in the repository.
PAGES: Final = "study"
CALLS: Final = "Calls in process"
SERVED: Final = "Served"
_TONES: Final[dict[Verdict, Tone]] = {Verdict.HOLDS: "good", Verdict.FAILS: "bad", Verdict.UNDECIDED: "warning"}
#: A share of the cores' time that says that others were at work; interrupts, which are nobody's, take some too.
_BUSY: Final = 0.1


def write(study: Study, folder: Path) -> tuple[Path, ...]:
    """Writes study.md, study/report.html and study/study.json; returns their paths.

    Raises:
        OSError: The folder cannot be written to.
    """
    inner = folder / PAGES
    inner.mkdir(parents=True, exist_ok=True)
    contents = {
        folder / "study.md": markdown(study),
        inner / "report.html": html(study),
        inner / "study.json": encode(study),
    }
    for path, content in contents.items():
        path.write_text(content, encoding="utf-8")
    return tuple(contents)


def markdown(study: Study) -> str:
    """The page for readers of the repository, without plots."""
    text = document_markdown(TITLE, sections(study), lead=LEAD)
    links = "With plots: [study/report.html](study/report.html). All figures: [study/study.json](study/study.json)."
    return re.sub(r"\n\n## ", f"\n\n{links}\n\n## ", text, count=1)


def html(study: Study) -> str:
    """The page with plots; its element "study" holds what study.json does."""
    footer = f"Made by {study.command}, {study.created}. The element “study” of this page holds all figures as JSON."
    plots = {CALLS: calls_plots(study.calls), SERVED: served_plots(study.served)}
    shown = [replace(section, blocks=[*section.blocks, *plots.get(section.title, ())]) for section in sections(study)]
    return page(TITLE, shown, lead=LEAD, footer=footer, data={"study": encode(study).encode()})


def sections(study: Study) -> list[Section]:
    """Everything, in order."""
    found = trials(study)
    return [
        Section("The answer", [*_warnings(study), Bullets(answer.answer(found)), *_trials(found), *_choices(found)]),
        Section("Why", bullets(reasons.reasons(study))),
        Section("Code", code_blocks(study)),
        Section("Training", training_blocks(study.trainings)),
        Section(CALLS, calls_blocks(study.calls)),
        Section(SERVED, served_blocks(study.served)),
        Section("How it was measured", _conduct(study)),
    ]


def _warnings(study: Study) -> list[Block]:
    if study.others <= _BUSY:
        return []
    text = (
        f"Something else was running meanwhile, on {study.others:.0%} of the cores' time: believe ratios, and those "
        "less than usual."
    )
    return [Paragraph(text, "warning")]


def _trials(found: Sequence[Trial]) -> list[Block]:
    if not found:
        return []
    rows = [
        [
            Cell(each.trial.condition),
            estimate(each.trial.tensorflow_to_pytorch.interval),
            Cell(each.equal.value, tone=_TONES[each.equal]),
            estimate(each.trial.keras_to_tensorflow.interval),
            estimate(each.trial.keras_to_pytorch.interval),
            Cell(each.keras_slow.value, tone=_TONES[each.keras_slow]),
        ]
        for each in judge(found)
    ]
    headings = ["condition", "TensorFlow/PyTorch", "equally fast", "Keras/TensorFlow", "Keras/PyTorch", "Keras slow"]
    caption = (
        "Ratios of times, each with its own 95 % interval; Keras is Keras on TensorFlow. Two are about equally fast "
        f"where a ratio is within {ABOUT:g} times either way, and one is slow beyond that. Verdicts are corrected for "
        "the number of ratios, so that an interval may be clear of the bound and its verdict not decided"
    )
    return [Table(caption, headings, rows)]


def _choices(found: Sequence[Trial]) -> list[Block]:
    """The verdicts' numbers by bound, and without the correction."""
    if not found:
        return []
    bounds = sorted((ABOUT, *OTHER_BOUNDS))
    columns = {f"{bound:g} times": judge(found, bound) for bound in bounds}
    columns[f"{ABOUT:g} times, each by itself"] = judge(found, corrected=False)
    by_column = [_by_claim(judged) for judged in columns.values()]
    rows = [
        [Cell(claim), Cell(kind), *(Cell(answer.counted(verdicts[claim, kind])) for verdicts in by_column)]
        for claim, kind in by_column[0]
    ]
    text = f"That {ABOUT:g} times is the bound of what is about equal is the study's own choice."
    caption = "In how many conditions the claims hold, by the bound of what is about equal"
    return [
        Paragraph(" ".join([text, *answer.on_choices(found)])),
        Table(caption, ["claim", "conditions", *columns], rows),
    ]


def _by_claim(judged: Sequence[Judged]) -> dict[tuple[str, str], list[Verdict]]:
    """By claim and kind of conditions."""
    found: dict[tuple[str, str], list[Verdict]] = {}
    for claim, verdicts in answer.claims(judged).items():
        for kind, verdict in verdicts:
            found.setdefault((claim, kind), []).append(verdict)
    return found


def _conduct(study: Study) -> list[Block]:
    items = [
        *METHOD,
        *study.left_out,
    ]
    facts = {
        "command": study.command,
        "begun": study.created,
        "took": f"{study.seconds / 60:.1f} minutes",
        "cores' time spent on others meanwhile": f"{study.others:.0%}",
        **study.fingerprint.machine,
        **study.fingerprint.versions,
    }
    return [Bullets(items), Facts(facts)]
