"""The dashboards' queries as Grafana sends them, asked of a real Prometheus until each has an answer.

One that stays without is a dead panel. Where backends stand side by side, each of them has to be in the answer.
"""

import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

import grpc
import numpy as np
from dashboards import FILES, annotations, queries, read, variables
from oip import error_of, infer_request, rpc
from prometheus_api import PrometheusApi
from running_server import wait_for

from quadriga_proto import inference_pb2 as pb

BOARDS: Final = {file.stem: read(file) for file in FILES}
#: The demo models of one network, and the backend of each.
NETWORK: Final = "same"
BACKENDS: Final = {
    "same_onnx": "onnx",
    "same_torchscript": "torchscript",
    "same_savedmodel": "tensorflow",
    "same_keras": "keras",
}
#: What takes the place of Grafana's own variable.
_RATE_INTERVAL: Final = "1m"


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


def every_query(prometheus: PrometheusApi) -> list[Asked]:
    """Of every panel of every dashboard, with the demo models' network and each of its models chosen."""
    backends = frozenset(BACKENDS.values())
    return list(
        itertools.chain(
            asked(prometheus, "backends", {"network": NETWORK}, backends),
            *(asked(prometheus, "model", {"model": model}) for model in BACKENDS),
            asked(prometheus, "server", {}),
        )
    )


def wait_for_answers(
    prometheus: PrometheusApi, asked: Collection[Asked], meanwhile: Callable[[], None], seconds: float
) -> None:
    """Asks until every query has had an answer; fails with those that had none.

    Args:
        prometheus: Whom.
        asked: The queries.
        meanwhile: Called between two rounds, to send what the figures are of.
        seconds: For all of it.
    """
    left = list(asked)

    def all_answered() -> bool:
        left[:] = [each for each in left if not is_answered(prometheus, each)]
        if left:
            meanwhile()
        return not left

    try:
        wait_for(all_answered, "an answer to every query", seconds)
    except AssertionError as error:
        raise AssertionError(f"dead panels: {left}") from error


def send_answered_and_refused(channel: grpc.Channel) -> None:
    """Two rows to each of the demo models, and a request that cannot be."""
    for model in BACKENDS:
        (tensor,) = rpc(channel, "ModelMetadata", pb.ModelMetadataRequest(name=model)).inputs
        images = np.zeros((2, *tensor.shape[1:]), np.float32)
        rpc(channel, "ModelInfer", infer_request(model, **{tensor.name: images}), timeout=60)
        error_of(channel, "ModelInfer", infer_request(model, nothing=np.zeros(1, np.float32)))


def is_answered(prometheus: PrometheusApi, query: Asked) -> bool:
    """Whether there is a sample, and one of each backend that has to be there."""
    samples = prometheus.query(query.expr)
    return bool(samples) and query.backends <= {labels.get("backend") for labels in samples}


def asked(
    prometheus: PrometheusApi, name: str, chosen: Mapping[str, str], backends: frozenset[str] = frozenset()
) -> Iterator[Asked]:
    """A dashboard's queries, of panels with the backends that they must show; variables not `chosen` are at All."""
    board = BOARDS[name]
    values = {"__rate_interval": _RATE_INTERVAL, **choices(prometheus, board, chosen)}
    where = f"{name} {chosen}"
    for panel, expr in queries(board):
        yield Asked(where, panel, filled(expr, values), backends)
    # Of the models one has restarted, so that the marks of a single one may well be empty.
    for event in annotations(board) if name != "model" else []:
        yield Asked(where, event.panel, filled(event.expr, values), frozenset())


def choices(prometheus: PrometheusApi, board: dict[str, Any], chosen: Mapping[str, str]) -> dict[str, str]:
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


def filled(expr: str, values: Mapping[str, str]) -> str:
    """With the variables' values in their places."""
    return re.sub(r"\$(\w+)", lambda match: values[match[1]].replace("\\", "\\\\"), expr)
