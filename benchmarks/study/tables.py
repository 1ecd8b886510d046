"""Tables of what was measured, with the sentences about them. Pure."""

from collections.abc import Sequence
from statistics import median

from quadriga_client.load.formats.digits import digits
from quadriga_client.load.formats.document import Block, Bullets, Cell, Paragraph, Table
from quadriga_client.load.formats.wording import estimate, number
from study import findings
from study.claims import epochs, find_calls, many
from study.figures import Calls, Served, Study, Training
from study.findings import Beside
from study.lines import CORE, NAMES


def bullets(sentences: Sequence[str]) -> list[Block]:
    """A list, where there is anything to list."""
    return [Bullets(sentences)] if sentences else []


def code_blocks(study: Study) -> list[Block]:
    """Lines by purpose."""
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


def training_blocks(trainings: Sequence[Training]) -> list[Block]:
    """Epochs and accuracies by network."""
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


def calls_blocks(calls: Sequence[Calls]) -> list[Block]:
    """Milliseconds per call, a table for each number of threads."""
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


def served_blocks(served: Sequence[Served]) -> list[Block]:
    """Who answers the most, beside naive servers, and a table for each load."""
    beside = findings.beside_naive(served)
    blocks: list[Block] = bullets([*findings.fastest(served), *findings.on_naive(beside)])
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


def _beside(found: Sequence[Beside]) -> list[Block]:
    """A row for each naive server, a column for each load."""
    if not found:
        return []
    loads = dict.fromkeys((each.rows, each.callers) for each in found)
    ratios = {(each.server, each.rows, each.callers): each.ratio for each in found}
    rows = [
        [
            Cell(findings.name_of(server)),
            *(
                estimate(ratios[server, *load].interval if (server, *load) in ratios else None)
                for load in loads
            ),
        ]
        for server in dict.fromkeys(each.server for each in found)
    ]  # fmt: skip
    headings = [
        f"{many(of_rows, 'row')}, {many(callers, 'caller')}" if of_rows > 1 else many(callers, "caller")
        for of_rows, callers in loads
    ]
    caption = (
        "Quadriga's answers per second over those of a naive server with the same framework and weights, of one row a "
        "request where no other number is given, with 95 % intervals, each for itself. Naive servers that are not said "
        "to have a number of threads have what their framework takes by itself; the others have those of Quadriga's "
        "worker"
    )
    return [Table(caption, ["naive server", *headings], rows)]


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
