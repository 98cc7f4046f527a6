"""What each component of a rule is worth: loss and cost with it off, beside the whole rule."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.marks import named
from switchyard.search.components import WHOLE
from switchyard.statistics.multiplicity import BETTER, UNDECIDED, WORSE

ROW, GAP, NAMES = 22, 40, 200
"""Pixels of a row, between the views, and of the components' names."""
RULES = {"var": "VAR", "bh": "Benjamini-Hochberg"}
VERDICTS = {BETTER: style.BETTER, UNDECIDED: "#ffffff", WORSE: style.WORSE}


def ablation(table: pd.DataFrame) -> alt.VConcatChart:
    """A row of two views for each rule; rows are those of `ablation.parquet`."""
    blocks = [_block(own, rule) for rule, own in table.groupby("rule", sort=False)]
    title = style.heading(
        "Components switched off in turn",
        [
            "Left: loss minus that of the whole rule on the same samples, right of the dashed line is worse. Bars are",
            "95 % intervals; a filled mark is distinguishable after Holm's correction. Right: matrix products per",
            "token relative to the untouched model; the dashed line is the whole rule.",
        ],
    )
    return style.dress(alt.vconcat(*blocks, spacing=26, title=title), legends="bottom")


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of components that were off and gave numbers, with `off`: the component and what replaces it."""
    rows = table[(table["component"] != WHOLE) & table["failed"].isna()]
    return rows.assign(off=rows["component"] + ": " + rows["change"])


def _block(own: pd.DataFrame, rule: str) -> alt.HConcatChart:
    rows, whole = compared(own), own[own["component"] == WHOLE].iloc[0]
    order = list(rows["component"])
    size = {"width": style.each(2, gap=GAP, width=style.PAGE - NAMES), "height": ROW * len(order)}
    y = alt.Y(**axes.words("component", order, ticks=False, labelLimit=NAMES))
    losses = _losses(rows, y).properties(**size)
    costs = _costs(rows, y, whole["flops_ratio"]).properties(**size)
    title = alt.TitleParams(f"{RULES.get(rule, rule)}, {whole['config']}", fontSize=12, anchor="start")
    return alt.hconcat(losses, costs, spacing=GAP, title=title).resolve_scale(y="shared")


def _losses(rows: pd.DataFrame, y: alt.Y) -> alt.LayerChart:
    x = axes.x("loss_difference:Q", "difference of loss, nats per token", format="+.2~g")
    low = x.copy()
    low.shorthand = "loss_low:Q"
    base = alt.Chart(rows).encode(y=y)
    bars = base.mark_rule(strokeWidth=1.8, color=style.INK).encode(x=low, x2="loss_high:Q")
    marks = base.mark_point(size=60, strokeWidth=1.6, stroke=style.INK, opacity=1).encode(
        x=x,
        fill=alt.Fill("verdict:N", scale=named(VERDICTS), title="without the component"),
        tooltip=[
            *style.tips("off", loss_difference="+.4f", loss_low="+.4f", loss_high="+.4f", p_holm=".3f"),
            *style.tips("verdict"),
        ],
    )
    return alt.layer(style.line(x=0.0), bars, marks)


def _costs(rows: pd.DataFrame, y: alt.Y, whole: float) -> alt.LayerChart:
    bare = y.copy()
    bare.axis = None
    x = axes.x("flops_ratio:Q", "matrix products, untouched model = 1", format=".3~f")
    marks = alt.Chart(rows).mark_point(size=60, filled=True, color=style.INK, opacity=1)
    tips = style.tips("off", flops_ratio=".4f", mean_experts=".3f", acting_share=".2%")
    return alt.layer(style.line(x=whole), marks.encode(x=x, y=bare, tooltip=tips))
