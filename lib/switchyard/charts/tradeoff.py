"""Panels of quality against cost: the Pareto frontier over experts, and speed; static top-k is a line through all k."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.by_alpha import HEIGHT, noted, titled, view_width
from switchyard.warehouse.study_tables import Tables

SMALLER = 0.6
"""Area of a mark beside that in other panels."""
COLUMNS = ("dataset", "perplexity", "avg_experts", "tokens_per_second")


def pareto(tables: Tables) -> alt.HConcatChart:
    """Perplexity over mean experts per token, with the line of those no other beats on both."""
    frame = style.styled(tables, _without_controls(tables), *COLUMNS)
    highest = int(tables.configs["k_or_max_k"].max())
    axis = axes.experts_axis(
        highest=highest, title="mean experts (log)", step=2 if len(tables.datasets) > 1 else 1
    )
    x = alt.X("avg_experts:Q", scale=axes.experts_scale(frame["avg_experts"], highest=highest), axis=axis)
    return _against(
        tables,
        frame,
        x,
        cost="avg_experts",
        title="5. Pareto frontier",
        subtitle="lower left is better; thin: static top-k; broad grey: unbeaten on both",
    )


def speed(tables: Tables) -> alt.HConcatChart:
    """Perplexity over prefill speed, with the line of those no other beats on both."""
    timed = _without_controls(tables).dropna(subset=["tokens_per_second"])
    frame = style.styled(tables, timed, *COLUMNS)
    highest = float(frame["tokens_per_second"].max()) if len(frame) else 1.0
    axis = alt.Axis(
        title="prefill speed (tokens/s)",
        format="~s",
        tickCount=3,
        labelExpr="datum.value === 0 ? '0' : datum.label",
    )
    x = alt.X("tokens_per_second:Q", scale=alt.Scale(domain=[0, 1.06 * highest], nice=False), axis=axis)
    return _against(
        tables,
        frame.assign(slowness=-frame["tokens_per_second"]),
        x,
        cost="slowness",
        title="9. Speed against quality",
        subtitle="lower right is better; thin: static top-k; broad grey: unbeaten on both",
    )


def undominated(frame: pd.DataFrame, *, cost: str, loss: str) -> pd.DataFrame:
    """Rows that no other row beats: none has at most the same `cost` and `loss` with one of them lower.

    Rows come back by rising cost. O(n log n); equal rows are kept together.
    """
    ordered = frame.sort_values([cost, loss], kind="stable")
    best_before = ordered.groupby(cost, sort=False)[loss].transform("min")
    cheaper = best_before.groupby(ordered[cost]).first().cummin().shift(1)
    limit = ordered[cost].map(cheaper).fillna(float("inf"))
    return ordered[(ordered[loss] == best_before) & (ordered[loss] < limit)]


def _against(
    tables: Tables, frame: pd.DataFrame, x: alt.X, *, cost: str, title: str, subtitle: str
) -> alt.HConcatChart:
    width = view_width(len(tables.datasets))
    views = []
    for dataset in tables.datasets:
        rows = frame[frame["dataset"] == dataset]
        y = alt.Y(
            "perplexity:Q",
            scale=axes.log_scale(rows["perplexity"]),
            axis=axes.number_axis("perplexity (log)" if not views else None),
        )
        views.append(
            _view(tables, rows, undominated(rows, cost=cost, loss="perplexity"), x, y).properties(
                width=width,
                height=HEIGHT,
                title=style.small_title(style.dataset_title(dataset)),
            )
        )
    return titled(views, title, noted(tables, subtitle, whole=True))


def _without_controls(tables: Tables) -> pd.DataFrame:
    """The experiments but those of matched mixed top-k and random counts, which the frontier figure shows."""
    looks = style.configurations(tables)
    controls = looks.loc[looks["control"], "config_name"]
    return tables.results[~tables.results["config_name"].isin(controls)]


def static_line(tables: Tables, rows: pd.DataFrame, *, x: alt.X, y: alt.Y) -> alt.Chart:
    """A thin line of ink through the static rules that are weighted as the trained one is, by rising k."""
    looks = style.configurations(tables).set_index("config_name")
    mates = looks[looks["static"] & (looks["weighting"] == looks["weighting"].get(tables.trained))]
    static = rows[rows["config_name"].isin(mates.index)]
    static = static.assign(k=static["config_name"].map(mates["k_or_max_k"]))
    line = alt.Chart(static[["k", *_fields(x, y)]]).mark_line(color=style.INK, strokeWidth=0.9)
    return line.encode(x=x, y=y, order="k:Q")


def _static_first(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order they are drawn in, the static ones below; marks small enough for a small view."""
    looks = style.configurations(tables)
    static = rows["config_name"].isin(looks.loc[looks["static"], "config_name"])
    return pd.concat([rows[static], rows[~static]]).assign(size=lambda frame: frame["size"] * SMALLER)


def _fields(*channels: alt.X | alt.Y) -> list[str]:
    return [channel.to_dict()["field"] for channel in channels]


def _view(tables: Tables, rows: pd.DataFrame, front: pd.DataFrame, x: alt.X, y: alt.Y) -> alt.LayerChart:
    tips = style.tooltips(
        ("perplexity", "perplexity", ",.4~r"),
        ("avg_experts", "mean experts", ".2f"),
        ("tokens_per_second", "tokens/s", ",.0f"),
    )
    band = alt.Chart(front[_fields(x, y)]).mark_line(color="#d4d4d4", strokeWidth=5, strokeCap="round")
    return alt.layer(
        band.encode(x=x, y=y, order=x.to_dict()["field"] + ":Q"),
        static_line(tables, rows, x=x, y=y),
        style.points(alt.Chart(_static_first(tables, rows)), x=x, y=y, tooltip=tips),
    )
