"""What a comparison says, in the order in which a reader asks, without plots. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from quadriga_client.compare.change import Change, Changes
from quadriga_client.compare.comparison import Comparison, Contender
from quadriga_client.compare.factors import ratio_digits
from quadriga_client.compare.likeness import Agreement
from quadriga_client.compare.measures import MEASURES
from quadriga_client.compare.names import callers, cores
from quadriga_client.compare.standings import Level, Measure, Standing, Verdict
from quadriga_client.compare.verdict import is_saturated
from quadriga_client.load.formats.document import Block, Bullets, Cell, Facts, Paragraph, Section, Table
from quadriga_client.load.formats.wording import estimate, number
from quadriga_client.load.report import Interval

UNKNOWN: Final = "unknown"
#: 10^6 and 10^3 bytes.
MB: Final = 1e6
KB: Final = 1e3


def title(report: Comparison) -> str:
    """The report's title."""
    return f"Comparison of {', '.join(contestant.name for contestant in report.contestants)}"


def lead(report: Comparison) -> str:
    """When, and with what."""
    inputs = report.inputs
    rows = f"{inputs.rows} row{'s'[: inputs.rows != 1]}"
    return f"Measured {report.created} with requests of {rows}: {', '.join(inputs.tensors)}."


def level_title(level: Level) -> str:
    """The title of a level's section, by which plots find it."""
    return callers(level.concurrency)


def absence(standing: Standing, measure: Measure) -> str | None:
    """What stands in place of a figure that is not known, and why; None where it is known."""
    if getattr(standing, measure) is not None:
        return None
    return "too few requests" if measure == "p99_ms" and standing.p50_ms is not None else UNKNOWN


def factor(ratio: Interval) -> str:
    """A ratio with its interval, as far as it has one."""
    if ratio.low is None or ratio.high is None:
        return ratio_digits(ratio.value)[0]
    value, low, high = ratio_digits(ratio.value, ratio.low, ratio.high)
    return f"{value} ({low} to {high})"


def caution(report: Comparison) -> str:
    """What many verdicts together mean; empty where there are not many."""
    count = sum(bool(verdict.ratios) for level in report.levels for verdict in level.verdicts)
    if count < 2:
        return ""
    return (
        f"each of the {count} verdicts stands for itself at 95 %: the intervals are not corrected for multiple"
        " comparisons, and of twenty verdicts over equals, one may name a winner"
    )


def sections(report: Comparison) -> list[Section]:
    """The whole report; a section of which there is nothing to say is left out."""
    found = [
        Section("", list(_warnings(report))),
        Section("Against an older report", _changes(report.changes) if report.changes else []),
        *(Section(level_title(level), list(_level(level))) for level in report.levels),
        Section("Beside speed", [_contenders(report.contestants)]),
        Section("Agreement", list(_agreements(report))),
        Section("How it was measured", list(_conduct(report))),
        Section("The generator's machine", [_machine(report)]),
    ]
    return [section for section in found if section.blocks]


def _warnings(report: Comparison) -> Iterator[Block]:
    if report.error:
        yield Paragraph(f"The comparison ended early: {report.error}", "bad")
    if report.interrupted:
        yield Paragraph("The comparison was interrupted; below is what had been measured by then.", "warning")
    different = [agreement for agreement in report.agreements if not agreement.agrees]
    if different:
        names = ", ".join(agreement.contestant for agreement in different)
        yield Paragraph(
            f"--allow-different: {names} and {report.contestants[0].name} do not answer alike, so this compares the"
            " speed of models that do different things. What differs stands under Agreement.",
            "bad",
        )
    for name, count in report.failed_requests.items():
        yield Paragraph(f"{count:,} requests of {name} failed, so it cannot win.", "bad")
    if not report.levels:
        yield Paragraph("Nothing was timed.", "bad")


def _level(level: Level) -> Iterator[Block]:
    yield Bullets([f"{MEASURES[verdict.measure].name}: {verdict.sentence}" for verdict in level.verdicts])
    yield Table(
        f"Medians over {level.rounds} rounds; below a figure its 95 % confidence interval",
        ["contestant", *(kind.name for kind in MEASURES.values()), "failed", "saturated blocks", "best in"],
        [_standing(standing, level.verdicts) for standing in level.standings],
    )


def _standing(standing: Standing, verdicts: Sequence[Verdict]) -> list[Cell]:
    won = [MEASURES[verdict.measure].name for verdict in verdicts if verdict.winner == standing.contestant]
    muted = is_saturated(standing)
    return [
        Cell(standing.contestant),
        *(_figure(standing, measure, muted=muted and kind.of_the_client) for measure, kind in MEASURES.items()),
        Cell(f"{sum(standing.errors.values()):,}", " ".join(standing.errors), number=True),
        Cell(f"{standing.saturated_blocks} of {standing.blocks}", number=True),
        Cell(", ".join(won), tone="good" if won else "plain"),
    ]


def _figure(standing: Standing, measure: Measure, *, muted: bool) -> Cell:
    absent = absence(standing, measure)
    return estimate(getattr(standing, measure), muted=muted) if absent is None else Cell(absent, number=True)


