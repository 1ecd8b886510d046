"""Workers that die in every way there is, once a second, under load: no call is lost, and others do not feel it."""

import itertools
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest
from checked_calls import LOST, STREAM_ERROR, TWICE, WRONG, End, Subject, Terms, checked_calls
from figures import Figures
from memory_cgroup import MemoryGroup, memory_group
from oip import infer_request, outputs_of, rpc
from running_server import ON_CPU, RunningServer, metric_of, wait_for, write_fake
from worker_faults import Family, Poisoner, Saboteur, run_out_of_memory

pytestmark = pytest.mark.chaos

SECONDS = max(float(os.environ.get("QUADRIGA_CHAOS_SECONDS", "60")), 5.0)
#: From this length on figures are held against the bounds that docs/reliability.md gives.
FULL_SECONDS = 60.0
SEED = int(os.environ.get("QUADRIGA_CHAOS_SEED", str(time.time_ns() % 1_000_000)))

DEMO = ("same_onnx", "same_torchscript", "same_savedmodel", "same_keras")
FAKE = "fake"
INSTANCES = 2
#: To each of five models. A minute of both has as many calls as half an hour at a thirtieth of it, 10 a second in all.
CALLS_PER_SECOND = 50.0
MESSAGES_PER_SECOND = 10.0
#: Less than a call's deadline, so that who was with a worker that hangs may still be answered by another.
BATCH_SECONDS = 1.5
TERMS = Terms(seconds=SECONDS, deadline=3.0, grace=1.0, stream_grace=10.0)
ALLOWED = ("OK", "UNAVAILABLE", "DEADLINE_EXCEEDED")
#: A request with which two workers are lost is refused, though both were killed from outside: it takes two accidents.
MOST_CONVICTED = 0.002
#: What a request to the fake model has in it to bring about a fault from inside.
POISONS = {"die_on": 101.0, "segfault_on": 102.0, "exit_on": 103.0, "hang_on": 104.0, "grow_on": 105.0}
#: What the fake model's workers may take before the kernel kills them for what one of them is made to take.
GROWTH_BYTES, MEMORY_BYTES = 256 << 20, 64 << 20
#: Calls that end with DEADLINE_EXCEEDED while the server answers them, or before it took them up. If there are more, it
#: keeps requests or answers, or the machine has no processor left for it.
MOST_LATE = 0.002
#: The longest back-off, the start of a framework on a busy machine, and some.
RECOVERY_SECONDS = 240.0

VICTIMS = ("same_torchscript", "fake_victim")
NEIGHBOURS = ("same_onnx", "same_savedmodel", "same_keras", "fake_neighbour")
#: So that back-offs leave some alive to be killed.
VICTIM_INSTANCES = 4
WINDOW_SECONDS = min(5.0, SECONDS / 2)
#: At the start of a quiet window the last dead worker may still be on its way back.
SETTLING_SECONDS = 1.5
MOST_FELT = 1.5
#: They start one after the other, and let everything else on the machine run first.
TEMPLATES = ("torchscript", "tensorflow", "keras")
TEMPLATES_SECONDS = 600.0
KEPT, UNFELT = "no request is lost", "a death touches no other backend"
#: To each neighbour. Of a minute p99 of all four then rests on more than 50 calls that were slower, with and without.
NEIGHBOUR_CALLS_PER_SECOND = 80.0
VICTIM_CALLS_PER_SECOND = 20.0

IMAGES = np.random.default_rng(0).random((16, 32, 32, 3), np.float32)


def put_model(
    repository: Path, demo: Path, model: str, instances: int, batch_seconds: float | None = BATCH_SECONDS
) -> None:
    """Adds a demo model, or a fake one where it is called so, with so many workers, and a time limit of a batch."""
    config = f"[[instance_group]]\ncount = {instances}\n"
    if batch_seconds is not None:
        config += f"[parameters]\nbatch_timeout_seconds = {batch_seconds}\n"
    if model.startswith(FAKE):
        write_fake(repository, model, {"sleep_ms": 2, "grow_bytes": GROWTH_BYTES, **POISONS}, config)
        return
    (repository / model).mkdir(parents=True)
    (repository / model / "1").symlink_to(demo / model / "1")
    (repository / model / "model.toml").write_text(config)


