"""The comparison that counts: loss of every configuration and of the trained top-k, paired by sample."""

from __future__ import annotations

import altair as alt

from switchyard.charts import axes, marks, style
from switchyard.charts.looks import configurations, styled
from switchyard.charts.panel import without_controls
from switchyard.warehouse.study_tables import Tables

ROW = 17
"""Pixels of a configuration's row."""
LOW, HIGH = "loss_difference_low", "loss_difference_high"


def paired_differences(tables: Tables) -> alt.TopLevelMixin:
    """Mean difference of loss per token with its 95 % interval, one row per configuration, one view per dataset.

    Matched controls (mixed and random) are left out: the frontier is where they are compared.
    """
    names = without_controls(tables)
    names = names[names != tables.trained]
    rows = tables.differences[tables.differences["config_name"].isin(names)]
    frame = styled(tables, rows, "dataset", "loss_difference", LOW, HIGH)
    title = alt.TitleParams(
        f"Loss compared with trained top-{tables.trained_top_k}, paired by sample",
        subtitle="nats per token with 95 % interval; right of the dashed line is worse; each dataset its own axis",
    )
    if frame.empty:
        words = f"only top-{tables.trained_top_k} and its controls on this model"
        return style.dress(style.empty(words).properties(title=title))
    frame = frame.assign(view=frame["dataset"].map(style.dataset_title))
    order = [label for label in configurations(tables)["label"] if label in set(frame["label"])]
    y = alt.Y(**axes.words("label", order, ticks=False, labelLimit=340))

    def x(field: str) -> alt.X:
        return axes.x(field, "difference of loss (nats per token)", format="+.2~g")

    base = alt.Chart().encode(y=y)
    bars = base.mark_rule(strokeWidth=1.8).encode(
        x=x(f"{LOW}:Q"), x2=f"{HIGH}:Q", stroke=marks.hue(tables, names)
    )
    tips = style.tips("label", loss_difference="+.4f", **{LOW: "+.4f", HIGH: "+.4f"})
    dots = marks.points(base, tables, name="differences", shown=names, x=x("loss_difference:Q"), tooltip=tips)
    layers = alt.layer(style.line(x=0), dots[0], bars, dots[1], data=frame)
    views = [style.dataset_title(dataset) for dataset in tables.datasets]
    chart = layers.properties(width=style.each(len(views), gap=18, width=560), height=alt.Step(ROW))
    chart = chart.facet(column=style.columns("view", views), spacing=18, bounds="flush", title=title)
    return style.dress(marks.clickable(chart.resolve_scale(x="independent"), "differences"))
