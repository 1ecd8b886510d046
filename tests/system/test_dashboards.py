"""The dashboards at work: a server with one network on four backends, and a Prometheus that scrapes it."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_nvml
import grpc
import pytest
from panel_queries import BACKENDS, every_query, is_answered, send_answered_and_refused, wait_for_answers
from running_prometheus import RunningPrometheus, installed
from running_server import RunningServer, wait_for

#: Long enough for a machine that is busy with something else.
ANSWER_SECONDS = 120.0
pytestmark = pytest.mark.skipif(
    installed() is None, reason="prometheus is not installed (Debian: apt-get install prometheus)"
)


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
    asked = every_query(prometheus)
    assert len(asked) > 100
    with grpc.insecure_channel(server.grpc) as channel:
        wait_for_answers(prometheus, asked, lambda: send_answered_and_refused(channel), ANSWER_SECONDS)


def test_a_renamed_metric_and_a_backend_that_is_missing_are_noticed(prometheus: RunningPrometheus) -> None:
    query = next(each for each in every_query(prometheus) if each.backends and "answers:rate1m" in each.expr)
    wait_for(lambda: is_answered(prometheus, query), "two scrapes and the rule", ANSWER_SECONDS)
    assert not is_answered(prometheus, query._replace(expr=query.expr.replace("answers:", "replies:")))
    assert 'backend=~"(keras|' in query.expr
    assert not is_answered(prometheus, query._replace(expr=query.expr.replace('backend=~"(keras|', 'backend=~"(')))


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
