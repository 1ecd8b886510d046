"""The study as docs/study.md and as a page with plots, both of the same sections; writes them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

from quadriga_client.load.formats.digits import digits
from quadriga_client.load.formats.document import Block, Bullets, Cell, Facts, Paragraph, Section, Table, Tone
from quadriga_client.load.formats.markdown import document_markdown
from quadriga_client.load.formats.page import page
from quadriga_client.load.formats.wording import estimate, number
from study import answer, findings
from study.claims import ABOUT, OTHER_BOUNDS, Judged, Trial, Verdict, epochs, find_calls, judge, many, trials
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
    "another one in the reverse. Trainings take turns by seed.",
    "A figure is the median over rounds, with a 95 % bootstrap interval; of trainings, over seeds, with the lowest and "
    "the highest.",
    "A ratio is the geometric mean of the rounds' ratios, or of the seeds', with a 95 % interval by Student's t of "
    "their logarithms, which supposes that these are about normal.",
    "Verdicts, and who is said to answer more, are corrected by Holm's procedure for all that is asked of a kind: that "
    "any of a kind's is wrong by chance has a probability of 5 % at most. Sentences under Why go by single intervals.",
    "All ways and servers must answer alike, or the study ends without a report: no probability may differ by more "
    "than 0.0001.",
    "A call's time includes making the framework's tensor of a numpy array, and an array of its answer. PyTorch is "
    "called in its inference mode.",
    "A naive server is grpcio with ten threads, whose handler makes the call. Quadriga runs with its defaults, and a "
    "largest batch of 32.",
    "Load comes from one process on the same machine, and latency counts from when a request was due. CPU time is of "
    "the server's processes, per answer, the mean over rounds. Figures in brackets are the generator's own: it fell "
    "behind.",
    "A p99 is of all rounds together, where there are 368 requests or more. A naive server is missing at rates that "
    "are over 90 % of the most that it answered.",
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
    headings = ["network", "weights", "first epoch s", "later epochs s", "first/later", "images/s", "accuracy"]
    passes, seeds = len(trainings[0].seconds), len({each.seed for each in trainings})
    caption = (
        f"Each network was trained with {many(seeds, 'seed')}, for {passes} epochs of {trainings[0].images:,} images "
        "in batches of 32, with the threads that its framework takes by itself: medians over seeds, with the lowest "
        "and the highest. The first epoch, which traces and compiles, stands apart. Epochs of networks with different "
        "numbers of weights are not the same work"
    )
    return [Table(caption, headings, rows), Paragraph(findings.on_accuracy(trainings))]


def _training(own: Sequence[Training]) -> list[Cell]:
    later = epochs(own, own[0].name)
    accuracies = [each.accuracy for each in own]
    return [
        Cell(findings.name_of(own[0].name)),
        _count(own[0].parameters),
        number(findings.first_epoch(own)),
        number(median(later), detail=f"{digits(min(later))}–{digits(max(later))}"),  # noqa: RUF001
        number(findings.first_epoch(own) / median(later)),
        number(own[0].images / median(later)),
        Cell(f"{median(accuracies):.1%}", f"{min(accuracies):.1%}–{max(accuracies):.1%}", number=True),  # noqa: RUF001
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
        caption = f"ms per call on {many(threads, 'thread')}: the median over rounds, with its interval"
        blocks.append(Table(caption, ["framework", "call", *(f"batch {batch}" for batch in batches)], rows))
    return blocks


def _served(served: Sequence[Served]) -> list[Block]:
    beside = findings.beside_naive(served)
    blocks: list[Block] = _bullets([*findings.fastest(served), *findings.on_naive(beside)])
    blocks += _beside(beside)
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


def _beside(found: Sequence[findings.Beside]) -> list[Block]:
    """A row for each naive server, a column for each load."""
    if not found:
        return []
    loads = dict.fromkeys((each.rows, each.callers) for each in found)
    ratios = {(each.server, each.rows, each.callers): each.ratio for each in found}
    threads = {each.server: each.threads for each in found}
    rows = [
        [
            Cell(findings.name_of(server)),
            number(None) if own is None else _count(own),
            *(
                estimate(ratios[server, *load].interval if (server, *load) in ratios else None)
                for load in loads
            ),
        ]
        for server, own in threads.items()
    ]  # fmt: skip
    caption = (
        "Quadriga's answers per second over those of a naive server with the same framework and weights. Where no "
        "threads are given the naive server has what its framework takes by itself; Quadriga's workers have those of "
        "the others"
    )
    return [Table(caption, ["naive server", "threads", *(findings.load_of(*load) for load in loads)], rows)]


def _served_row(each: Served) -> list[Cell]:
    muted = each.saturated
    return [
        Cell(f"naive: {findings.name_of(each.server)}" if each.naive else findings.name_of(each.server)),
        estimate(each.rate(), muted=muted),
        estimate(each.median(), muted=muted) if each.p50_ms else number(None),
        number(each.p99_ms, muted=muted),
        number(each.cpu()) if each.cpu_ms else number(None),
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
        "cores' time spent on others meanwhile": f"{study.others:.0%}",
        **study.fingerprint.machine,
        **study.fingerprint.versions,
    }
    return [Bullets(items), Facts(facts)]