def subject(channel: grpc.Channel, model: str, calls: float, messages: float = 0.0) -> Subject:
    """Requests of 1 to 4 rows, and their answers: the ONNX model's for all formats, repeated inputs of a fake."""
    requests, answers = [], []
    for rows in range(1, 5):
        images = IMAGES[rows : 2 * rows]
        if model.startswith(FAKE):
            answer = images.reshape(rows, -1)[:, :4].copy()
            request = infer_request(model, x=answer)
        else:
            request = infer_request(model, image=images)
            answer = outputs_of(rpc(channel, "ModelInfer", infer_request(DEMO[0], image=images)))["scores"]
        requests.append(request.SerializeToString())
        answers.append(answer)
    return Subject(model, tuple(requests), tuple(answers), calls, messages)


def is_whole(server: RunningServer, models: Sequence[str], instances: int) -> bool:
    return all(server.metric("quadriga_workers_up", model=model) == instances for model in models)


def wait_until_whole(server: RunningServer, family: Family, models: Sequence[str], instances: int) -> None:
    """Returns when every worker is back, and every death counted."""
    wait_for(
        lambda: is_whole(server, models, instances) and are_counted(server, family, models),
        "every death to be counted, and every worker to be back",
        RECOVERY_SECONDS,
    )


def are_counted(server: RunningServer, family: Family, models: Sequence[str]) -> bool:
    """Whether the server has counted every death, which it does when it has what the worker printed last."""
    deaths = [server.metric("quadriga_worker_deaths_total", model=model) for model in models]
    return deaths == [family.gone(model) for model in models]


def check_deaths(server: RunningServer, family: Family, model: str) -> int:
    """Each worker that was ready and is gone was counted, and restarted; so were those that never came to be ready."""
    gone = family.gone(model)
    unborn = len(re.findall(rf"{model}/1#\d+ cannot be restarted", server.log))
    assert (model, server.metric("quadriga_worker_deaths_total", model=model)) == (model, gone)
    assert (model, server.metric("quadriga_worker_restarts_total", model=model)) == (model, gone + unborn)
    return gone + unborn


def listed(counts: Counter[str]) -> str:
    """As a cell of the table of figures."""
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def longest_silence(ends: Sequence[End], start: float) -> float:
    """Seconds between two right answers, at most: after several deaths the back-off, up to 30 s, and a load."""
    times = sorted(end.ended for end in ends if end.outcome == "OK")
    return float(np.diff([start, *times, start + SECONDS]).max())


class Late(NamedTuple):
    """Calls whose time was over at a moment that made client and server see them differently.

    Attributes:
        unseen: Answered by the server, but not before the client's deadline.
        untaken: Not counted by the server: it had no time to take them up before their deadline.
    """

    unseen: int
    untaken: int


def check_counts(server: RunningServer, model: str, ends: Sequence[End], before: int, poisoned: int = 0) -> Late:
    """The server counted no request twice, each with an outcome that is promised, and their client knows of all.

    Both may differ over requests whose time was over, and over no others.
    """
    outcomes = Counter(end.outcome for end in ends)
    count = partial(metric_of, server.get("/metrics")[1], "quadriga_requests_total", model=model)
    counted = int(count())
    codes = (*ALLOWED, "INTERNAL", "CANCELLED")
    assert (model, sum(count(code=code) for code in codes)) == (model, counted)
    late = Late(
        unseen=int(count(outcome="answered")) - before - outcomes["OK"],
        untaken=before + len(ends) + poisoned - counted,
    )
    assert min(late) >= 0, (model, late, outcomes)
    assert sum(late) <= outcomes["DEADLINE_EXCEEDED"] + poisoned, (model, late, outcomes)
    return late


def arm(saboteur: Saboteur, family: Family, poisoner: Poisoner, group: MemoryGroup | None) -> None:
    """Adds the faults from inside; that of memory is the kernel's where there is a group for it."""
    for kind, poison in POISONS.items():
        saboteur.add(f"{kind} inside", partial(poisoner.send, poison))
    if group is not None:
        grow = partial(poisoner.send, POISONS["grow_on"])
        saboteur.add("grow_on inside", partial(run_out_of_memory, family, FAKE, group, grow))


