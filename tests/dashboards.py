"""The committed Grafana dashboards as tests read them: their panels, queries and variables."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

GRAFANA: Final = Path(__file__).parents[1] / "docker" / "grafana"
FILES: Final = sorted((GRAFANA / "dashboards").glob("*.json"))


class PanelQuery(NamedTuple):
    """One query of a panel.

    Attributes:
        panel: Its panel's title.
        expr: PromQL with variables.
    """

    panel: str
    expr: str


def read(file: Path) -> dict[str, Any]:
    """A dashboard."""
    board: dict[str, Any] = json.loads(file.read_text())
    return board


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Its panels without the rows' headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: dict[str, Any]) -> Iterator[PanelQuery]:
    """Of every panel."""
    for panel in panels(board):
        yield from (PanelQuery(panel["title"], target["expr"]) for target in panel["targets"])


def annotations(board: dict[str, Any]) -> list[PanelQuery]:
    """Of every annotation, as if it were a panel."""
    return [PanelQuery(each["name"], each["expr"]) for each in board["annotations"]["list"]]


def variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name, in their order, without the data source's."""
    return {each["name"]: each for each in board["templating"]["list"] if each["type"] == "query"}
