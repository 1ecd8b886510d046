"""The scrape configuration, the rules and their tests, held against the server's metrics and the runbook."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_rules import PROMETHEUS, known_names, names_in, recorded_names, rules

from quadriga import errors
from quadriga_proto.conventions import DEFAULT_HTTP_PORT

RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
ALERTS = [rule for rule in rules() if "alert" in rule]
RUNBOOK = "docs/monitoring.md"
#: The server's fault, as docs/monitoring.md has it. A new reason is to be added here, or to the rule's own list.
SERVERS_FAULT = {
    "deadline", "inference_failed", "internal", "not_ready", "overloaded", "shutting_down", "worker_lost",
}  # fmt: skip


def promtool(*arguments: object) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_configuration_is_accepted() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_rules_are_accepted(file: object) -> None:
    promtool("check", "rules", file)


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_rules_do_what_they_are_for(file: object) -> None:
    promtool("test", "rules", file)


def test_the_server_is_scraped_where_it_listens() -> None:
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (scrape,) = configuration["scrape_configs"]
    assert scrape["job_name"] == "quadriga"
    assert scrape["static_configs"] == [{"targets": [f"server:{DEFAULT_HTTP_PORT}"]}]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_use_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert names_in(rule["expr"]) <= known_names()


def expectations() -> Iterator[dict[str, Any]]:
    for file in TESTS:
        for case in yaml.safe_load(file.read_text())["tests"]:
            yield from case.get("alert_rule_test", [])


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_is_tested_both_ways_and_has_its_runbook(alert: dict[str, Any]) -> None:
    own = [bool(case.get("exp_alerts")) for case in expectations() if case["alertname"] == alert["alert"]]
    assert set(own) == {False, True}
    assert alert["labels"]["severity"] in ("critical", "warning")
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert page == RUNBOOK
    headings = re.findall(r"^#+ (.*)$", (PROMETHEUS.parents[1] / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_every_recorded_figure_has_a_known_answer() -> None:
    """Directly, or by what is made of it."""
    tested = set()
    for case in yaml.safe_load((PROMETHEUS / "tests" / "recording.yml").read_text())["tests"]:
        tested |= set().union(*(names_in(each["expr"]) for each in case["promql_expr_test"]))
    made_of = {rule["record"]: names_in(rule["expr"]) for rule in rules() if "record" in rule}
    for _ in made_of:
        tested |= set().union(*(made_of.get(name, set()) for name in tested))
    assert recorded_names() - tested == set()


def test_the_error_ratio_knows_every_reason() -> None:
    (rule,) = [rule for rule in rules() if rule.get("record") == "quadriga:errors:ratio1m"]
    (listed,) = re.findall(r'reason=~"\|([^"]+)"', rule["expr"])
    reasons = {each.reason for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "reason")}
    assert set(listed.split("|")) | SERVERS_FAULT == reasons
    assert set(listed.split("|")) & SERVERS_FAULT == set()
