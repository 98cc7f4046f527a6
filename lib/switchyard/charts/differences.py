"""The comparison that counts: loss of every configuration against the trained top-k, paired by sample."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.by_alpha import empty
from switchyard.warehouse.study_tables import Tables


def paired_differences(tables: Tables) -> alt.TopLevelMixin:
    """Mean difference of loss per token with its 95 % interval, one row per configuration, one view per dataset.

    Matched controls (mixed and random) are left out: the frontier is where they are compared.
    """
    looks = style.configurations(tables)
    drawn = looks.loc[~looks["control"] & (looks["config_name"] != tables.trained), "config_name"]
    rows = tables.differences[tables.differences["config_name"].isin(drawn)]
    frame = style.styled(
        tables, rows, "dataset", "loss_difference", "loss_difference_low", "loss_difference_high"
    )
    order = list(looks["label"])
    title = alt.TitleParams(
        f"Loss against trained top-{tables.trained_top_k}, paired by sample",
        subtitle="nats per token with 95 % interval; right of the dashed line is worse; each dataset its own axis",
    )
    if frame.empty:
        return style.dress(
            empty(f"only top-{tables.trained_top_k} and its controls on this model").properties(title=title)
        )
    views = [
        _view(frame[frame["dataset"] == dataset], order, first=place == 0).properties(
            width=230, title=style.small_title(style.dataset_title(dataset))
        )
        for place, dataset in enumerate(tables.datasets)
    ]
    return style.dress(alt.hconcat(*views, spacing=18, title=title))


def _view(frame: pd.DataFrame, order: list[str], *, first: bool) -> alt.LayerChart:
    low, high = min(0.0, frame["loss_difference_low"].min()), max(0.0, frame["loss_difference_high"].max())
    margin = axes.MARGIN * max(high - low, 1e-6)
    scale = alt.Scale(domain=[low - margin, high + margin], nice=False)
    axis = alt.Axis(title="difference of loss (nats per token)", format="+.2~g", tickCount=5)
    shown = [label for label in order if label in set(frame["label"])]
    y = alt.Y("label:N", sort=shown, axis=alt.Axis(title=None, labels=first, ticks=False, labelLimit=340))
    base = alt.Chart(frame)
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(strokeDash=[5, 3], color=style.QUIET)
    bars = base.mark_rule(strokeWidth=1.8).encode(
        x=alt.X("loss_difference_low:Q", scale=scale, axis=axis),
        x2="loss_difference_high:Q",
        y=y,
        stroke=alt.Stroke("edge:N", scale=None),
    )
    tips = style.tooltips(
        ("loss_difference", "difference", "+.4f"),
        ("loss_difference_low", "from", "+.4f"),
        ("loss_difference_high", "to", "+.4f"),
    )
    dots = style.points(base, x=alt.X("loss_difference:Q", scale=scale, axis=axis), y=y, tooltip=tips)
    layered = alt.layer(
        zero.encode(x=alt.X("zero:Q", scale=scale, axis=axis)), bars, dots.encode(opacity=alt.value(1))
    )
    return layered.properties(height=17 * max(len(shown), 1))
