"""The study as docs/study.md and as a page with plots, both of the same sections; writes them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from quadriga_client.load.formats.document import Block, Bullets, Cell, Facts, Paragraph, Section, Table, Tone
from quadriga_client.load.formats.markdown import document_markdown
from quadriga_client.load.formats.page import page
from quadriga_client.load.formats.wording import estimate, number
from study import findings
from study.claims import ABOUT, Trial, Verdict, find_calls, many, trials
from study.figures import Calls, Served, Study, Training, encode
from study.lines import CORE, NAMES
from study.plots import calls_plots, served_plots

TITLE: Final = "TensorFlow, Keras and PyTorch: an article's finding, measured again"
LEAD: Final = (
    "An article wrote the same small CNN in TensorFlow, Keras and PyTorch, and found TensorFlow and PyTorch about "
    "equally fast, and Keras slow. Here its networks are trained anew, called and served on one machine. All figures, "
    "and the sentences about them, are of one run of make study."
)
METHOD: Final = (
    "Whatever is compared takes turns, in processes that idle meanwhile; each round goes through all in one order, and "
    "the next one in the reverse. Ratios are taken within a round, or between epochs of the same number and seed.",
    "Intervals are 95 % bootstrap intervals of the median over rounds or epochs.",
    "All ways and servers must answer alike, or the study ends without a report: no probability may differ by more "
    "than 0.0001.",
    "Epochs of one training are not independent, and no allowance is made for the number of conditions: of many, some "
    "come out wrong by chance. The bound of what is about equal is the study's own choice.",
    "A call's time includes making the framework's tensor of a numpy array, and an array of its answer.",
    "A naive server is grpcio with ten threads, whose handler makes the call. Quadriga runs with its defaults, and a "
    "largest batch of 32.",
    "Load comes from one process on the same machine, and latency counts from when a request was due. CPU time is of "
    "the server's processes, per answer. Figures in brackets are the generator's own: it fell behind.",
    "A p99 is of all rounds together, where there are 368 requests or more. A naive server is missing at rates that "
    "are over 90 % of the most that it answered.",
)
CALLS: Final = "Calls in process"
SERVED: Final = "Served"
_TONES: Final[dict[Verdict, Tone]] = {Verdict.HOLDS: "good", Verdict.FAILS: "bad", Verdict.UNDECIDED: "warning"}
#: A load average that says that others were at work.
_BUSY: Final = 0.5


def write(study: Study, folder: Path) -> tuple[Path, ...]:
    """Writes study.md, study/report.html and study/study.json; returns their paths.

    Raises:
        OSError: The folder cannot be written to.
    """
    inner = folder / "study"
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
        Section("The answer", [*_warnings(study), Bullets(findings.answer(study)), *_trials(found)]),
        Section("Why", _bullets(findings.reasons(study))),
        Section("Code", _code(study)),
        Section("Training", _trainings(study.trainings)),
        Section(CALLS, _calls(study.calls)),
        Section(SERVED, _served(study.served)),
        Section("How it was measured", _conduct(study)),
    ]


def _bullets(sentences: Sequence[str]) -> list[Block]:
    return [Bullets(sentences)] if sentences else []


def _warnings(study: Study) -> list[Block]:
    if study.fingerprint.load_average <= _BUSY:
        return []
    text = (
        f"Something else was running when this began (load average {study.fingerprint.load_average:.2f}): believe "
        "ratios, and those less than usual."
    )
    return [Paragraph(text, "warning")]


def _trials(found: Sequence[Trial]) -> list[Block]:
    if not found:
        return []
    rows = [
        [
            Cell(trial.condition),
            estimate(trial.tensorflow_to_pytorch),
            Cell(trial.equal().value, tone=_TONES[trial.equal()]),
            estimate(trial.keras_to_tensorflow),
            estimate(trial.keras_to_pytorch),
            Cell(trial.keras_slow().value, tone=_TONES[trial.keras_slow()]),
        ]
        for trial in found
    ]
    headings = ["condition", "TensorFlow/PyTorch", "equally fast", "Keras/TensorFlow", "Keras/PyTorch", "Keras slow"]
    caption = (
        f"Ratios of times, with 95 % confidence intervals. Two are about equally fast where the whole interval is "
        f"within {ABOUT:g} times either way, and one is slow where all of it is beyond that"
    )
    return [Table(caption, headings, rows)]


def _code(study: Study) -> list[Block]:
    if not study.code:
        return []
    rows = [
        [
            Cell(findings.name_of(code.network)),
            *(_count(code.lines(name)) for name in NAMES),
            _count(code.lines(*CORE)),
            _count(code.statements(*CORE)),
        ]
        for code in study.code
    ]
    headings = ["network", *NAMES, "model and training", "statements of these"]
    note = (
        "The training loops written by hand time and report their epochs in a few lines of their own; Keras needs a "
        "callback for it, counted apart as progress. PyTorch's TorchScript export is shared with other networks and "
        "stands elsewhere."
    )
    caption = "Lines with code, without blank lines, comments and docstrings"
    return [Paragraph(findings.on_code(study.code)), Table(caption, headings, rows), Paragraph(note)]


def _count(count: int) -> Cell:
    return Cell(f"{count:,}", number=True)


def _trainings(trainings: Sequence[Training]) -> list[Block]:
    if not trainings:
        return []
    names = dict.fromkeys(each.name for each in trainings)
    rows = [_training([each for each in trainings if each.name == name]) for name in names]
    headings = ["network", "weights", "first epoch s", "later epochs s", "images/s", "accuracy, by seed"]
    passes = len(trainings[0].seconds)
    caption = (
        f"{passes} epochs of {trainings[0].images} images in batches of 32, on all cores; the median later epoch with "
        "its interval, the first one apart, which traces and compiles"
    )
    return [Table(caption, headings, rows), *_bullets(findings.on_training(trainings))]


def _training(own: Sequence[Training]) -> list[Cell]:
    later = findings.later_epochs(own)
    return [
        Cell(findings.name_of(own[0].name)),
        _count(own[0].parameters),
        number(findings.first_epoch(own)),
        estimate(later),
        number(own[0].images / later.value),
        Cell(", ".join(f"{each.accuracy:.1%}" for each in own)),
    ]


def _calls(calls: Sequence[Calls]) -> list[Block]:
    blocks: list[Block] = []
    for threads in sorted({each.threads for each in calls}):
        of = [each for each in calls if each.threads == threads]
        batches = sorted({each.batch for each in of})
        rows = [
            [
                Cell(findings.name_of(framework)),
                Cell(way),
                *(
                    estimate(found.median()) if (found := find_calls(of, framework, way, batch, threads))
                    else number(None)
                    for batch in batches
                ),
            ]
            for framework, way in dict.fromkeys((each.framework, each.way) for each in of)
        ]  # fmt: skip
        caption = f"ms per call on {many(threads, 'thread')}: the median, with its interval"
        blocks.append(Table(caption, ["framework", "call", *(f"batch {batch}" for batch in batches)], rows))
    return blocks


def _served(served: Sequence[Served]) -> list[Block]:
    blocks: list[Block] = [*_bullets(findings.fastest(served))]
    for mode, rows, level in dict.fromkeys((each.mode, each.rows, each.level) for each in served):
        of = [each for each in served if (each.mode, each.rows, each.level) == (mode, rows, level)]
        load = (
            f"{level:g} caller{'s' * (level != 1)}"
            if mode == "closed"
            else f"{level:,.0f} requests a second, Poisson arrivals"
        )
        caption = f"{many(rows, 'row')} a request, {load}"
        headings = ["server", "answers/s", "p50 ms", "p99 ms", "CPU ms", "errors"]
        blocks.append(Table(caption, headings, [_served_row(each) for each in of]))
    return blocks


def _served_row(each: Served) -> list[Cell]:
    muted = each.saturated
    return [
        Cell(f"naive: {findings.name_of(each.server)}" if each.naive else findings.name_of(each.server)),
        estimate(each.rate(), muted=muted),
        estimate(each.median(), muted=muted) if each.p50_ms else number(None),
        number(each.p99_ms, muted=muted),
        number(each.cpu().value) if each.cpu_ms else number(None),
        _count(each.errors),
    ]


def _conduct(study: Study) -> list[Block]:
    items = [
        *METHOD,
        *study.left_out,
    ]
    facts = {
        "command": study.command,
        "begun": study.created,
        "took": f"{study.seconds / 60:.1f} minutes",
        "load average before": f"{study.fingerprint.load_average:.2f}",
        **study.fingerprint.machine,
        **study.fingerprint.versions,
    }
    return [Bullets(items), Facts(facts)]
