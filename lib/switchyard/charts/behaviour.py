"""Panels of what the rule does: on the floor, on the ceiling or between, and layer by layer."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.by_alpha import (
    HEIGHT,
    NOT_ADAPTIVE,
    WIDTH,
    empty,
    noted,
    over_datasets,
    titled,
    view_width,
)
from switchyard.charts.grid import Grid, grid
from switchyard.warehouse.study_tables import Tables

PARTS = {"floor": "#D0D0D0", "between": "#8C8C8C", "ceiling": "#333333"}
"""Greys, because every hue already stands for a max_k or a null."""


FEW = 6
"""Most families that get a view of their own."""


def floor_and_ceiling(tables: Tables) -> alt.HConcatChart:
    """Shares of (layer, token) with min_k, with max_k and with a number between; the grid's rules only."""
    study = grid(tables)
    frame = _shares(tables)
    if len(study.families) > FEW:
        width = WIDTH - 70
        views = [
            _bars(frame, study, across="family", within="setting").properties(width=width, height=HEIGHT)
        ]
        order = f"; bars: {study.short} {study.settings[0]} to {study.settings[-1]}"
    else:
        width = view_width(len(study.families), gap=22) - 90 // max(len(study.families), 1)
        views = [
            _bars(frame[frame["family"] == family], study, across="setting", first=place == 0).properties(
                width=width, height=HEIGHT, title=style.small_title(f"{study.dimension} {family}")
            )
            for place, family in enumerate(study.families)
        ]
        order = ""
    return titled(
        views or [empty(NOT_ADAPTIVE)],
        "6. Floor, between, ceiling",
        noted(tables, f"least and largest number allowed; mean of the datasets{order}"),
    )


def _shares(tables: Tables) -> pd.DataFrame:
    floor = over_datasets(tables, "floor_hit_rate").set_index("config_name")["floor_hit_rate"]
    ceiling = over_datasets(tables, "ceiling_hit_rate").set_index("config_name")["ceiling_hit_rate"]
    wide = pd.DataFrame({"floor": floor, "between": 1 - floor - ceiling, "ceiling": ceiling}).clip(lower=0)
    long = wide.reset_index().melt("config_name", var_name="part", value_name="share")
    long = long.assign(order=long["part"].map(list(PARTS).index))
    columns = ["config_name", "label", "part", "share", "order"]
    return grid(tables).rows(style.styled(tables, long, "part", "share", "order")[columns])


def _bars(
    frame: pd.DataFrame, study: Grid, *, across: str, within: str | None = None, first: bool = True
) -> alt.Chart:
    """Stacked bars, one per configuration: `across` names the column on the axis, `within` that inside its places."""
    axis = alt.Axis(title="share of (layer, token)", format=".0%", tickCount=5, labelFlush=True)
    legend = alt.Legend(title="experts", orient="right", symbolType="square", values=list(PARTS)[::-1])
    titles = {"setting": study.short, "family": study.dimension}
    orders = {"setting": study.settings, "family": study.families}
    angle = -90 if across == "setting" else -30
    x = alt.X(
        f"{across}:N",
        sort=orders[across],
        axis=alt.Axis(title=titles[across], labelAngle=angle, labelOverlap=False, grid=False),
        scale=alt.Scale(paddingInner=0.3 if within else 0.1),
    )
    inner = {"xOffset": alt.XOffset(f"{within}:N", sort=orders[within])} if within else {}
    return (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=x,
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
            **inner,
        )
    )


def layers(tables: Tables) -> alt.HConcatChart:
    """Mean experts per token in every layer, mean of the datasets; one view per family, one line per setting.

    A study with many families has one view per setting and one line per family, a study without adaptive rules one
    view of its static ones.
    """
    study = grid(tables)
    means = tables.layers.groupby(["config_name", "layer"], sort=False)["mean_count"].mean().reset_index()
    parts = _view_parts(tables, study)
    drawn = means[means["config_name"].isin({name for names in parts.values() for name in names})]
    frame = style.styled(tables, drawn, "layer", "mean_count")
    highest = int(max(frame["mean_count"].max(), 1))
    scale = axes.experts_scale(frame["mean_count"], highest=highest)
    width = view_width(len(parts), gap=22)
    views = [
        _lines(frame[frame["config_name"].isin(names)], scale, highest, first=place == 0).properties(
            width=width, height=HEIGHT, title=style.small_title(title)
        )
        for place, (title, names) in enumerate(parts.items())
    ]
    words = "mean experts (log), mean of the datasets; squares: static"
    return titled(views, "8. Layer by layer", noted(tables, words))


def _view_parts(tables: Tables, study: Grid) -> dict[str, list[str]]:
    """Heading of each view and the configurations in it: those of a family or setting, and a static one."""
    looks = style.configurations(tables)
    static = looks[looks["static"]]
    if not study.families:
        return {"static top-k": list(static["config_name"])}
    column = "family" if len(study.families) <= FEW else "setting"
    name = study.dimension if column == "family" else study.short
    parts = {}
    for value in study.families if column == "family" else study.settings:
        rows = study.configs[study.configs[column] == value]
        mates = static.loc[static["k_or_max_k"].isin(rows["k_or_max_k"]), "config_name"]
        beside = list(mates) if study.dimension == "max_k" and column == "family" else [tables.trained]
        parts[f"{name} {value}"] = [*rows["config_name"], *beside]
    return parts


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
