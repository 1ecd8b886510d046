"""The dashboards at work: a server with one network on four backends, and a Prometheus that scrapes it.

Every query of every panel is sent until it has an answer; one that stays without is a dead panel. Where backends stand
side by side, each of them has to be in the answer.
"""

import itertools
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fake_nvml
import grpc
import numpy as np
import pytest
from dashboards import FILES, annotations, queries, read, variables
from oip import error_of, infer_request, rpc
from running_prometheus import RunningPrometheus, installed
from running_server import RunningServer, wait_for

from quadriga_proto import inference_pb2 as pb

BACKENDS = {
    "same_onnx": "onnx",
    "same_torchscript": "torchscript",
    "same_savedmodel": "tensorflow",
    "same_keras": "keras",
}
NETWORK = "same"
#: Long enough for a machine that is busy with something else.
ANSWER_SECONDS = 120.0
#: What takes the place of Grafana's own variable.
RATE_INTERVAL = "1m"
pytestmark = pytest.mark.skipif(
    installed() is None, reason="prometheus is not installed (Debian: apt-get install prometheus)"
)
BOARDS = {file.stem: read(file) for file in FILES}


class Asked(NamedTuple):
    """A query as it is sent.

    Attributes:
        board: The dashboard's name, and what is chosen there.
        panel: The panel's title.
        expr: PromQL without variables.
        backends: Those that the answer has to have.
    """

    board: str
    panel: str
    expr: str
    backends: frozenset[str]


@pytest.fixture(scope="module")
def transport() -> str:
    """One is enough: what is tested are the queries."""
    return "native"


@pytest.fixture(scope="module")
def server(
    start: Callable[..., RunningServer], demo_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    """Serves one network in four formats."""
    repository = tmp_path_factory.mktemp("repository")
    for model in BACKENDS:
        (repository / model).symlink_to(demo_repository / model)
    # GPUs that are not there, so that no panel of theirs can be dead either.
    return start("--repository", str(repository), env=fake_nvml.environment(tmp_path_factory.mktemp("nvml")))


@pytest.fixture(scope="module")
def prometheus(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    """Has scraped the server once."""
    with RunningPrometheus(str(installed()), tmp_path_factory.mktemp("prometheus"), server.http) as running:
        scraped = f"count(quadriga_model_ready) == {len(BACKENDS)}"
        wait_for(lambda: running.query(scraped), "the first scrape", ANSWER_SECONDS)
        yield running


def test_every_query_of_every_panel_has_an_answer(server: RunningServer, prometheus: RunningPrometheus) -> None:
    os.kill(server.worker_of("same_onnx"), signal.SIGKILL)  # a restart, for what shows restarts
    open_ones = list(
        itertools.chain(
            asked(prometheus, "backends", {"network": NETWORK}, frozenset(BACKENDS.values())),
            *(asked(prometheus, "model", {"model": model}) for model in BACKENDS),
            asked(prometheus, "server", {}),
        )
    )
    assert len(open_ones) > 100
    with grpc.insecure_channel(server.grpc) as channel:
        images = {model: images_of(channel, model) for model in BACKENDS}

        def all_answered() -> bool:
            open_ones[:] = [each for each in open_ones if not is_answered(prometheus, each)]
            for model, array in images.items():
                rpc(channel, "ModelInfer", infer_request(model, **array), timeout=ANSWER_SECONDS)
                error_of(channel, "ModelInfer", infer_request(model, nothing=np.zeros(1, np.float32)))
            return not open_ones

        try:
            wait_for(all_answered, "an answer to every query", ANSWER_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"dead panels: {open_ones}") from error


def test_every_rule_can_be_evaluated(prometheus: RunningPrometheus) -> None:
    """After the traffic above: two samples for one match are an error that only real labels show."""
    seen: dict[str, str] = {}

    def all_ok() -> bool:
        seen.update(prometheus.rules())
        return set(seen.values()) == {"ok"}

    try:
        wait_for(all_ok, "every rule to be evaluated", ANSWER_SECONDS)
    except AssertionError:
        raise AssertionError(f"rules that are not ok: {seen}") from None


def images_of(channel: grpc.Channel, model: str) -> dict[str, np.ndarray[Any, Any]]:
    """Two rows for a model's one input."""
    (tensor,) = rpc(channel, "ModelMetadata", pb.ModelMetadataRequest(name=model)).inputs
    return {tensor.name: np.zeros((2, *tensor.shape[1:]), np.float32)}


def is_answered(prometheus: RunningPrometheus, query: Asked) -> bool:
    samples = prometheus.query(query.expr)
    return bool(samples) and query.backends <= {labels.get("backend") for labels in samples}


def asked(
    prometheus: RunningPrometheus, name: str, chosen: dict[str, str], backends: frozenset[str] = frozenset()
) -> Iterator[Asked]:
    """A dashboard's queries, of panels with the backends that they must show; variables not `chosen` are at All."""
    board = BOARDS[name]
    values = {"__rate_interval": RATE_INTERVAL, **choices(prometheus, board, chosen)}
    where = f"{name} {chosen}"
    for panel, expr in queries(board):
        yield Asked(where, panel, filled(expr, values), backends)
    # Of the models one has restarted, so that the marks of a single one may well be empty.
    for event in annotations(board) if name != "model" else []:
        yield Asked(where, event.panel, filled(event.expr, values), frozenset())


def choices(prometheus: RunningPrometheus, board: dict[str, Any], chosen: dict[str, str]) -> dict[str, str]:
    """Each variable's text in a query, as Grafana has it: what is chosen, or all that can be."""
    values: dict[str, str] = {}
    for name, variable in variables(board).items():
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", filled(variable["query"], values))
        assert match, variable["query"]
        found = prometheus.label_values(match[2], match[1])
        pattern = re.compile(variable.get("regex", "").strip("/") or "(.*)")
        offered = list(dict.fromkeys(part[1] for part in map(pattern.search, found) if part))
        assert offered, f"{name} offers nothing"
        if name in chosen:
            assert chosen[name] in offered
            values[name] = chosen[name]
        else:
            assert variable["includeAll"], f"{name} must be chosen"
            values[name] = f"({'|'.join(re.escape(each) for each in offered)})"
    return values


def filled(expr: str, values: dict[str, str]) -> str:
    """With the variables' values in their places."""
    return re.sub(r"\$(\w+)", lambda match: values[match[1]].replace("\\", "\\\\"), expr)
