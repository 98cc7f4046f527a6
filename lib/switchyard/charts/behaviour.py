"""Panels of what the rule does: on the floor, on the ceiling or between, and layer by layer."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.by_alpha import HEIGHT, empty, over_datasets, titled, view_width
from switchyard.charts.tables import Tables

PARTS = {"floor": "#D0D0D0", "between": "#8C8C8C", "ceiling": "#333333"}
"""Greys, because every hue already stands for a max_k."""


def floor_and_ceiling(tables: Tables) -> alt.HConcatChart:
    """Shares of (layer, token) with min_k, with max_k and with a number between; adaptive rules only."""
    frame = _shares(tables)
    caps = sorted(frame["k_or_max_k"].unique())
    width = view_width(len(caps), gap=22) - 90 // max(len(caps), 1)
    views = [
        _bars(frame[frame["k_or_max_k"] == cap], first=place == 0).properties(
            width=width, height=HEIGHT, title=style.small_title(f"max_k {cap}")
        )
        for place, cap in enumerate(caps)
    ]
    return titled(
        views or [empty("no adaptive rule in this study")],
        "6. Floor, between, ceiling",
        "mean of the datasets; a token on the floor is no decision; static rules: all ceiling",
    )


def _shares(tables: Tables) -> pd.DataFrame:
    floor = over_datasets(tables, "floor_hit_rate").set_index("config_name")["floor_hit_rate"]
    ceiling = over_datasets(tables, "ceiling_hit_rate").set_index("config_name")["ceiling_hit_rate"]
    wide = pd.DataFrame({"floor": floor, "between": 1 - floor - ceiling, "ceiling": ceiling}).clip(lower=0)
    long = wide.reset_index().melt("config_name", var_name="part", value_name="share")
    frame = style.styled(
        tables, long.assign(order=long["part"].map(list(PARTS).index)), "part", "share", "order"
    )
    return frame[~frame["static"]]


def _bars(frame: pd.DataFrame, *, first: bool) -> alt.Chart:
    axis = alt.Axis(title="share of (layer, token)", format=".0%", tickCount=5, labelFlush=True)
    legend = alt.Legend(title="experts", orient="right", symbolType="square", values=list(PARTS)[::-1])
    return (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("setting:N", axis=alt.Axis(title="α", labelAngle=-90, labelOverlap=False, grid=False)),
            y=alt.Y(
                "share:Q",
                stack=True,
                scale=axes.share_scale(),
                axis=axis if first else alt.Axis(title=None, labels=False, ticks=False, tickCount=5),
            ),
            color=alt.Color(
                "part:N", scale=alt.Scale(domain=list(PARTS), range=list(PARTS.values())), legend=legend
            ),
            order="order:Q",
            tooltip=style.tooltips(("part", "number of experts", ""), ("share", "share", ".1%")),
        )
    )


def layers(tables: Tables) -> alt.HConcatChart:
    """Mean experts per token in every layer, mean of the datasets; one view per max_k, one line per alpha."""
    means = tables.layers.groupby(["config_name", "layer"], sort=False)["mean_count"].mean().reset_index()
    frame = style.styled(tables, means, "layer", "mean_count")
    caps = sorted(frame["k_or_max_k"].unique())
    highest = int(max(caps))
    scale = axes.experts_scale(frame["mean_count"], highest=highest)
    width = view_width(len(caps), gap=22)
    views = [
        _lines(frame[frame["k_or_max_k"] == cap], scale, highest, first=place == 0).properties(
            width=width, height=HEIGHT, title=style.small_title(f"k or max_k {cap}")
        )
        for place, cap in enumerate(caps)
    ]
    return titled(
        views,
        "8. Layer by layer",
        "mean experts per token and layer (log), mean of the datasets; squares: static",
    )


def _lines(frame: pd.DataFrame, scale: alt.Scale, highest: int, *, first: bool) -> alt.LayerChart:
    depth = int(frame["layer"].max())
    x = alt.X(
        "layer:Q",
        axis=alt.Axis(title="layer", format="d", values=_layer_ticks(depth), grid=False),
        scale=alt.Scale(domain=[-0.3, depth + 0.3], nice=False),
    )
    axis = axes.experts_axis(
        highest=highest, title="mean experts per token (log)" if first else None, labels=first, ticks=first
    )
    y = alt.Y("mean_count:Q", scale=scale, axis=axis)
    tips = style.tooltips(("layer", "layer", "d"), ("mean_count", "mean experts", ".2f"))
    base = alt.Chart(frame)
    line = base.mark_line(strokeWidth=1.4, opacity=0.6).encode(
        x=x, y=y, detail="config_name:N", stroke=alt.Stroke("edge:N", scale=None)
    )
    dots = style.points(base, x=x, y=y, tooltip=tips)
    return alt.layer(line, dots.encode(size=alt.value(32)))


def _layer_ticks(depth: int) -> list[int]:
    step = max(1, -(-(depth + 1) // 6))
    return list(range(0, depth + 1, step))
