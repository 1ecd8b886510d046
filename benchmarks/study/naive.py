"""Every way to call the network, in turns: a process each, all but one of which wait for their question."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from variant import Variant, answer_questions

from quadriga_client.load.fingerprint import affinity
from study.errors import StudyError
from study.figures import Calls
from study.ways import Way, all_ways, build

BATCHES: Final = (1, 8, 32)
#: Of the answers of any two ways, which are probabilities.
TOLERANCE: Final = 1e-4


@dataclass(slots=True)
class _Seen:
    """One way's figures for one batch size, as they come."""

    ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)


def measure_calls(
    repository: Path, keras_backends: Sequence[str], rounds: int, seconds: float, tell: Callable[[str], None]
) -> tuple[Calls, ...]:
    """Every way on one thread, and again on all cores.

    Args:
        repository: With the `same_*` models.
        keras_backends: Those that are installed.
        rounds: In each of which every way has its turn, after one that does not count.
        seconds: Of a turn.
        tell: Hears what is being done.

    Raises:
        StudyError: A way does not run, or answers something else than the others.
    """
    cores = affinity() or 1
    ways = all_ways(keras_backends)
    return tuple(
        calls
        for threads in ((1,) if cores == 1 else (1, None))
        for calls in _measure(ways, repository, threads, rounds, seconds, tell)
    )


def _measure(
    ways: Sequence[Way],
    repository: Path,
    threads: int | None,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> Iterator[Calls]:
    with ExitStack() as stack:
        tell(f"{len(ways)} ways to call the network, on {'all cores' if threads is None else 'one thread'}: starting")
        running = {way: stack.enter_context(closing(start(way, repository, threads))) for way in ways}
        for batch in BATCHES:
            tell(f"batch {batch}")
            seen = take_turns(running, batch, rounds, seconds)
            expected = np.array(seen[ways[0]].answer)
            for way, figures in seen.items():
                difference = float(np.abs(np.array(figures.answer) - expected).max())
                if not difference <= TOLERANCE:
                    raise StudyError(f"{way.framework}, {way.call}: answers differ by {difference:.3g} from {ways[0]}")
                yield Calls(
                    framework=way.framework,
                    way=way.call,
                    threads=threads or affinity() or 1,
                    batch=batch,
                    ms=tuple(figures.ms),
                    cpu_ms=tuple(figures.cpu_ms),
                    difference=difference,
                )


def take_turns(running: dict[Way, Variant], batch: int, rounds: int, seconds: float) -> dict[Way, _Seen]:
    """Every way in every round; rounds go forth and back, so that nobody is always behind the same one.

    A first round does not count: calls get faster for a while, as frameworks trace, compile and allocate.
    """
    seen = {way: _Seen() for way in running}
    for round_ in range(rounds + 1):
        for way in list(running) if round_ % 2 == 0 else reversed(running):
            timed = running[way].ask(batch, seconds)
            if timed is None:
                raise StudyError(f"{way.framework}, {way.call}: does not run; `{command_line(way)}` tells why")
            seen[way].answer = seen[way].answer or timed.first
            if round_:
                seen[way].ms.append(timed.wall_ms)
                seen[way].cpu_ms.append(timed.cpu_ms)
    return seen


def start(way: Way, repository: Path, threads: int | None) -> Variant:
    """A way's process."""
    arguments = json.dumps([way, str(repository.absolute()), threads])
    return Variant(["-m", "study.naive", arguments], way.environment(threads))


def command_line(way: Way) -> str:
    """What shows a way's errors."""
    return f"echo 1 1 | PYTHONPATH=benchmarks python -m study.naive '{json.dumps([way, 'models/repository', 1])}'"


def main(arguments: str) -> None:
    """What `start` starts."""
    way, repository, threads = json.loads(arguments)
    answer_questions(*build(Way(*way), Path(repository), threads))


if __name__ == "__main__":
    main(sys.argv[1])
