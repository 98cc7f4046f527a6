"""Panel of what decides the number of experts: the floor, the ceiling, or the rule between them."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.grid import FEW, grid
from switchyard.charts.looks import configurations
from switchyard.charts.panel import HEIGHT, NOT_ADAPTIVE, over_datasets, titled, width
from switchyard.warehouse.study_tables import Tables

PARTS = {"floor": "#D0D0D0", "between": "#8C8C8C", "ceiling": "#333333"}
"""Greys, because every hue already stands for a max_k or a null."""


def floor_and_ceiling(tables: Tables, legend: pd.Series | None = None) -> alt.TopLevelMixin:
    """Shares of (layer, token) with min_k, with max_k and with a number between; the grid's rules only."""
    study, frame = grid(tables), shares(tables)
    column, views, along, values, title = study.split()
    views = [study.view_title(view) for view in views]
    frame = frame.assign(view=frame[column].map(study.view_title))
    bars, share = alt.Chart(frame).mark_bar(), {"format": ".0%", "labelFlush": True}
    if len(study.members) <= FEW:
        y = axes.y("share:Q", "share of (layer, token)", axes.SHARES, **share).stack("zero")
        bars = bars.encode(x=alt.X(**axes.words(along, values, title, labelAngle=-90)), y=y)
    else:
        x = axes.x("share:Q", "share", axes.SHARES, values=[0, 0.5, 1], **share).stack("zero")
        bars = bars.encode(y=alt.Y(**axes.words(along, values)), x=x)
    bars = bars.encode(
        color=alt.Color(
            "part:N",
            scale=alt.Scale(domain=list(PARTS), range=list(PARTS.values())),
            legend=alt.Legend(
                title="experts",
                orient="right",
                symbolType="square",
                direction="vertical",
                values=list(PARTS)[::-1],
            ),
        ),
        order="order:Q",
        tooltip=style.tips("label", "part", share=".1%"),
    )
    chart = bars.properties(width=width(len(views), gap=22) - 90 // max(len(views), 1), height=HEIGHT)
    chart = (
        chart.facet(column=style.columns("view", views), spacing=10)
        if len(frame)
        else style.empty(NOT_ADAPTIVE)
    )
    words = "least and largest number allowed; mean of the datasets"
    return titled(chart, tables, "6. Floor, between, ceiling", words)


def shares(tables: Tables) -> pd.DataFrame:
    """Rows of the grid: `part` of PARTS, its `share`, and its place `order` in a bar."""
    floor, ceiling = (
        over_datasets(tables, f"{name}_hit_rate").set_index("config_name")[f"{name}_hit_rate"]
        for name in ("floor", "ceiling")
    )
    wide = pd.DataFrame({"floor": floor, "between": 1 - floor - ceiling, "ceiling": ceiling}).clip(lower=0)
    long = wide.reset_index().melt("config_name", var_name="part", value_name="share")
    long = long.assign(order=long["part"].map(list(PARTS).index))
    return grid(tables).rows(long.merge(configurations(tables)[["config_name", "label"]], on="config_name"))