def _contenders(contenders: Sequence[Contender]) -> Table:
    return Table(
        "What else tells the contestants apart",
        ["contestant", "backend", "load ms", "worker memory MB", "file KB", "accuracy", "model", "server"],
        [
            [
                Cell(each.name),
                Cell(" ".join(filter(None, (each.backend or each.platform, each.device))) or UNKNOWN),
                _known(each.load_ms),
                _known(None if each.memory_bytes is None else each.memory_bytes / MB),
                _known(None if each.file_bytes is None else each.file_bytes / KB),
                Cell(UNKNOWN if each.accuracy is None else f"{each.accuracy:.2%}", number=True),
                Cell(f"{each.model} {each.version}".strip()),
                Cell(f"{each.server or UNKNOWN} at {each.url}"),
            ]
            for each in contenders
        ],
    )


def _known(value: float | None) -> Cell:
    return Cell(UNKNOWN, number=True) if value is None else number(value)


def _agreements(report: Comparison) -> Iterator[Block]:
    first, tolerance = report.contestants[0].name, report.tolerance
    yield Table(
        f"An element may be away from {first}'s by {tolerance.absolute:g} of {first}'s largest element plus"
        f" {tolerance.relative:.3g} of that element",
        ["contestant", "verdict", "output", "its own name", "elements", "beyond", "largest difference", "same top 1"],
        [line for agreement in report.agreements for line in _agreement(agreement)],
    )
    problems = [problem for agreement in report.agreements for problem in agreement.problems]
    if problems:
        yield Bullets(list(dict.fromkeys(problems)))


def _agreement(agreement: Agreement) -> Iterator[list[Cell]]:
    said = Cell("agrees", tone="good") if agreement.agrees else Cell("differs", tone="bad")
    top1 = Cell("" if agreement.top1 is None else f"{agreement.top1:.1%}", number=True)
    if not agreement.outputs:
        yield [Cell(agreement.contestant), said, *[Cell("")] * 5, top1]
    for output in agreement.outputs:
        largest = output.largest_difference
        yield [
            Cell(agreement.contestant),
            said,
            Cell(output.name),
            Cell(output.other_name),
            Cell(f"{output.elements:,}", number=True),
            Cell(f"{output.differing:,}", number=True),
            Cell("" if largest is None else f"{largest:.3g}", number=True),
            top1,
        ]


def _changes(changes: Changes) -> list[Block]:
    worse, better = changes.worse, [entry for entry in changes.entries if entry.better]
    said = f"{len(worse)} figures are worse than in {changes.against} of {changes.created} by more than"
    blocks: list[Block] = [
        Paragraph(f"{said} {changes.tolerated:.0%}, {len(better)} are better.", "bad" if worse else "good"),
        *(Paragraph(warning, "warning") for warning in changes.warnings),
    ]
    if changes.missing:
        blocks.append(Paragraph("Not comparable any more, though measured before:", "bad"))
        blocks.append(Bullets(changes.missing))
    if changes.entries:
        caption = "Now over before; a ratio's interval is made of both medians' own"
        headings = ["contestant", "callers", "figure", "before", "now", "ratio", "verdict"]
        blocks.append(Table(caption, headings, list(map(_change, changes.entries))))
    return blocks


def _change(change: Change) -> list[Cell]:
    if change.worse:
        said = Cell("worse", tone="bad")
    elif change.better:
        said = Cell("better", tone="good")
    else:
        said = Cell("no worse")
    return [
        Cell(change.contestant),
        Cell(f"{change.concurrency:,}", number=True),
        Cell(MEASURES[change.measure].name),
        number(change.before),
        number(change.now),
        Cell(factor(change.ratio), number=True),
        said,
    ]


def _conduct(report: Comparison) -> Iterator[Block]:
    inputs = report.inputs
    yield Paragraph(
        "In each round, all contestants are timed in an order that is drawn by lot and then in the reverse of it. A"
        " figure is the median over rounds; in a round, throughput is the mean of a contestant's two blocks, and a"
        " percentile that of the latencies of both together. A winner is named where the intervals of its ratios to all"
        " others, round by round, leave out 1 on the good side."
    )
    yield Paragraph(
        "Nothing is pinned to cores by the comparison: generators, and servers on the same machine, share those that"
        " they are allowed as its kernel sees fit."
    )
    if text := caution(report):
        yield Paragraph(f"{text[0].upper()}{text[1:]}.")
    if report.notes:
        yield Bullets(report.notes)
    yield Facts(
        {
            "command": report.command,
            "quadriga": report.quadriga,
            "inputs": f"{inputs.content}; {inputs.requests} requests in turn",
            "inputs' SHA-256": inputs.digest,
            "seconds of a block": _seconds(report),
            "rounds": ", ".join(f"{level.rounds} with {level_title(level)}" for level in report.levels) or "none",
            "connections of each contestant": str(report.connections),
            "generator processes of each contestant": str(report.processes),
            "cores that the generators may use": cores(report.generator_cores) or UNKNOWN,
            "awake": "one contestant at a time" if report.one_awake else "all that the servers have loaded",
            "seed": str(report.seed),
        }
    )


def _seconds(report: Comparison) -> str:
    found = sorted({block.seconds for level in report.levels for block in level.blocks} or {report.block_seconds})
    return " to ".join(f"{seconds:.3g}" for seconds in dict.fromkeys((found[0], found[-1])))


def _machine(report: Comparison) -> Facts:
    seen = report.fingerprint
    return Facts({**seen.machine, "load average before": f"{seen.load_average:.2f}", **seen.versions})
