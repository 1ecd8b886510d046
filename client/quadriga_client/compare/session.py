"""One comparison, from its options to its report. Runs in the command's process.

Contestants agree first. Whatever ends the timing early leaves a report of what was timed until then, and after the
timing nothing is asked of anybody: all that follows is arithmetic.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from quadriga_client.compare.answers import Entry, Roll
from quadriga_client.compare.awake import AllAwake, Awake, OneAwake
from quadriga_client.compare.changes import changes, check_comparable
from quadriga_client.compare.comparison import SCHEMA, Comparison, Contender, SharedInputs
from quadriga_client.compare.contest import Contest, Observer, Timed
from quadriga_client.compare.errors import CompareError, Disagreement
from quadriga_client.compare.likeness import Agreement
from quadriga_client.compare.neighbours import neighbours_of
from quadriga_client.compare.options import CompareOptions
from quadriga_client.compare.standings import Level
from quadriga_client.compare.timing import Lane
from quadriga_client.compare.verdict import level
from quadriga_client.load.engine.fleet import Fleet
from quadriga_client.load.fingerprint import fingerprint


def run_comparison(
    options: CompareOptions,
    observer: Observer,
    *,
    hold: Callable[[], None] = lambda: None,
    quadriga: str = "",
    command: str = "",
) -> Comparison:
    """Compares models.

    Args:
        options: Of the comparison.
        observer: Is told how it goes.
        hold: Is called before servers are put back as they were, and before the report is made. From then on, no signal
            should end the process; whoever calls this function handles them.
        quadriga: This package's version, for the report.
        command: As it was typed, for the report; without secrets.

    Returns:
        What was measured. `error` says what ended it early, `interrupted`, that it was Ctrl-C.

    Raises:
        Disagreement: The contestants do not answer alike, and that is not allowed.
        CompareError: They cannot be compared.
        WrongOption: An option does not fit the first contestant.
        LoadError: No inputs can be made, or a metrics page is none.
        KeyboardInterrupt: Before the timing, when there is nothing to report.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    machine = fingerprint()
    met = _meet(options, observer, hold)
    comparison = Comparison(
        schema=SCHEMA,
        quadriga=quadriga,
        created=created,
        command=command,
        contestants=tuple(_described(entry, met.awake, met.timed) for entry in met.entries),
        inputs=met.inputs,
        tolerance=options.tolerance,
        agreements=met.agreements,
        allowed_different=options.allow_different,
        seed=options.seed,
        block_seconds=options.plan().share,
        connections=options.connections,
        processes=options.processes,
        one_awake=options.one_awake,
        fingerprint=machine,
        levels=_levels(options, met.timed),
        notes=(*met.awake.notes, *met.timed.notes, *met.left),
        interrupted=met.timed.interrupted,
        error=met.timed.error,
        generator_cores=_generator_cores(),
    )
    return _beside(options, comparison)


class _Met(NamedTuple):
    """What came of meeting the contestants."""

    entries: Sequence[Entry]
    agreements: tuple[Agreement, ...]
    inputs: SharedInputs
    timed: Timed
    awake: Awake
    left: Sequence[str]


def _meet(options: CompareOptions, observer: Observer, hold: Callable[[], None]) -> _Met:
    """All that anybody is asked for; at its end, all is as it was, but for what is `left`."""
    urls = dict.fromkeys(contestant.url for contestant in options.contestants)
    left: list[str] = []

    def told(text: str) -> None:
        left.append(text)
        observer.left(text)

    with ExitStack() as stack:
        clients = {url: stack.enter_context(options.access.client(url)) for url in urls}
        awake: Awake = AllAwake()
        if options.one_awake:
            awake = stack.enter_context(OneAwake(options.contestants, clients, told))
        stack.callback(observer.phase, "ending")
        stack.callback(hold)
        roll = Roll(options, clients, awake)
        for contestant in options.contestants:
            observer.phase(f"asking {contestant.name}")
            roll.call(contestant)
        agreements, inputs = _agreed(options, roll)
        timed = _timed(options, roll.entries, awake, observer, hold)
    return _Met(roll.entries, agreements, inputs, timed, awake, left)


def _generator_cores() -> tuple[int, ...]:
    """Those of this process, from which the generators' have theirs; empty where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def _levels(options: CompareOptions, timed: Timed) -> tuple[Level, ...]:
    names = [contestant.name for contestant in options.contestants]
    return tuple(level(names, concurrency, blocks, options.seed) for concurrency, blocks in timed.blocks.items())


def _beside(options: CompareOptions, comparison: Comparison) -> Comparison:
    """The comparison with its changes since the older report, where there is one."""
    if options.against is None or not comparison.levels:
        return comparison
    beside = changes(options.against, comparison, against=options.against_name, tolerated=options.tolerated)
    return replace(comparison, changes=beside)


def _agreed(options: CompareOptions, roll: Roll) -> tuple[tuple[Agreement, ...], SharedInputs]:
    """The agreements, and what was sent.

    Raises:
        Disagreement: They do not agree, and that is not allowed.
        CompareError: An older report is of something else.
    """
    agreements = roll.agreements()
    if not options.allow_different and not all(agreement.agrees for agreement in agreements):
        raise Disagreement(agreements)
    if roll.inputs is None:
        raise CompareError("nobody was called")
    inputs = roll.inputs.described
    if options.against is not None:
        names = [contestant.name for contestant in options.contestants]
        check_comparable(options.against, names, inputs, options.concurrencies)
    return agreements, inputs


def _timed(
    options: CompareOptions, entries: Sequence[Entry], awake: Awake, observer: Observer, hold: Callable[[], None]
) -> Timed:
    with ExitStack() as stack:
        lanes = [
            Lane(
                name=entry.contestant.name,
                source=stack.enter_context(
                    Fleet(entry.target, connections=options.connections, processes=options.processes)
                ),
                probe=entry.probe,
                neighbours=neighbours_of(entry.probe),
                rows=options.rows,
            )
            for entry in entries
        ]
        contest = Contest(
            contestants=options.contestants,
            lanes=lanes,
            seconds=options.seconds,
            seed=options.seed,
            awake=awake,
            observer=observer,
            hold=hold,
        )
        return contest.run(options.concurrencies)


def _described(entry: Entry, awake: Awake, timed: Timed) -> Contender:
    """A contestant with what is known of it after the timing."""
    load_ms = awake.load_ms(entry.contestant)
    memory = [
        block.memory_bytes
        for blocks in timed.blocks.values()
        for block in blocks
        if block.contestant == entry.contestant.name and block.memory_bytes is not None
    ]
    return replace(
        entry.contender,
        load_ms=entry.contender.load_ms if load_ms is None else load_ms,
        memory_bytes=memory[-1] if memory else None,
    )
