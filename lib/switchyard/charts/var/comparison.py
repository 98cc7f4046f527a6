"""VAR's configurations and the untouched model: quality, speed, and where tokens were routed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.marks import named
from switchyard.charts.var.measured import FOUND, OPEN, ORDER, paths, qualities, speeds

ROW, GAP, VIEWS = 26, 35, 700
"""Pixels of a row, between views, and that the views of a block share."""
PATHS = dict(zip(ORDER, (style.HUES[0], style.HUES[4], "#d5d5d5"), strict=True))
WANTED_SPEED_UP = 1.2
"""The speed-up that the criteria of phase 2 ask for."""
VERDICTS = {FOUND: style.HUES[0], OPEN: "#ffffff"}


def var_comparison(comparisons: Sequence[Mapping[str, Any]]) -> alt.VConcatChart:
    """Three rows: perplexity by dataset, speed by measure, paths by dataset; `comparisons` of `comparison.json`."""
    order = list(dict.fromkeys(one["name"] for one in comparisons))
    scale = alt.Scale(zero=False, nice=False, padding=12, domain=alt.DomainUnionWith(unionWith=[0.0, 0.01]))
    change = axes.x("value:Q", "change of perplexity", scale, format=".1~%")
    blocks = [_dots(qualities(comparisons), order, change, [0.0], "+.2%"), _paths(paths(comparisons), order)]
    if len(timed := speeds(comparisons)):
        scale = alt.Scale(
            type="log", nice=False, padding=12, domain=alt.DomainUnionWith(unionWith=[1.0, WANTED_SPEED_UP])
        )
        ratio = axes.x("value:Q", "times the untouched model's speed (log)", scale, format=".2~f")
        blocks.insert(1, _dots(timed, order, ratio, [1.0, WANTED_SPEED_UP], ".3f"))
    title = style.heading(
        "VAR and the untouched model",
        [
            "Above: change of perplexity, paired by sample, right of the dashed line is worse. Middle: speed-up,",
            f"paired by round, right of the first dashed line is faster; the second is the {WANTED_SPEED_UP:g} that",
            "the criteria ask for. Bars are 95 % intervals; a filled mark is distinguishable (quality: after Holm's",
            "correction). Below: shares of the tokens.",
        ],
    )
    chart = alt.vconcat(*blocks, spacing=24, title=title)
    return style.dress(chart.resolve_scale(color="independent"), legends="bottom")


def _y(order: list[str]) -> alt.Y:
    return alt.Y(
        "config:N",
        scale=alt.Scale(domain=order),
        axis=alt.Axis(title=None, ticks=False, labelLimit=150, grid=True),
    )


def _dots(
    frame: pd.DataFrame, order: list[str], x: alt.X, landmarks: list[float], form: str
) -> alt.FacetChart:
    low = x.copy()
    low.shorthand = "low:Q"
    base = alt.Chart().encode(y=_y(order))
    marks = base.mark_point(size=64, strokeWidth=1.8, stroke=style.HUES[0], opacity=1).encode(
        x=x,
        fill=alt.Fill("verdict:N", scale=named(VERDICTS), title="from the untouched model"),
        tooltip=[*style.tips("config", value=form, low=form, high=form), *style.tips("verdict")],
    )
    bars = base.mark_rule(strokeWidth=1.8, color=style.HUES[0]).encode(x=low, x2="high:Q")
    return _facets(
        alt.layer(*(style.line(x=one) for one in landmarks), bars, marks, data=frame), frame, order
    )


def _paths(frame: pd.DataFrame, order: list[str]) -> alt.FacetChart:
    bars = alt.Chart(frame).mark_bar(height={"band": 0.7})
    bars = bars.encode(
        x=axes.x("share:Q", "share of tokens and MoE blocks", axes.SHARES, format=".0%").stack("zero"),
        y=_y(order),
        color=alt.Color("path:N", scale=named(PATHS), title="routed by"),
        order="place:Q",
        tooltip=style.tips("config", "path", share=".2%"),
    )
    return _facets(bars, frame, order)


def _facets(chart: alt.Chart | alt.LayerChart, frame: pd.DataFrame, order: list[str]) -> alt.FacetChart:
    views = list(dict.fromkeys(frame["view"]))
    width = style.each(len(views), gap=GAP, width=VIEWS)
    chart = chart.properties(width=width, height=ROW * len(order))
    return chart.facet(column=style.columns("view", views), spacing=GAP, bounds="flush")
