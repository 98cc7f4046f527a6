"""Panels with alpha along the axis: static top-k as a ruler at the left, then the grid, one line per member."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from switchyard.charts import marks, style
from switchyard.charts.grid import Grid, grid
from switchyard.charts.looks import styled
from switchyard.charts.panel import HEIGHT, shown, width
from switchyard.warehouse.study_tables import Tables

RULER = "top-k"
"""Place of the static rules on the axis."""
APART = 0.05
"""Share of the axis between two numbers of the ruler, at least."""


def by_alpha(
    tables: Tables,
    frame: pd.DataFrame,
    y: alt.Y,
    *,
    name: str,
    legend: pd.Series | None,
    views: list[str],
    tips: dict[str, str],
    own_axes: bool = False,
) -> alt.FacetChart:
    """Views of one column over the hyperparameter of the study's grid, static top-k as squares with their k.

    Args:
        frame: `config_name`, `view`, the column of `y`, and perhaps `lowest` and `largest`, the ends of a bar.
        y: the axis; `own_axes` says that each view has its own.
        name: the panel's name.
        legend: names of the configurations that legends name; default: those that are drawn.
        views: values of `view`, in order.
        tips: number formats of further columns in the tooltip.
    """
    study = grid(tables)
    names = shown(tables)
    frame = frame[frame["config_name"].isin(names)]
    frame = _placed(tables, study, styled(tables, frame, "k_or_max_k", *frame.columns[1:]), y)
    x, offset = _x(study, len(views)), alt.XOffset("member:N", sort=study.members)
    base, hue = alt.Chart().encode(y=y), marks.hue(tables, names if legend is None else legend)
    ours = base.transform_filter("isValid(datum.member)").encode(x=x, xOffset=offset)
    layers = [base.transform_filter("datum.trained").mark_rule(color=style.QUIET, **style.DASH)]
    if study.members:
        layers.append(ours.mark_line(strokeWidth=1.3, opacity=0.6).encode(detail="member:N", stroke=hue))
    if "lowest" in frame and study.members:
        ends = {"y": y.copy(deep=False), "y2": "largest:Q"}
        ends["y"].shorthand = "lowest:Q"
        layers.append(ours.mark_rule(strokeWidth=1.3).encode(**ends, stroke=hue, opacity=marks.faded(0.12)))
    look = {"shown": names if legend is None else legend, "tooltip": style.tips("label", **tips)}
    legends, points = marks.points(ours, tables, name=name, **look)
    layers = [legends, *layers, points]
    ruler = base.transform_filter("!isValid(datum.member)").encode(x=x)
    layers.append(marks.points(ruler, tables, name=name, area=0.52, **look)[-1])
    number = ruler.transform_filter("datum.numbered").encode(text="k_or_max_k:N")
    text = {"align": "right", "dx": -5, "fontSize": 8.5}
    layers += [
        number.mark_text(stroke="white", strokeWidth=3, **text),
        number.mark_text(color=style.INK, **text),
    ]
    chart = alt.layer(*layers, data=frame).properties(
        width=width(len(views), gap=46 if own_axes else 10), height=HEIGHT
    )
    chart = chart.facet(column=style.columns("view", views), spacing=46 if own_axes else 10, bounds="flush")
    return chart.resolve_scale(y="independent" if own_axes else "shared")


def _x(study: Grid, views: int) -> alt.X:
    room = width(views) / (len(study.values) + 1)
    axis = alt.Axis(
        title=study.name or None, labelAngle=0 if room >= 32 else -90, labelOverlap=False, grid=False
    )
    return alt.X("value:N", scale=alt.Scale(domain=[RULER, *study.values]), axis=axis)


def _placed(tables: Tables, study: Grid, frame: pd.DataFrame, y: alt.Y) -> pd.DataFrame:
    """The rows with their places: `value` on the axis, `member` inside it, and which static rules are `numbered`."""
    frame = frame.join(study.configs.set_index("config_name")[["member", "value"]], on="config_name")
    static = frame["member"].isna()
    frame = frame.assign(
        value=frame["value"].fillna(RULER),
        member=frame["member"].astype(object).where(~static, None),
        trained=frame["config_name"] == tables.trained,
        numbered=False,
    )
    for _, rows in frame.groupby("view", sort=False):
        places = _heights(rows[y.to_dict()["field"]], y["scale"])[static].groupby(rows["k_or_max_k"]).first()
        frame.loc[rows.index, "numbered"] = rows["k_or_max_k"].isin(
            numbered(places, first=tables.trained_top_k)
        )
    return frame.assign(numbered=frame["numbered"] & static)


def _heights(values: pd.Series, scale: alt.Scale) -> pd.Series:
    """Places of values along an axis, about 0 to 1."""
    options = scale.to_dict()
    bend = np.log if options.get("type") == "log" else np.asarray
    low, high = bend(options.get("domain") or [values.min(), values.max()])
    return pd.Series((bend(values) - low) / ((high - low) or 1.0), values.index)


def numbered(places: pd.Series, *, first: int) -> list[int]:
    """The k (index of `places`, 0 to 1 along the axis) whose numbers stay apart, `first` before others.

    After it come the smallest and largest, then powers of two, then the rest.
    """
    ends = {min(places.index, default=0), max(places.index, default=0)}
    said: list[int] = []
    for k in sorted(places.index, key=lambda k: (k != first, k not in ends, k & (k - 1) != 0, k)):
        if all(abs(places[k] - places[other]) >= APART for other in said):
            said.append(k)
    return said