def show_model(figures: Figures, transport: str, model: str, died: int, own: Sequence[End], start: float) -> None:
    """Takes down how one model's callers fared."""
    taken = [end.ended - end.due for end in own if end.outcome == "OK"]
    assert taken, f"{model} answered nothing"
    figures.add(
        KEPT,
        f"{model} with {INSTANCES} workers, {transport}",
        f"{died} deaths, {len(taken) / len(own):.1%} answered, p99 {np.quantile(taken, 0.99):.2f} s, "
        f"at most {longest_silence(own, start):.1f} s without an answer",
    )


def test_no_request_is_lost_while_workers_die(
    start: Callable[..., RunningServer], transport: str, demo_repository: Path, tmp_path: Path, figures: Figures
) -> None:
    print(f"QUADRIGA_CHAOS_SEED={SEED}")
    models = (*DEMO, FAKE)
    for model in models:
        put_model(tmp_path, demo_repository, model, INSTANCES)
    server = start("--repository", str(tmp_path))
    family = Family(server)
    saboteur = Saboteur(family, SEED)
    with grpc.insecure_channel(server.grpc) as channel:
        subjects = [subject(channel, model, CALLS_PER_SECOND, MESSAGES_PER_SECOND) for model in models]
    before = {model: int(server.metric("quadriga_requests_total", model=model)) for model in models}
    with (
        memory_group(MEMORY_BYTES) as group,
        checked_calls(server.grpc, subjects, TERMS) as calls,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        poisoner = Poisoner(channel, FAKE)
        arm(saboteur, family, poisoner, group)
        for second in range(1, int(SECONDS)):
            time.sleep(max(calls.start + second - time.monotonic(), 0))
            saboteur.strike()
        ends, stall = calls.outcome.result()
        poisoned = poisoner.outcomes()
        starved = group.killed if group is not None else None
    wait_until_whole(server, family, models, INSTANCES)

    outcomes = Counter(end.outcome for end in ends)
    figures.add(KEPT, f"faults in {SECONDS:.0f} s, {transport}", listed(saboteur.struck))
    figures.add(KEPT, f"calls, {transport}", f"{len(ends)}: {listed(outcomes)}")
    for outcome in (WRONG, TWICE, LOST):
        figures.add(KEPT, f"{outcome}, {transport}", str(outcomes[outcome]), "0")
    late = []
    for model in models:
        own = [end for end in ends if end.model == model]
        show_model(figures, transport, model, check_deaths(server, family, model), own, calls.start)
        late.append(check_counts(server, model, own, before[model], poisoned.total() if model == FAKE else 0))
    unseen, untaken = (sum(counts) for counts in zip(*late, strict=True))
    figures.add(KEPT, f"poisonous requests, {transport}", listed(poisoned))
    figures.add(
        KEPT,
        f"workers killed by the kernel for memory, {transport}",
        "no group can be made" if starved is None else str(starved),
    )
    figures.add(KEPT, f"caller held up, {transport}", f"at most {stall:.1f} s")
    bound = f"{MOST_LATE:.1%}" if SECONDS >= FULL_SECONDS else ""
    figures.add(KEPT, f"answered when their time was over, {transport}", str(unseen), bound)
    figures.add(KEPT, f"not taken up before their time was over, {transport}", str(untaken), bound)
    assert set(poisoned) <= {"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert saboteur.struck.total() == int(SECONDS) - 1
    assert set(outcomes) <= {*ALLOWED, STREAM_ERROR, "INTERNAL"}
    assert outcomes["INTERNAL"] <= MOST_CONVICTED * len(ends)
    if SECONDS >= FULL_SECONDS and starved is not None:
        assert starved
    if SECONDS >= FULL_SECONDS and stall < TERMS.grace:
        assert max(unseen, untaken) <= MOST_LATE * len(ends)
    server.stop()  # before the next test measures


def test_other_models_do_not_feel_deaths(
    start: Callable[..., RunningServer], transport: str, demo_repository: Path, tmp_path: Path, figures: Figures
) -> None:
    """Quiet windows and windows with faults in turn, so that what else the machine does is the same for both."""
    for model in VICTIMS:
        put_model(tmp_path, demo_repository, model, VICTIM_INSTANCES)
    for model in NEIGHBOURS:
        put_model(tmp_path, demo_repository, model, 1, batch_seconds=None)  # slow is not hung
    server = start("--repository", str(tmp_path), env=ON_CPU)
    ready = [f"template of {backend} is ready" for backend in TEMPLATES]
    wait_for(lambda: all(line in server.log for line in ready), "the templates", TEMPLATES_SECONDS)
    family = Family(server)
    before = {pid for pid, model in family.workers().items() if model in NEIGHBOURS}
    with grpc.insecure_channel(server.grpc) as channel:
        subjects = [subject(channel, model, VICTIM_CALLS_PER_SECOND) for model in VICTIMS]
        subjects += [subject(channel, model, NEIGHBOUR_CALLS_PER_SECOND) for model in NEIGHBOURS]
    victims = itertools.cycle(VICTIMS)
    kills = 0
    with checked_calls(server.grpc, subjects, TERMS) as calls:
        for second in range(int(SECONDS)):
            time.sleep(max(calls.start + second - time.monotonic(), 0))
            # Looking for one costs milliseconds of a core, which both kinds of windows have to bear.
            victim = family.oldest(next(victims))
            if second // WINDOW_SECONDS % 2 and victim is not None:
                os.kill(victim, signal.SIGKILL)
                kills += 1
        ends, stall = calls.outcome.result()
    assert kills
    assert {pid for pid, model in family.workers().items() if model in NEIGHBOURS} == before
    unpunctual = {"DEADLINE_EXCEEDED"} if stall > TERMS.grace else set()
    for model in NEIGHBOURS:
        assert (model, {end.outcome for end in ends if end.model == model} - unpunctual) == (model, {"OK"})
    quiet, faults = neighbours_latencies(ends, calls.start, transport, figures)
    figures.add(
        UNFELT,
        f"all, in multiples of each one's median without deaths, {transport}",
        f"{compared(quiet, faults, 'medians')}; {len(quiet)} and {len(faults)} calls, {kills} deaths; "
        f"caller held up {stall:.2f} s",
        f"p99 x {MOST_FELT}" if SECONDS >= FULL_SECONDS else "",
    )
    server.stop()
    if SECONDS >= FULL_SECONDS:
        assert np.quantile(faults, 0.99) <= MOST_FELT * np.quantile(quiet, 0.99)


def neighbours_latencies(
    ends: Sequence[End], start: float, transport: str, figures: Figures
) -> tuple[list[float], list[float]]:
    """Of all neighbours, in quiet windows and in those with faults, in multiples of each one's median in quiet ones.

    Together they are enough calls for a p99 that rests on more than a few. Each one's own is taken down as well.
    """
    pooled: tuple[list[float], list[float]] = ([], [])
    for model in NEIGHBOURS:
        own = [(window(end.due - start), (end.ended - end.due) * 1e3) for end in ends if end.model == model]
        quiet, faults = ([latency for of, latency in own if of == wanted] for wanted in (0, 1))
        figures.add(UNFELT, f"{model} without and with deaths, {transport}", compared(quiet, faults, "ms"))
        usual = float(np.median(quiet))
        for every, values in zip(pooled, (quiet, faults), strict=True):
            every.extend(value / usual for value in values)
    return pooled


def compared(quiet: Sequence[float], faults: Sequence[float], unit: str) -> str:
    """As a cell of the table of figures."""
    p50, p99 = ([float(np.quantile(values, q)) for values in (quiet, faults)] for q in (0.5, 0.99))
    ratio = p99[1] / p99[0]
    return f"p50 {p50[0]:.1f} and {p50[1]:.1f} {unit}, p99 {p99[0]:.1f} and {p99[1]:.1f} {unit}: x {ratio:.2f}"


def window(seconds: float) -> int:
    """0: quiet, 1: with faults, 2: neither, of a time since the start."""
    number, within = divmod(seconds, WINDOW_SECONDS)
    if number % 2:
        return 1
    return 2 if within < SETTLING_SECONDS else 0
