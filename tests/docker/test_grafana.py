"""The dashboards: what is committed is what is generated, the SDK reads it, and it fits the rules and the metrics."""

import json
import re
from pathlib import Path
from typing import Any

import make_dashboards
import pytest
import yaml
from dashboards import FILES, GRAFANA, annotations, panels, queries, read, variables
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_rules import PROMETHEUS, known_names, names_in, recorded_names, rules

from quadriga.backends import BACKENDS
from quadriga_dashboards import backends
from quadriga_dashboards.panels import PHASES

PARTS = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
#: Grafana's own variables.
BUILT_IN = {"__rate_interval"}


def test_what_is_committed_is_what_is_generated() -> None:
    assert [file.stem for file in FILES] == ["backends", "model", "server"]
    assert make_dashboards.stale() == []


@PARTS
def test_the_sdk_knows_every_key(file: Path) -> None:
    register_default_plugins()
    board = read(file)
    again = json.loads(make_dashboards.encode(Dashboard.from_json(read(file))))
    for annotation in board["annotations"]["list"]:
        assert annotation.pop("titleFormat")  # Grafana has it, the SDK does not
    assert again == board


@PARTS
def test_queries_use_metrics_and_variables_that_exist(file: Path) -> None:
    board = read(file)
    own = variables(board).keys() | BUILT_IN
    for query in [*queries(board), *annotations(board)]:
        assert names_in(query.expr), query
        assert names_in(query.expr) - known_names() == set(), query
        assert set(re.findall(r"\$(\w+)", query.expr)) <= own, query
    for variable in variables(board).values():
        assert names_in(variable["query"]) - known_names() == set()
        assert set(re.findall(r"\$(\w+)", variable["query"])) <= own


@PARTS
def test_panels_are_labelled_and_do_not_overlap(file: Path) -> None:
    board = read(file)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in panels(board):
        assert panel["description"], panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert unit_of(panel), panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), panel["title"]


def unit_of(panel: dict[str, Any]) -> str:
    """Of all values; a table's columns have units of their own, a heatmap's axis has it."""
    if panel["type"] == "table":
        overrides = panel["fieldConfig"]["overrides"]
        units = {each["matcher"]["options"] for each in overrides if each["properties"][0]["id"] == "unit"}
        return "each" if units == {target["legendFormat"] for target in panel["targets"]} else ""
    if panel["type"] == "heatmap":
        return str(panel["options"]["yAxis"]["unit"])
    return str(panel["fieldConfig"]["defaults"]["unit"])


def test_a_backend_has_one_color_in_every_panel() -> None:
    assert backends.HUES.keys() == BACKENDS.keys() - {"fake"}
    assert len(set(backends.HUES.values())) == len(backends.HUES)
    board = read(GRAFANA / "dashboards" / "backends.json")
    for panel in [each for each in panels(board) if each["type"] == "timeseries"]:
        overrides = panel["fieldConfig"]["overrides"]
        for backend, color in backends.HUES.items():
            name = re.sub(r"\{\{backend\}\}", backend, panel["targets"][0]["legendFormat"])
            matching = [each for each in overrides if re.search(each["matcher"]["options"].strip("/"), name)]
            assert [each["properties"][0]["value"]["fixedColor"] for each in matching] == [color], panel["title"]


def test_a_phase_has_a_color() -> None:
    recorded = {rule["labels"]["phase"] for rule in rules() if "phase" in rule.get("labels", {})}
    assert recorded == PHASES.keys()
    assert len(set(PHASES.values())) == len(PHASES)


def test_every_recorded_figure_is_looked_at() -> None:
    used = set().union(*(names_in(rule["expr"]) for rule in rules()))
    used |= set().union(*(names_in(query.expr) for file in FILES for query in queries(read(file))))
    assert recorded_names() - used == set()


def test_what_grafana_is_provisioned_with_fits() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    scrape = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert source["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "quadriga.yml").read_text())["providers"]
    assert (provider["type"], provider["folder"]) == ("file", "Quadriga")
