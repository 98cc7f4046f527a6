"""Marks of configurations with their legends; a click in a legend fades what it does not name."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.looks import NONE, PATHS, PICKS, STATIC, Scales, configurations, scales
from switchyard.warehouse.study_tables import Tables

AREA = 55
"""Pixels of a mark."""


def points(
    chart: alt.Chart,
    tables: Tables,
    *,
    name: str,
    shown: pd.Series,
    least: float = 0.12,
    area: float = 1.0,
    **encoding: Any,
) -> list[alt.Chart]:
    """Two layers: a mark of no size that the legends belong to, the figure's first; and marks of configurations.

    Args:
        chart: a chart of rows with `looks.LOOKS`.
        name: the figure's name, which `clickable` needs.
        shown: names of the configurations that the figure draws; legends name no others.
        least: opacity of marks that another choice in a legend fades.
        area: factor of the marks' area.
    """
    found, rows = scales(tables), configurations(tables)
    rows = rows[rows["config_name"].isin(shown)]
    shapes = {kind: PATHS.get(shape, shape) for kind, shape in found.shapes.items()}
    look = {"symbolStrokeColor": style.INK, "symbolOpacity": 1}
    rules = _legend("rule", shapes, rows["kind"], symbolFillColor="transparent", **look)
    fill = alt.Fill("fill:N", scale=named(found.fills), legend=None)
    looks = {
        "shape": alt.Shape("kind:N", scale=named(shapes), legend=rules),
        "stroke": hue(tables, shown),
        "fill": fill,
    }
    marks = chart.mark_point(strokeWidth=1.6, size=area * AREA)
    return [
        _legends(name, found, rows).encode(**looks),
        marks.encode(**looks, opacity=faded(least), **encoding),
    ]


def _legends(name: str, found: Scales, rows: pd.DataFrame) -> alt.Chart:
    """What the legends hang on: Vega has legends for opacity, which marks use to fade, and none for that of a fill."""
    look = {
        "symbolFillColor": style.INK,
        "symbolStrokeColor": style.INK,
        "symbolSize": AREA,
        "symbolType": "circle",
    }
    legend = _legend("hyperparameter", found.shades, rows.loc[rows["setting"] != NONE, "setting"], **look)
    one = alt.InlineData(
        values=[{"kind": STATIC, "family": "static", "setting": NONE, "fill": f"static, {NONE}"}]
    )
    mark = alt.Chart(one, name=f"{name}_legends").mark_point(size=0, aria=False)
    opacity = alt.Opacity("setting:O", scale=named(found.shades), legend=legend)
    return mark.encode(x=alt.value(0), y=alt.value(0), opacity=opacity)


def hue(tables: Tables, shown: pd.Series) -> alt.Stroke:
    """The hue of a configuration's family; the legend names those of the configurations `shown`."""
    hues, rows = scales(tables).hues, configurations(tables)
    families = rows.loc[rows["config_name"].isin(shown) & (rows["setting"] != NONE), "family"]
    numbers = families.str.isdigit()
    title = "most experts" if numbers.all() else "null" if not numbers.any() else "most experts, or null"
    swatch = {"symbolType": "stroke", "symbolStrokeWidth": 4, "symbolOpacity": 1}
    return alt.Stroke("family:N", scale=named(hues), legend=_legend(title, hues, families, **swatch))


def named(values: dict[str, Any]) -> alt.Scale:
    """A scale that gives each name its value."""
    return alt.Scale(type="ordinal", domain=list(values), range=list(values.values()))


def faded(least: float, full: float = 1.0) -> alt.OpacityValue:
    """Opacity `full` for what the legends' choices name (for all while there are none), `least` for the rest."""
    test = {"and": [{"param": pick} for pick in PICKS.values()]}
    return alt.OpacityValue(least, condition={"test": test, "value": full})


def clickable(chart: alt.TopLevelMixin, name: str) -> alt.TopLevelMixin:
    """The chart with legends in which a click chooses, a second takes back; `name` is that of its `points`."""
    picks = [
        alt.TopLevelSelectionParameter(
            name=pick,
            select={"type": "point", "fields": [field], "toggle": "true"},
            bind="legend",
            views=[f"{name}_legends"],
        )
        for field, pick in PICKS.items()
    ]
    return chart.properties(params=picks)


def _legend(title: str, order: dict[str, Any], shown: pd.Series, **look: Any) -> alt.Legend | None:
    values = [value for value in order if value in set(shown)]
    return alt.Legend(title=title, values=values, **look) if values else None
