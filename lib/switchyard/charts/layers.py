"""Panel of where in the model a rule spends: mean experts layer by layer."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, marks, style
from switchyard.charts.grid import Grid, grid
from switchyard.charts.looks import configurations, styled
from switchyard.charts.panel import HEIGHT, titled, width
from switchyard.warehouse.study_tables import Tables


def layers(tables: Tables, legend: pd.Series | None = None) -> alt.TopLevelMixin:
    """Mean experts per token in every layer, mean of the datasets; one view per member, one line per value.

    A study with many members has one view per value and one line per member, a study without adaptive rules one
    view of its static ones.
    """
    parts = _views(tables, grid(tables))
    means = tables.layers.groupby(["config_name", "layer"], sort=False)["mean_count"].mean().reset_index()
    frame = styled(tables, means[means["config_name"].isin(parts["config_name"])], "layer", "mean_count")
    frame = parts.merge(frame, on="config_name")
    highest, depth = int(max(frame["mean_count"].max(), 1)), int(frame["layer"].max())
    views = list(parts["view"].unique())
    x = axes.x(
        "layer:Q",
        "layer",
        alt.Scale(domain=[-0.3, depth + 0.3], nice=False),
        format="d",
        tickMinStep=1,
        grid=False,
    )
    scale = axes.experts_scale(frame["mean_count"], highest=highest)
    y = axes.y("mean_count:Q", "mean experts per token (log)", scale, **axes.powers_of_two(highest))
    base, named = alt.Chart().encode(x=x, y=y), parts["config_name"] if legend is None else legend
    line = base.mark_line(strokeWidth=1.4, opacity=0.6).encode(
        detail="config_name:N", stroke=marks.hue(tables, named)
    )
    tips = style.tips("label", layer="d", mean_count=".2f")
    dots = marks.points(base, tables, name="layers", shown=named, area=SMALLER, tooltip=tips)
    chart = alt.layer(dots[0], line, dots[1], data=frame).properties(
        width=width(len(views), gap=22), height=HEIGHT
    )
    chart = chart.facet(column=style.columns("view", views), spacing=10)
    return titled(
        chart, tables, "8. Layer by layer", "mean experts (log), mean of the datasets; squares: static"
    )


SMALLER = 0.6
"""Area of a mark beside that in other panels."""


def _views(tables: Tables, study: Grid) -> pd.DataFrame:
    """Columns `view, config_name`: the configurations of a member or value, and a static one beside them."""
    looks = configurations(tables)
    static = looks[looks["static"]]
    if not study.members:
        return pd.DataFrame({"view": "static top-k", "config_name": static["config_name"]})
    column, values, *_ = study.split()
    parts = []
    for value in values:
        rows = study.configs[study.configs[column] == value]
        mates = static.loc[static["k_or_max_k"].isin(rows["k_or_max_k"]), "config_name"]
        beside = list(mates) if study.dimension == "max_k" and column == "member" else [tables.trained]
        parts.append(
            pd.DataFrame({"view": study.view_title(value), "config_name": [*rows["config_name"], *beside]})
        )
    return pd.concat(parts)
