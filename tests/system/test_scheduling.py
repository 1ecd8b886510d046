"""The scheduling keys of a configuration as clients meet them: priorities, queue policies, the order of answers."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc as tritonclient
from oip import error_of, infer_request, method
from own_backends import OWN_BACKENDS
from running_server import RunningServer, is_alive, wait_for, write_fake

CALL_SECONDS = 60.0
HELD = 'backend = "own_backends:Held"\nmax_batch_size = 1\n'
TIMEOUTS = """
[dynamic_batching.priority_queue_policy.1]
timeout_action = "DELAY"
default_timeout_microseconds = 500000
[dynamic_batching.priority_queue_policy.2]
default_timeout_microseconds = 500000
[dynamic_batching.priority_queue_policy.3]
max_queue_size = 1
"""
GATED = 'backend = "own_backends:Gated"\nmax_batch_size = 1\n[[instance_group]]\nkind = "KIND_CPU"\ncount = 2\n'


class Callers:
    """Calls to one model under way, and the order in which they ended.

    Attributes:
        ended: Labels of the calls that ended, the first one first.
        codes: How each ended, by label.
    """

    def __init__(self, channel: grpc.Channel, server: RunningServer, model: str) -> None:
        self.ended: list[str] = []
        self.codes: dict[str, str] = {}
        self._infer = method(channel, "ModelInfer")
        self._server = server
        self._model = model
        self._queued = 0

    def send(self, label: str, value: float = 0.0, **parameters: int) -> None:
        """Sends a request of one row of a value."""
        request = infer_request(self._model, x=np.full((1, 4), value, np.float32))
        for key, number in parameters.items():
            request.parameters[key].int64_param = number
        future = self._infer.future(request.SerializeToString(), timeout=CALL_SECONDS)

        def note(done: Any) -> None:
            self.codes[label] = done.code().name
            self.ended.append(label)

        future.add_done_callback(note)

    def send_and_wait(self, label: str, **parameters: int) -> None:
        """Sends a request that is to wait in the queue, and returns once it does: the next one arrives later."""
        self.send(label, **parameters)
        self._queued += 1
        self.wait_for_queue(self._queued, label)

    def wait_for_queue(self, depth: int, what: str) -> None:
        wait_for(lambda: self._server.metric("quadriga_queue_depth", model=self._model) == depth, f"{what} to wait")

    def wait_for_batches(self, count: int, what: str) -> None:
        wait_for(lambda: self._server.metric("quadriga_batches_in_flight", model=self._model) == count, what)

    def wait_for_ends(self, count: int) -> None:
        wait_for(lambda: len(self.ended) == count, f"{count} calls to end")


@contextmanager
def calling(server: RunningServer, model: str) -> Iterator[Callers]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield Callers(channel, server, model)


@contextmanager
def held(server: RunningServer, folder: Path) -> Iterator[Callers]:
    """Callers of a model whose worker holds two batches and no more; let go at the end."""
    with calling(server, folder.name) as callers:
        for count, label in enumerate(("running", "behind it"), 1):
            callers.send(label)
            callers.wait_for_batches(count, f"{label} to be taken")
        yield callers


def let_go(folder: Path) -> None:
    (folder / "1" / "go").touch()


@pytest.fixture(scope="module")
def repository(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository: Path = tmp_path_factory.mktemp(transport)
    levels = HELD + "[dynamic_batching]\npriority_levels = 3\ndefault_priority_level = 2\n"
    write_fake(repository, "levels", {"sleep_ms": 20}, levels)
    write_fake(repository, "timeouts", {"sleep_ms": 20}, levels + TIMEOUTS)
    write_fake(repository, "unordered", config=GATED)
    for name in ("ordered", "mortal"):
        write_fake(repository, name, config=GATED + "[dynamic_batching]\npreserve_ordering = true\n")
    preferring = "preferred_batch_size = [2]\nmax_queue_delay_microseconds = 60000000\n"
    write_fake(repository, "preferring", config=f"max_batch_size = 8\n[dynamic_batching]\n{preferring}")
    return repository


@pytest.fixture(scope="module")
def server(start: Callable[..., RunningServer], repository: Path) -> RunningServer:
    return start("--repository", str(repository), "--drain-seconds", "0.1", env=OWN_BACKENDS)


def test_clients_see_higher_priorities_served_first(server: RunningServer, repository: Path) -> None:
    with held(server, repository / "levels") as callers:
        for label, priority in (("low", 3), ("none", 0), ("unknown", 77), ("high", 1), ("also high", 1)):
            callers.send_and_wait(label, priority=priority)
        let_go(repository / "levels")
        callers.wait_for_ends(7)
    assert callers.ended == ["running", "behind it", "high", "also high", "none", "unknown", "low"]
    assert set(callers.codes.values()) == {"OK"}


def test_timeouts_of_levels_refuse_or_postpone_and_full_levels_refuse(server: RunningServer, repository: Path) -> None:
    def refused(code: str, reason: str, outcome: str) -> float:
        labels = {"code": code, "reason": reason, "outcome": outcome}
        return server.metric("quadriga_requests_total", model="timeouts", **labels)

    with held(server, repository / "timeouts") as callers:
        callers.send_and_wait("delayed", priority=1)
        callers.send_and_wait("last", priority=3)
        callers.send("one too many", priority=3)
        callers.wait_for_ends(1)
        callers.send("own timeout", priority=1, timeout=1000)
        callers.wait_for_ends(2)
        callers.send("refused", priority=2)  # after the same time as "delayed", and later: then that is overdue too
        callers.wait_for_ends(3)
        assert callers.codes == {
            "one too many": "UNAVAILABLE",
            "own timeout": "DEADLINE_EXCEEDED",
            "refused": "DEADLINE_EXCEEDED",
        }
        let_go(repository / "timeouts")
        callers.wait_for_ends(7)
    assert callers.ended[3:] == ["running", "behind it", "delayed", "last"]
    assert [callers.codes[label] for label in callers.ended[3:]] == ["OK"] * 4
    assert refused("DEADLINE_EXCEEDED", "deadline", "failed") == 2
    assert refused("UNAVAILABLE", "overloaded", "refused") == 1


@pytest.mark.parametrize("model", ["ordered", "unordered"])
def test_the_answer_of_a_fast_instance_waits_for_a_slow_one_where_the_order_is_preserved(
    server: RunningServer, repository: Path, model: str
) -> None:
    with calling(server, model) as callers:
        send_slow_and_fast(callers, repository / model)
        if model == "unordered":
            callers.wait_for_ends(1)
            assert callers.ended == ["fast"]
        assert "slow" not in callers.ended
        assert ("fast" in callers.ended) == (model == "unordered")
        let_go(repository / model)
        callers.wait_for_ends(2)
    assert set(callers.codes.values()) == {"OK"}


def send_slow_and_fast(callers: Callers, folder: Path) -> None:
    """Returns once the fast one has run, and the server knows, while the slow one is held."""
    callers.send("slow", value=1)
    callers.wait_for_batches(1, "the slow one to run")
    callers.send("fast")
    wait_for((folder / "1" / "passed").exists, "the fast one to run")
    callers.wait_for_batches(1, "the server to hear of it")


def test_a_batch_that_kills_its_workers_keeps_no_answer_for_ever(server: RunningServer, repository: Path) -> None:
    killed: set[int] = set()

    def ready() -> set[int]:
        return {int(pid) for pid in re.findall(r"mortal/1#\d is ready: pid (\d+)", server.log)} - killed

    def kill_workers() -> None:
        """Kills both before the server hears of either: else it tries again on the one that is killed next."""
        wait_for(lambda: len(ready()) == 2, "both workers in the log")
        workers = [process for process in server.workers() if process.pid in ready()]
        stopped = psutil.Process(server.process.pid)
        stopped.suspend()
        try:
            wait_for(lambda: stopped.status() == psutil.STATUS_STOPPED, "the server to be stopped")
            for worker in workers:
                worker.kill()
                killed.add(worker.pid)
            wait_for(lambda: not any(map(is_alive, workers)), "both workers to end")
        finally:
            stopped.resume()

    def is_tried_again() -> bool:
        restarted = server.metric("quadriga_worker_restarts_total", model="mortal") == 2
        return restarted and server.metric("quadriga_batches_in_flight", model="mortal") == 1

    with calling(server, "mortal") as callers:
        send_slow_and_fast(callers, repository / "mortal")
        kill_workers()
        wait_for(is_tried_again, "the slow one to be tried again")
        assert callers.ended == []
        kill_workers()
        callers.wait_for_ends(2)
    assert callers.codes == {"slow": "INTERNAL", "fast": "OK"}


def test_a_batch_of_a_preferred_size_does_not_wait_for_its_delay(server: RunningServer) -> None:
    with calling(server, "preferring") as callers:
        callers.send("first")
        callers.wait_for_queue(1, "the first one")
        callers.send("second")
        callers.wait_for_ends(2)
        assert set(callers.codes.values()) == {"OK"}
        sizes = server.metric("quadriga_batch_size_sum", model="preferring")
        assert (sizes, server.metric("quadriga_batch_size_count", model="preferring")) == (2, 1)


def test_tritonclient_reads_every_key_and_sends_priorities(server: RunningServer) -> None:
    with tritonclient.InferenceServerClient(server.grpc) as client:
        batching = client.get_model_config("timeouts").config.dynamic_batching
        assert (batching.priority_levels, batching.default_priority_level) == (3, 2)
        policies = {level: policy.timeout_action for level, policy in batching.priority_queue_policy.items()}
        assert policies == {1: 1, 2: 0, 3: 0}
        assert batching.priority_queue_policy[3].max_queue_size == 1
        assert client.get_model_config("ordered").config.dynamic_batching.preserve_ordering
        assert "schedule_policy" in client.get_server_metadata().extensions
        row = tritonclient.InferInput("x", [2, 4], "FP32")
        row.set_data_from_numpy(np.ones((2, 4), np.float32))
        result = client.infer("preferring", [row], priority=1, timeout=20_000_000)
        np.testing.assert_array_equal(result.as_numpy("x"), np.ones((2, 4), np.float32))


def test_a_priority_that_is_no_number_from_0_is_refused(server: RunningServer) -> None:
    request = infer_request("preferring", x=np.zeros((1, 4), np.float32))
    with grpc.insecure_channel(server.grpc) as channel:
        request.parameters["priority"].int64_param = -1
        assert error_of(channel, "ModelInfer", request)[0] == "INVALID_ARGUMENT"
        request.parameters["priority"].string_param = "1"
        assert error_of(channel, "ModelInfer", request)[0] == "INVALID_ARGUMENT"
