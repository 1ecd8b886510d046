"""The same network served: by Quadriga from each format, and by naive servers, all on this machine and in turns."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from process_tree import ProcessTree
from server_under_test import started
from target import Target, first_output, request_for, target

from quadriga.model_config import default_threads
from quadriga_client.compare.blocks import schedule
from quadriga_client.load.arrivals import ClosedLoop, Poisson
from quadriga_client.load.engine.fleet import Fleet
from quadriga_client.load.fingerprint import affinity
from quadriga_client.load.target import LoadTarget
from study.blocks import Block, time_block
from study.claims import many
from study.errors import StudyError
from study.figures import Served
from study.naive import TOLERANCE
from study.naive_server import NaiveServer
from study.ways import MODEL, PREDICT, SCRIPT, SESSION, Way

#: Rows per request, and callers. Naive servers with a worker's threads are only loaded with single rows.
CLOSED: Final = ((1, 1), (1, 8), (1, 32), (8, 8), (32, 8))
#: Of what the slowest of Quadriga's models answers, with Poisson arrivals.
SHARES: Final = (0.2, 0.5, 0.8)
#: A rate is only asked of servers that it leaves some room.
ROOM: Final = 0.9
CONNECTIONS: Final = 8
TIMEOUT: Final = 60.0
#: Of each caller in a turn, at least; and seconds of a turn where a warm-up saw none.
ANSWERS: Final = 2
UNANSWERED: Final = 5.0
#: Requests for a p99: of fewer, the largest lies below it too often; see `quadriga_client.load.statistics.intervals`.
LEAST_FOR_P99: Final = 368
NAIVE: Final = (
    Way("keras on tensorflow", PREDICT, "keras", "tensorflow"),
    Way("keras on tensorflow", MODEL, "keras", "tensorflow"),
    Way("pytorch", SCRIPT, "torchscript"),
    Way("onnx", SESSION, "onnx"),
)
#: Quadriga's models: framework -> the demo's model.
MODELS: Final = {"tensorflow": "same_savedmodel", "pytorch": "same_torchscript", "onnx": "same_onnx"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A server, and how it is called.

    Attributes:
        name: As `Served.server`.
        naive: As there.
        threads: As there.
        url: HOST:PORT.
        model: The name in requests.
        tree: Its processes.
    """

    name: str
    naive: bool
    threads: int | None
    url: str
    model: str
    tree: ProcessTree


@dataclass(slots=True)
class Level:
    """One load, and what was seen of each server under it, by round."""

    rows: int
    arrivals: ClosedLoop | Poisson
    seen: dict[str, list[Block]] = field(default_factory=dict)


def measure_served(
    repository: Path, keras_backends: Sequence[str], rounds: int, seconds: float, tell: Callable[[str], None]
) -> tuple[Served, ...]:
    """All servers under all loads.

    Args:
        repository: With the `same_*` models.
        keras_backends: Those that are installed.
        rounds: In each of which every server has its turn, after one that does not count; an even number.
        seconds: Of a turn.
        tell: Hears what is being done.

    Raises:
        StudyError: A server does not start, or answers something else than the others.
        LoadError: One cannot be reached any more.
    """
    served: list[Served] = []
    with ExitStack() as stack:
        tell("starting Quadriga and the naive servers")
        usual = [stack.enter_context(NaiveServer(way, repository)) for way in NAIVE]
        with_threads = [
            stack.enter_context(NaiveServer(way, repository, worker_threads(way, repository))) for way in NAIVE
        ]
        contestants = stack.enter_context(quadriga(repository, keras_backends))
        contestants += [naive(server) for server in usual]
        pinned = [naive(server) for server in with_threads]
        for rows, callers in CLOSED:
            tell(f"{many(rows, 'row')} a request, {many(callers, 'caller')}")
            level = Level(rows=rows, arrivals=ClosedLoop(callers))
            served += measure_level([*contestants, *(pinned if rows == 1 else ())], level, rounds, seconds)
        peaks = capacities(served)
        for rate in rates(contestants, peaks):
            able = [each for each in contestants if rate <= ROOM * peaks[each.name]]
            tell(f"1 row a request, {rate:.0f} requests a second, {len(able)} servers")
            served += measure_level(able, Level(rows=1, arrivals=Poisson(rate)), rounds, seconds)
    return tuple(served)


@contextmanager
def quadriga(repository: Path, keras_backends: Sequence[str]) -> Iterator[list[Contestant]]:
    """A server with one network in every format, and in Keras' once for all that Keras runs on."""
    with tempfile.TemporaryDirectory(prefix="quadriga-study-") as folder:
        models = MODELS | {f"keras on {name}": f"same_keras_{name}" for name in keras_backends}
        batches = f"max_batch_size = {max(rows for rows, _ in CLOSED)}\n"
        for model in MODELS.values():
            shutil.copytree(repository / model, Path(folder, model))
            Path(folder, model, "model.toml").write_text(batches)
        for name in keras_backends:
            copy = Path(folder, f"same_keras_{name}")
            shutil.copytree(repository / "same_keras", copy)
            (copy / "model.toml").write_text(f'{batches}[parameters]\nkeras_backend = "{name}"\n')
        with started(["--repository", folder]) as running:
            yield [
                Contestant(
                    name=name,
                    naive=False,
                    threads=threads_of(Path(folder, model)),
                    url=running.grpc,
                    model=model,
                    tree=running.tree,
                )
                for name, model in models.items()
            ]


