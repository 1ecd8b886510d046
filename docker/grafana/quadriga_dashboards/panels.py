"""The kinds of panel that the dashboards are made of: queries, units and legends in, the SDK's builders out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import barchart, common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard, units
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
#: Of the grid's 24 columns.
HALF: Final = 12
THIRD: Final = 8
QUARTER: Final = 6
FULL: Final = 24
_HEIGHT: Final = 8
#: Grafana gives a legend a third of its panel: so that four lines and the heading find place there.
_SERIES_HEIGHT: Final = 10
#: A phase of a request -> its color.
PHASES: Final = {"queue": "orange", "assembly": "purple", "compute": "blue", "response": "green"}
#: Units that Grafana does not have: it puts k, M, G before what follows "si:".
BYTE_SECONDS: Final = "si:B·s"
CORES: Final = "suffix:cores"


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: PromQL.
        legend: Of each series, with its labels in {{}}; in a table the column's heading.
        unit: Of a table's column.
    """

    expr: str
    legend: str
    unit: str = units.NoUnit


def series(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = THIRD,
    stacked: bool = False,
    top: float | None = None,
    dashed: str = "",
    whole: bool = False,
    hues: Mapping[str, str] | None = None,
) -> timeseries.Panel:
    """Lines over time, from 0 up.

    Args:
        title: Of the panel.
        description: What is measured, and how to read it.
        unit: Of all values.
        queries: Each of one or more lines.
        width: In columns of the grid.
        stacked: Areas on top of each other.
        top: Where the axis ends at least; given for ratios.
        dashed: The legend of a line that is a bound.
        whole: Whether values are counts, whose highest says more than their mean.
        hues: How a legend begins -> the color of all such lines, in shades.
    """
    latest = [] if width < THIRD else ["max"] if whole else ["mean"]  # beside it, legends need the width
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(_SERIES_HEIGHT)
        .line_width(1)
        .fill_opacity(30 if stacked else 0)
        .show_points(options.VisibilityMode.AUTO)
        .color_scheme(dashboards.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC))
        .legend(
            common.VizLegendOptions()
            .display_mode(options.LegendDisplayMode.TABLE)
            .placement(options.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([*latest, "lastNotNull"])
        )
        .tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING))
    )
    for start, color in (hues or {}).items():
        panel.override_by_regexp(rf"/^{start}\b/", [_color("shades", color)])
    if stacked:
        panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))
    if top is not None:
        panel.axis_soft_max(top)
    if dashed:
        style = {"fill": "dash", "dash": [10, 10]}
        panel.override_by_name(dashed, [dashboard.DynamicConfigValue(id_val="custom.lineStyle", value=style)])
    for place, query in enumerate(queries):
        panel.with_target(_target(query, place).range())
    return panel


def number(
    title: str,
    description: str,
    query: Query,
    *,
    bad: Mapping[float, str] | None = None,
    least: float | None = None,
    names: bool = False,
) -> stat.Panel:
    """The latest values, large; six stand in a row.

    Args:
        title: Of the panel.
        description: What is measured.
        query: Of one or more numbers; its unit is the panel's.
        bad: Colors from a value on; green below the first.
        least: Below it the color is red.
        names: Whether the legend is shown, not the value.
    """
    steps = [dashboard.Threshold(value=None, color="green" if least is None else "red")]
    if least is not None:
        steps.append(dashboard.Threshold(value=least, color="green"))
    steps += [dashboard.Threshold(value=value, color=color) for value, color in (bad or {}).items()]
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(query.unit)
        .span(FULL // 6)
        .height(4)
        .text_mode(options.BigValueTextMode.NAME if names else options.BigValueTextMode.AUTO)
        .graph_mode(options.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().values(False).calcs(["lastNotNull"]).fields(""))
        .thresholds(dashboards.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(_target(query, 0).instant())
    )


def spread(title: str, description: str, unit: str, query: Query, *, width: int = HALF) -> heatmap.Panel:
    """A histogram over time; the query gives a series per bucket, named by its bound."""
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(_SERIES_HEIGHT)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .with_target(_target(query, 0).range().format(PromQueryFormat.HEATMAP))
    )


def rows(
    title: str,
    description: str,
    keys: Sequence[str],
    *queries: Query,
    links: Mapping[str, tuple[str, str]] | None = None,
) -> table.Panel:
    """A table of the latest values: a row per set of labels, a column per query.

    Args:
        title: Of the panel.
        description: What is measured.
        keys: The labels that all queries' results have, and no others.
        queries: The columns.
        links: Label -> title and URL of where a click on it leads.
    """
    names = {f"Value #{_reference(place)}": query.legend for place, query in enumerate(queries)}
    order = {name: place for place, name in enumerate([*keys, *names])}
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(FULL)
        .height(_HEIGHT)
        .inspect(False)
        .with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=organize))
    )
    for place, query in enumerate(queries):
        panel.with_target(_target(query, place).instant().format(PromQueryFormat.TABLE))
        panel.override_by_name(query.legend, [dashboard.DynamicConfigValue(id_val="unit", value=query.unit)])
    for label, (text, url) in (links or {}).items():
        link = dashboard.DynamicConfigValue(id_val="links", value=[{"title": text, "url": url}])
        panel.override_by_name(label, [link])
    return panel


def bars(
    title: str, description: str, unit: str, query: Query, row: str, part: str, hues: Mapping[str, str]
) -> barchart.Panel:
    """The latest values as one stacked bar per value of the label `row`, made of the values of the label `part`."""
    pivot = {"columnField": part, "rowField": row, "valueField": "Value", "emptyValue": "zero"}
    panel = (
        barchart.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(FULL)
        .height(_HEIGHT)
        .fill_opacity(80)
        .orientation(options.VizOrientation.HORIZONTAL)
        .stacking(options.StackingMode.NORMAL)
        .show_value(options.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .display_mode(options.LegendDisplayMode.LIST)
            .placement(options.LegendPlacement.RIGHT)
            .show_legend(True)
            .calcs([])
        )
        .with_transformation(dashboard.DataTransformerConfig(id_val="groupingToMatrix", options=pivot))
        .with_target(_target(query, 0).instant().format(PromQueryFormat.TABLE))
    )
    for name, color in hues.items():
        panel.override_by_name(name, [_color("fixed", color)])
    return panel


def _color(mode: str, color: str) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val="color", value={"mode": mode, "fixedColor": color})


def _target(query: Query, place: int) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(_reference(place))


def _reference(place: int) -> str:
    return chr(ord("A") + place)
