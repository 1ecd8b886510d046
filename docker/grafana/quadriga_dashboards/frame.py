"""What the dashboards share around their panels: variables, annotations, links, and how they are put together."""

from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard

from quadriga_dashboards.panels import SOURCE

TAG: Final = "quadriga"
Variable = Builder[dashboard.VariableModel]
#: One row of panels: its title and them.
Row = tuple[str, Sequence[Builder[dashboard.Panel]]]


class Event(dashboard.AnnotationQuery, Builder[dashboard.AnnotationQuery]):
    """An annotation with a text of its own, which the SDK's model lacks."""

    def __init__(self, name: str, color: str, expr: str, title: str) -> None:
        """Marks every moment at which `expr` has a sample with `title`, in which {{}} hold its labels."""
        super().__init__(name=name, datasource=SOURCE, icon_color=color, expr=expr)
        self.title = title

    def to_json(self) -> dict[str, Any]:
        """As Grafana reads it."""
        return {**super().to_json(), "titleFormat": self.title}

    def build(self) -> dashboard.AnnotationQuery:
        """Itself: a dashboard takes builders."""
        return self


def events(selector: str) -> list[Event]:
    """Loads and restarts of the models that a selector gives.

    A load measures its duration anew, so that a value which is new or has changed is a load. Grafana looks once
    a minute.
    """
    load = f"quadriga_model_load_seconds{{{selector}}}"
    restarts = f"quadriga_worker_restarts_total{{{selector}}}"
    model = "{{model}}/{{version}} ({{backend}})"
    return [
        Event("Loads", "green", f"({load} > 0) unless ({load} == {load} offset 1m)", f"{model} loaded"),
        Event("Restarts", "red", f"increase({restarts}[1m]) > 0", f"a worker of {model} died and was replaced"),
    ]


def chosen(name: str, label: str, description: str, values: str, *, several: bool, pattern: str = "") -> Variable:
    """A variable of label values, as PromQL's `label_values` gives them.

    Args:
        name: Of the variable.
        label: Shown before its choice.
        description: What is chosen.
        values: What follows in `label_values(...)`.
        several: Whether several may be chosen, at first all.
        pattern: What of each value is taken: the first group.
    """
    variable = (
        dashboards.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(SOURCE)
        .query(f"label_values({values})")
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    if several:
        variable.current(dashboard.VariableOption(text=["All"], value=["$__all"]))
    return variable.regex(f"/{pattern}/") if pattern else variable


def put_together(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Variable],
    annotations: Sequence[Event],
    content: Sequence[Row],
) -> dashboard.Dashboard:
    """A dashboard, with its panels numbered in their order."""
    source = dashboards.DatasourceVariable("datasource").label("Data source").type("prometheus")
    board = (
        dashboards.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .editable()
        .refresh("10s")
        .time("now-30m", "now")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(_links())
        .variables([source, *variables])
        .annotations(list(annotations))
    )
    for heading, panels in content:
        board.with_row(dashboards.Row(heading))
        for panel in panels:
            board.with_panel(panel)
    built = board.build()
    for number, each in enumerate(built.panels or (), start=1):
        each.id_val = number
    return built


def _links() -> dashboards.DashboardLink:
    return (
        dashboards.DashboardLink("Quadriga")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .include_vars(False)
        .keep_time(True)
    )
