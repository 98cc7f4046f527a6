"""Panels of quality against cost: the Pareto frontier over experts, and speed."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.by_alpha import HEIGHT, titled, view_width
from switchyard.charts.tables import Tables

COLUMNS = ("dataset", "perplexity", "avg_experts", "tokens_per_second")


def pareto(tables: Tables) -> alt.HConcatChart:
    """Perplexity over mean experts per token, with the line of those no other beats on both."""
    frame = style.styled(tables, tables.results, *COLUMNS)
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
        subtitle="lower left is better; per token; line: none has fewer experts and is better",
    )


def speed(tables: Tables) -> alt.HConcatChart:
    """Perplexity over prefill speed, with the line of those no other beats on both."""
    frame = style.styled(tables, tables.results.dropna(subset=["tokens_per_second"]), *COLUMNS)
    highest = float(frame["tokens_per_second"].max()) if len(frame) else 1.0
    axis = alt.Axis(title="prefill speed (tokens/s)", format="~s", tickCount=3)
    x = alt.X("tokens_per_second:Q", scale=alt.Scale(domain=[0, 1.06 * highest], nice=False), axis=axis)
    return _against(
        tables,
        frame.assign(slowness=-frame["tokens_per_second"]),
        x,
        cost="slowness",
        title="9. Speed against quality",
        subtitle="lower right is better; speed from zero; line: none is faster and better",
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
            _view(rows, undominated(rows, cost=cost, loss="perplexity"), x, y).properties(
                width=width,
                height=HEIGHT,
                title=style.small_title(style.dataset_title(dataset)),
            )
        )
    return titled(views, title, subtitle)


def _view(rows: pd.DataFrame, front: pd.DataFrame, x: alt.X, y: alt.Y) -> alt.LayerChart:
    tips = style.tooltips(
        ("perplexity", "perplexity", ",.4~r"),
        ("avg_experts", "mean experts", ".2f"),
        ("tokens_per_second", "tokens/s", ",.0f"),
    )
    line = (
        alt.Chart(front).mark_line(color=style.QUIET, strokeWidth=1.2).encode(x=x, y=y, order="avg_experts:Q")
    )
    return alt.layer(line, style.points(alt.Chart(rows), x=x, y=y, tooltip=tips))