def threads_of(model: Path) -> int:
    """What a worker of Quadriga's has where neither `threads` nor instances are configured."""
    files = [file for file in (model / "1").rglob("*") if file.is_file()]
    return default_threads(1, affinity() or 1, sum(file.stat().st_size for file in files))


def worker_threads(way: Way, repository: Path) -> int:
    """The threads of Quadriga's worker that runs the same file as a naive server."""
    return threads_of(way.file(repository).parents[1])


def naive(server: NaiveServer) -> Contestant:
    """A naive server, once it is ready.

    Raises:
        StudyError: It does not start.
    """
    tree = ProcessTree(server.pid)
    return Contestant(name=server.name, naive=True, threads=server.threads, url=server.url(), model="same", tree=tree)


def targets(contestants: Sequence[Contestant], rows: int) -> list[Target]:
    """The same rows for all, each tried once.

    Raises:
        StudyError: One answers something else than the first.
    """
    asked = contestants[0]
    first = target(asked.url, request_for(asked.url, asked.model, rows))
    expected = first_output(first.answer)
    found = [first]
    for other in contestants[1:]:
        request = first.request if other.naive else request_for(other.url, other.model, rows)
        found.append(target(other.url, request))
        difference = float(np.abs(first_output(found[-1].answer) - expected).max())
        if not difference <= TOLERANCE:
            raise StudyError(f"{other.name} answers something else than {asked.name}: by up to {difference:.3g}")
    return found


def measure_level(contestants: Sequence[Contestant], level: Level, rounds: int, seconds: float) -> Iterator[Served]:
    """All servers under one load; their order is drawn by lot, and each round has a mirrored one beside it."""
    with ExitStack() as stack:
        fleets = [
            stack.enter_context(
                Fleet(
                    LoadTarget(url=sent.address, requests=(sent.request,), timeout=TIMEOUT),
                    connections=CONNECTIONS,
                    processes=1,
                )
            )
            for sent in targets(contestants, level.rows)
        ]
        lengths = [
            length_for(time_block(fleet, level.arrivals, seconds, contestant.tree), seconds)
            for contestant, fleet in zip(contestants, fleets, strict=True)
        ]
        for turn in schedule(len(contestants), rounds // 2, seed=level.rows + round(value_of(level.arrivals))):
            contestant = contestants[turn.contestant]
            arrivals = of_round(level.arrivals, turn.round)
            block = time_block(fleets[turn.contestant], arrivals, lengths[turn.contestant], contestant.tree)
            level.seen.setdefault(contestant.name, []).append(block)
    for contestant in contestants:
        yield summary(contestant, level)


def of_round(arrivals: ClosedLoop | Poisson, number: int) -> ClosedLoop | Poisson:
    """Arrivals that are the same for all in a round, and others in the next."""
    return replace(arrivals, seed=number) if isinstance(arrivals, Poisson) else arrivals


def length_for(warm_up: Block, seconds: float) -> float:
    """Seconds of a server's turns: more for a slow one, whose callers would hardly be answered once."""
    if not len(warm_up.latencies_ms):
        return max(seconds, UNANSWERED)
    return max(seconds, ANSWERS * float(np.median(warm_up.latencies_ms)) / 1e3)


def summary(contestant: Contestant, level: Level) -> Served:
    """What the rounds say of one server."""
    blocks = level.seen[contestant.name]
    limited = tuple(number for number, block in enumerate(blocks) if block.saturated)
    saturated = 2 * len(limited) >= len(blocks)
    counted = blocks if saturated else [block for block in blocks if not block.saturated]
    latencies = np.concatenate([block.latencies_ms for block in counted])
    return Served(
        server=contestant.name,
        naive=contestant.naive,
        threads=contestant.threads,
        rows=level.rows,
        mode="closed" if isinstance(level.arrivals, ClosedLoop) else "open",
        level=value_of(level.arrivals),
        throughput=tuple(block.throughput for block in blocks),
        p50_ms=tuple(float(np.median(block.latencies_ms)) for block in counted if len(block.latencies_ms)),
        p99_ms=float(np.percentile(latencies, 99)) if len(latencies) >= LEAST_FOR_P99 else None,
        cpu_ms=tuple(block.cpu_ms for block in blocks if block.cpu_ms is not None),
        requests=sum(len(block.latencies_ms) for block in blocks),
        errors=sum(block.errors for block in blocks),
        lag_p99_ms=max(block.lag_p99_ms for block in blocks),
        saturated=saturated,
        limited=limited,
    )


def value_of(arrivals: ClosedLoop | Poisson) -> float:
    """Callers, or requests per second."""
    return float(arrivals.concurrency if isinstance(arrivals, ClosedLoop) else arrivals.rate)


def capacities(served: Sequence[Served]) -> dict[str, float]:
    """The most that each server answered, in single rows per second."""
    peaks: dict[str, float] = {}
    for each in served:
        if each.rows == 1 and each.mode == "closed":
            peaks[each.server] = max(peaks.get(each.server, 0.0), each.rate().value)
    return peaks


def rates(contestants: Sequence[Contestant], peaks: dict[str, float]) -> list[float]:
    """Arrivals per second, ascending: shares of what Quadriga's slowest model can answer."""
    slowest = min(peaks[each.name] for each in contestants if not each.naive)
    return [round(share * slowest, 1) for share in SHARES]
